//! After the login: what keeps a function from its work, or soon will.

use rds_iam::config::TargetSessionAttrs;

use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::remedy::{Remedy, identifier};

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "read-only",
        title: "the server takes no writes: a reader, or the old writer after a failover",
        seen: "the login works; with `PGTARGETSESSIONATTRS=read-write` a function refuses the server",
        remedy: "the cluster's (writer) endpoint",
        find: read_only,
    },
    Cause {
        id: "no-tables",
        title: "the user may read no table",
        seen: "the login works, and every table is denied",
        remedy: "`GRANT USAGE` and `GRANT SELECT` on the schemas that hold tables, or sql/roles.sql with `-v schemas=`",
        find: no_tables,
    },
    Cause {
        id: "not-a-member",
        title: "the user is not a member of rds_iam, although the login works",
        seen: "a proxy's own authentication, or a server that is not RDS",
        remedy: "`GRANT rds_iam`, if tokens are to be the only way in",
        find: not_a_member,
    },
    Cause {
        id: "connections-few",
        title: "few connections are left",
        seen: "more than 80 % of `max_connections` are in use",
        remedy: "limit concurrency, or put RDS Proxy in front",
        find: few_connections,
    },
];

fn read_only(evidence: &Evidence) -> Option<Found> {
    let facts = evidence.facts.as_ref().filter(|facts| facts.read_only)?;
    let config = evidence.config()?;
    let seen =
        if facts.standby { "it is a standby" } else { "default_transaction_read_only is on" };
    if config.target_session_attrs != TargetSessionAttrs::ReadWrite {
        return None;
    }
    let found = Found::certain(seen).also("PGTARGETSESSIONATTRS is read-write");
    let host = &config.endpoint.host;
    Some(if host.contains(".cluster-ro-") {
        found.remedy(Remedy::variable("PGHOST", host.replace(".cluster-ro-", ".cluster-")))
    } else if facts.standby {
        found.remedy(Remedy::variable("PGHOST", "<the endpoint of the primary, or of the cluster>"))
    } else {
        let (user, database) = (identifier(&config.user), identifier(&config.database));
        let whose = match facts.read_only_source.as_str() {
            "database" => format!("DATABASE {database}"),
            "global" => "ROLE ALL".to_owned(),
            "user" => format!("ROLE {user}"),
            "database user" => format!("ROLE {user} IN DATABASE {database}"),
            _ => {
                return Some(found.remedy(Remedy::action(
                    "Set default_transaction_read_only to 0 in the parameter group of the database; after a failover, wait a minute: the endpoint's name follows",
                )));
            }
        };
        // In another database: a session of this one could not write the change either.
        let sql = format!("ALTER {whose} RESET default_transaction_read_only;");
        found.remedy(Remedy::sql("postgres", sql))
    })
}

fn no_tables(evidence: &Evidence) -> Option<Found> {
    let facts = evidence.facts.as_ref().filter(|facts| facts.blind())?;
    let config = evidence.config()?;
    let user = identifier(&config.user);
    let names: Vec<String> = facts.schemas.iter().map(|s| identifier(&s.name)).collect();
    let schemas = names.join(", ");
    let sql = format!(
        "GRANT USAGE ON SCHEMA {schemas} TO {user};\nGRANT SELECT ON ALL TABLES IN SCHEMA {schemas} TO {user};"
    );
    let names: Vec<&str> = facts.schemas.iter().map(|schema| schema.name.as_str()).collect();
    Some(
        Found::warning(format!("0 of {} tables can be read", facts.tables()))
            .remedy(Remedy::sql(&config.database, sql))
            .remedy(Remedy::action(format!(
                "Or run sql/roles.sql with -v \"schemas={}\", which grants later tables too",
                names.join(",")
            ))),
    )
}

fn not_a_member(evidence: &Evidence) -> Option<Found> {
    let config = evidence.config()?;
    (evidence.facts.as_ref()?.rds_iam == Some(false)).then(|| {
        let sql = format!("GRANT rds_iam TO {};", identifier(&config.user));
        Found::warning("pg_has_role says so").remedy(Remedy::sql(&config.database, sql))
    })
}

fn few_connections(evidence: &Evidence) -> Option<Found> {
    let facts = evidence.facts.as_ref()?;
    let full = facts.max_connections > 0 && facts.connections * 5 > facts.max_connections * 4;
    full.then(|| {
        Found::warning(format!("{} of {} are in use", facts.connections, facts.max_connections))
            .remedy(Remedy::action("Limit the function's concurrency, or put RDS Proxy in front"))
    })
}
