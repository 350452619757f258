//! The database's answers after a login.

/// The database's answers about itself and about the user.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// `15.14`
    pub(crate) version: String,
    /// Whether it takes no writes.
    pub(crate) read_only: bool,
    /// The source of `default_transaction_read_only`: `pg_settings.source`.
    pub(crate) read_only_source: String,
    pub(crate) standby: bool,
    /// Milliseconds for one statement.
    pub(crate) round_trip_ms: f64,
    /// Connections in use, of the most that the server takes.
    pub(crate) connections: i64,
    pub(crate) max_connections: i64,
    /// Membership in `rds_iam`; `None` where that role does not exist.
    pub(crate) rds_iam: Option<bool>,
    /// The schemas that hold tables.
    pub(crate) schemas: Vec<Schema>,
    /// Each ledger: its name, and whether the user may use it; `None` if it does not exist.
    pub(crate) ledgers: Vec<(&'static str, Option<bool>)>,
}

/// A schema that holds tables, and how many of these the user may read, and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) tables: i64,
    pub(crate) readable: i64,
    pub(crate) writable: i64,
}

impl Facts {
    /// The tables of all schemas.
    pub(crate) fn tables(&self) -> i64 {
        self.schemas.iter().map(|schema| schema.tables).sum()
    }

    /// Whether there are tables and the user may read none of them.
    pub(crate) fn blind(&self) -> bool {
        !self.schemas.is_empty() && self.schemas.iter().all(|schema| schema.readable == 0)
    }
}
