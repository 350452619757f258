//! How a statement ended, and whether it may run again: for every engine.

use super::{Mode, Query, Stage, too_large};
use crate::error::Error;

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
