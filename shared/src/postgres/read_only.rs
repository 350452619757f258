//! Why a server refused a write in a read-only transaction (25006). The SQLSTATE is the same for a standby
//! and for a setting, so the server is asked, once, after the refusal.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::Client;

use super::statement_error::is_raised;
use super::text::first_row;
use crate::error::{Error, ErrorKind};
use crate::query::Query;

/// The question is one round trip; the caller's own bound may be sooner.
const LONGEST: Duration = Duration::from_secs(1);
const QUESTION: &str = "ROLLBACK; SELECT pg_catalog.pg_is_in_recovery(), setting, source, \
     pg_catalog.quote_ident(session_user), pg_catalog.quote_ident(pg_catalog.current_database()) \
     FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only'";

/// Why transactions of this session are read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// It is a standby.
    Standby,
    /// `default_transaction_read_only` in the configuration of the server, its parameter group.
    Server,
    /// The same setting, of the user or the database, and the statement that made it so:
    /// `ALTER ROLE x`, without its `SET`.
    Altered(String),
    /// The same setting, by the connection's options or the proxy's initialization query.
    Session,
    /// None of these: a setting of the transaction itself; or the server was promoted in between.
    Transaction,
}

/// Whether the server refused a write because its transaction is read-only.
pub(super) fn refuses_writes(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|db| db.code().code() == "25006" && !is_raised(db))
}

/// The error of a write that was refused, by a server that was not asked why.
pub(super) fn takes_no_writes(query: &Query) -> Error {
    Cause::Standby.error(format!("query {} could not write", query.name))
}

/// Rolls back and asks why. `None` if no answer came.
pub(super) async fn ask(client: &Client) -> Option<Cause> {
    let messages = timeout(LONGEST, client.simple_query(QUESTION)).await.ok()?.ok()?;
    let row = first_row(&messages)?;
    let field = |index: usize| row.try_get(index).ok().flatten();
    Some(cause([field(0)?, field(1)?, field(2)?, field(3)?, field(4)?]))
}

fn cause([in_recovery, setting, source, user, database]: [&str; 5]) -> Cause {
    if in_recovery == "t" {
        return Cause::Standby;
    }
    if setting != "on" {
        return Cause::Transaction;
    }
    match source {
        "user" => Cause::Altered(format!("ALTER ROLE {user}")),
        "database user" => Cause::Altered(format!("ALTER ROLE {user} IN DATABASE {database}")),
        "database" => Cause::Altered(format!("ALTER DATABASE {database}")),
        "global" => Cause::Altered("ALTER ROLE ALL".into()),
        "client" | "session" | "interactive" | "override" => Cause::Session,
        _ => Cause::Server,
    }
}

impl Cause {
    /// Whether it passes with nothing changed: after a failover the name leads to another server.
    pub(super) fn passes(&self) -> bool {
        matches!(self, Self::Standby | Self::Server)
    }

    /// Adds the reason and the remedy to an error.
    pub(super) fn explain(&self, error: Error) -> Error {
        match self {
            Self::Standby => error
                .because("the server takes no writes (25006): it is a reader or standby, or the old writer after a failover")
                .remedy("Use the cluster (writer) endpoint, with PGTARGETSESSIONATTRS=read-write; after a failover its name follows within a minute"),
            Self::Server => error
                .because("the server takes no writes (25006): default_transaction_read_only is on in its configuration, as on the old writer after a failover or a blue/green switchover")
                .remedy("Wait for the endpoint's name to follow; if it stays so, set default_transaction_read_only to 0 in the parameter group"),
            Self::Altered(statement) => error
                .because(format!("default_transaction_read_only is on (25006), set by {statement}"))
                .remedy(format!("Use a user and a database that may write, or run {statement} RESET default_transaction_read_only as an administrator who is connected to another database")),
            Self::Session => error
                .because("default_transaction_read_only is on for this connection (25006): its start-up options or the initialization query of RDS Proxy set it")
                .remedy("Remove the setting there, or use an endpoint without it"),
            Self::Transaction => error
                .because("its transaction is read-only (25006), though the server takes writes: the statement, or a function that it calls, sets transaction_read_only")
                .remedy("Remove SET TRANSACTION READ ONLY, or the function's SET clause"),
        }
    }

    /// The error of `what`, which could not write.
    pub(super) fn error(&self, what: String) -> Error {
        let kind =
            if self.passes() { ErrorKind::DatabaseUnavailable } else { ErrorKind::QueryDenied };
        self.explain(Error::new(kind, what)).also("nothing was changed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_standby_or_the_source_of_the_setting() {
        let of = |recovery, setting, source| cause([recovery, setting, source, "u", "\"D\""]);
        assert_eq!(of("t", "on", "user"), Cause::Standby);
        assert_eq!(of("f", "off", "default"), Cause::Transaction);
        assert_eq!(of("f", "on", "configuration file"), Cause::Server);
        assert_eq!(of("f", "on", "client"), Cause::Session);
        for (source, statement) in [
            ("user", "ALTER ROLE u"),
            ("database", "ALTER DATABASE \"D\""),
            ("database user", "ALTER ROLE u IN DATABASE \"D\""),
            ("global", "ALTER ROLE ALL"),
        ] {
            let error = of("f", "on", source).error("it could not write".into());
            assert!(error.to_string().contains(&format!("{statement} RESET default")), "{error}");
            assert!(!error.is_transient(), "{error}");
        }
    }
}
