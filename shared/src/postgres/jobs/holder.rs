//! The owner of a run, and the reasons why a chunk of its did not happen.

use std::time::Duration;

use super::super::outcome::Failure;
use crate::error::Error;

/// A run, and what identifies the invocation that works on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) job: &'a str,
    pub(crate) run: &'a str,
    /// The fencing token: another one for each attempt to own the run.
    pub(crate) owner: i64,
    pub(crate) lease: Duration,
    /// The input of the run; the row holds a digest of it.
    pub(crate) input: &'a str,
    /// Whether its statements may leave something in the session, which is released with their COMMIT.
    pub(crate) release: bool,
}

/// Why a chunk did not happen.
#[derive(Debug)]
pub(crate) enum Undone {
    /// The run is not this owner's any more.
    LeaseLost,
    /// Another transaction was in its way.
    Contention(Error),
    /// The statement or the connection failed.
    Failed(Failure),
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
