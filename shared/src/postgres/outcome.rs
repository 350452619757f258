//! How a statement ended, and whether it may run again.

use crate::error::Error;
pub(crate) use crate::query::Stage;
use crate::query::{Mode, Query, too_large};

/// Why a statement failed, and whether it may run again.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether the connection can still be used.
    pub(crate) usable: bool,
    /// Whether the statement may run again, on another connection.
    pub(crate) repeat: bool,
}

impl Failure {
    /// The server refused the statement, and is ready for the next.
    pub(crate) fn refused(error: Error) -> Self {
        Self { error, usable: true, repeat: false }
    }

    /// One message was too long, a row mostly, and ended the connection. `None` if it was the answer to
    /// a write's `COMMIT`, a notice of a deferred trigger say: then the write may have happened.
    pub(crate) fn too_long(query: &Query, stage: Stage) -> Option<Self> {
        if query.mode == Mode::Write && stage == Stage::Committing {
            return None;
        }
        Some(Self::lost(too_large(
            &query.name,
            "Lambda's limit is 6 MB, and one row alone is longer",
        )))
    }

    /// The connection cannot be used any more.
    pub(crate) fn lost(error: Error) -> Self {
        Self { error, usable: false, repeat: false }
    }
}

/// What is known of a statement while it runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// For a caller that stops waiting.
    pub(crate) stage: Stage,
    /// What a check has counted, also when that fails it.
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
