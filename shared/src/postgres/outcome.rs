//! The state of a statement while it runs, and the reasons why its answer could not be taken.

use crate::error::Error;
pub(crate) use crate::query::{Failure, Stage};

/// The state of a statement while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// For a caller that stops waiting.
    pub(crate) stage: Stage,
    /// The violations that a check has counted, also when they fail it.
    pub(crate) violations: Option<u64>,
}

impl Progress {
    /// Before anything was sent.
    pub(crate) fn new() -> Self {
        Self { stage: Stage::Sent, violations: None }
    }
}

/// Why a statement's answer could not be taken.
pub(super) enum NoAnswer {
    /// As PostgreSQL or the connection says.
    Postgres(tokio_postgres::Error),
    /// The rows exceeded a limit: the rest of them is still on the connection.
    Unacceptable(Error),
    /// Every row arrived, and they break the result's own rule.
    AgainstItsRule(Error),
}

impl NoAnswer {
    /// The failure that this is, with PostgreSQL's errors classified by the caller.
    pub(super) fn or(self, classify: impl FnOnce(tokio_postgres::Error) -> Failure) -> Failure {
        match self {
            Self::Postgres(error) => classify(error),
            Self::Unacceptable(error) => Failure::lost(error),
            Self::AgainstItsRule(error) => Failure::refused(error),
        }
    }
}
