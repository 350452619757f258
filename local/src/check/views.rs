//! Views through which a purge chooses its rows. The rules of `purge` know the statement's text; a condition
//! inside a view is one more that PostgreSQL does not check again for a row that another session is changing.

use rds_iam::query::Query;
use rds_iam::{Error, ErrorKind};
use squawk_syntax::{SyntaxKind, SyntaxNode};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::rows::Rows;
use super::scope::TARGET;
use super::statement::Write;

/// The views with a WHERE among these names that read the table, a partition or a parent of it, through other
/// views perhaps.
const LOOK: &str = r"
WITH RECURSIVE family (relation) AS (
    SELECT to_regclass($1)::oid
    UNION
    SELECT CASE relation WHEN inhparent THEN inhrelid ELSE inhparent END
    FROM family JOIN pg_catalog.pg_inherits ON relation IN (inhparent, inhrelid)
), behind (view, relation) AS (
    SELECT to_regclass(name)::oid, to_regclass(name)::oid FROM unnest($2::text[]) AS named (name)
    UNION
    SELECT view, refobjid FROM behind
    JOIN pg_catalog.pg_rewrite AS r ON r.ev_class = relation AND r.ev_type = '1'
    JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
)
SELECT DISTINCT view::regclass::text FROM behind JOIN pg_catalog.pg_class AS c ON c.oid = view
WHERE relkind = 'v' AND relation <> view AND relation IN (SELECT relation FROM family)
    AND pg_get_viewdef(view) ~* '\mwhere\M'
ORDER BY 1";

/// A write that chooses its rows by reading relations which it does not lock.
#[derive(Debug)]
pub(super) struct Choice {
    table: String,
    read: Vec<String>,
}

impl Choice {
    /// Every such write of a statement.
    pub(super) fn all(root: &SyntaxNode) -> Vec<Self> {
        let writes = Write::all(root).filter(|write| write.node.kind() != SyntaxKind::INSERT);
        writes.filter_map(|write| Self::of(&write)).collect()
    }

    fn of(write: &Write) -> Option<Self> {
        let rows = Rows::of(write);
        let read = rows.relations.iter().skip(TARGET + 1).filter(|relation| !relation.locked);
        let read: Vec<String> = read.map(|relation| relation.table.quoted()).collect();
        (!read.is_empty()).then(|| Self { table: write.table.quoted(), read })
    }

    /// One finding for each view.
    ///
    /// # Errors
    /// [`DatabaseUnavailable`](ErrorKind::DatabaseUnavailable) if there is no answer.
    pub(super) async fn views(&self, client: &Client, query: &Query) -> Result<Vec<Error>, Error> {
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&self.table, Type::TEXT), (&self.read, Type::TEXT_ARRAY)];
        let rows = client.query_typed(LOOK, &values).await.map_err(|error| {
            let what = format!("the views that query {} reads are not known", query.name);
            let error = error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string);
            Error::new(ErrorKind::DatabaseUnavailable, what).because(error)
        })?;
        let views = rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok());
        Ok(views.map(|view| self.finding(query, &view)).collect())
    }

    fn finding(&self, query: &Query, view: &str) -> Error {
        let table = self.table.replace('"', "");
        let what = format!("query {} can change rows that are not due any more", query.name);
        Error::new(ErrorKind::QueryInvalid, what)
            .because(format!("it chooses rows of {table} through view {view}; PostgreSQL does not check the view's conditions again for a row that another session is changing"))
            .remedy(format!("Repeat the view's conditions for the rows of {table} themselves, or lock the rows where they are chosen: FOR UPDATE SKIP LOCKED; see docs/jobs.md"))
    }
}
