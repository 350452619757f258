//! Triggers and rules that take a write's rows away from it. PostgreSQL does not count those rows, and a
//! job takes a chunk of no rows for the last.

use rds_iam::query::Query;
use rds_iam::{Error, ErrorKind};
use squawk_syntax::{SyntaxKind, SyntaxNode};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::statement::Write;

/// The events of a trigger (`pg_trigger.h`).
const INSERT: i16 = 4;
const DELETE: i16 = 8;
const UPDATE: i16 = 16;

/// Finds them on the tables that a statement writes to, their partitions and children, and the tables
/// behind a view. A trigger's source says whether it may keep a row; a rule counts if it has the same
/// command.
const LOOK: &str = r"
WITH RECURSIVE reached (relation, event) AS (
    SELECT to_regclass(name)::oid, event
    FROM unnest($1::text[], $2::smallint[]) AS written (name, event)
    UNION
    SELECT next.relation, reached.event
    FROM reached CROSS JOIN LATERAL (
        SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = reached.relation
        UNION ALL
        SELECT refobjid FROM pg_catalog.pg_rewrite AS r
        JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        WHERE r.ev_class = reached.relation AND r.ev_type = '1'
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
    ) AS next (relation)
)
SELECT DISTINCT 'trigger ' || tgname || ' on ' || relation::regclass || ' may RETURN NULL'
FROM reached
JOIN pg_catalog.pg_trigger ON tgrelid = relation AND NOT tgisinternal AND tgenabled IN ('O', 'A')
    AND tgtype & 1 <> 0 AND tgtype & (2 | 64) <> 0 AND tgtype & event <> 0
JOIN pg_catalog.pg_proc AS p ON p.oid = tgfoid
WHERE prosrc ~* '\mreturn\s*\(*\s*null\M|\mskip\M' OR proname = 'suppress_redundant_updates_trigger'
UNION ALL
SELECT DISTINCT 'rule ' || rulename || ' on ' || relation::regclass || ' does something else INSTEAD'
FROM reached
CROSS JOIN (VALUES ('2', 16, 'update'), ('3', 4, 'insert'), ('4', 8, 'delete')) AS c (type, bit, command)
JOIN pg_catalog.pg_rewrite AS r ON ev_class = relation AND is_instead AND ev_enabled IN ('O', 'A') AND ev_type::text = type
WHERE event & bit <> 0 AND pg_get_ruledef(r.oid) !~* ('do instead.*\m' || command || '\M')
ORDER BY 1";

/// The tables that a statement writes to, as PostgreSQL takes their names, and the events of their triggers.
#[derive(Debug, Default)]
pub(super) struct Written {
    names: Vec<String>,
    events: Vec<i16>,
}

impl Written {
    pub(super) fn read(root: &SyntaxNode) -> Self {
        let mut written = Self::default();
        for write in Write::all(root) {
            written.names.push(write.table.quoted());
            written.events.push(match write.node.kind() {
                SyntaxKind::INSERT => INSERT,
                SyntaxKind::DELETE => DELETE,
                SyntaxKind::UPDATE => UPDATE,
                _ => INSERT | DELETE | UPDATE,
            });
        }
        written
    }

    /// What keeps PostgreSQL from counting the rows that are written: one finding for each trigger and rule.
    ///
    /// # Errors
    /// [`DatabaseUnavailable`](ErrorKind::DatabaseUnavailable) if there is no answer.
    pub(super) async fn uncounted(
        &self,
        client: &Client,
        query: &Query,
    ) -> Result<Vec<Error>, Error> {
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&self.names, Type::TEXT_ARRAY), (&self.events, Type::INT2_ARRAY)];
        let rows = client.query_typed(LOOK, &values).await.map_err(|error| {
            let what = format!("the triggers of query {}'s tables are not known", query.name);
            let error = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
            Error::new(ErrorKind::DatabaseUnavailable, what).because(error)
        })?;
        let found = rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok());
        Ok(found.map(|what| finding(query, &what)).collect())
    }
}

fn finding(query: &Query, what: &str) -> Error {
    Error::new(ErrorKind::QueryInvalid, format!("query {} may end with rows left", query.name))
        .because(format!("{what}: PostgreSQL does not count such a row, and a chunk of no rows is the last"))
        .remedy("Write in the query what the trigger or rule does, an UPDATE say, and leave the rows out that it keeps")
}
