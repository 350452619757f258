//! How long a statement may run, and what it means that no answer came in time: for every engine.

use std::time::Duration;

use tokio::time::Instant;

use super::{Mode, Query, Stage, outcome_unknown};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

/// How much longer than a query's own `timeout` the server's refusal may take to arrive.
pub(crate) const OWN_TIMEOUT_GRACE: Duration = Duration::from_millis(500);

pub(crate) const NO_TIME_LEFT: &str = "no time was left to run it";

/// The time that the server may spend on a query; `None` when too little time is left to start it.
pub(crate) fn server_timeout(query: &Query, deadline: Deadline) -> Option<Duration> {
    let left = deadline.statement_timeout()?;
    Some(query.timeout.map_or(left, |own| own.min(left)))
}

/// When a statement that starts now must have answered, with this much time for the server's refusal
/// after the query's own time-out.
pub(crate) fn answer_bound(query: &Query, deadline: Deadline, grace: Duration) -> Instant {
    let bound = query.timeout.map(|own| Instant::now() + own + grace);
    deadline.answer_by().min(bound.unwrap_or(deadline.answer_by()))
}

/// The error of a statement that got no answer in time, at this stage of it.
pub(crate) fn no_answer_in_time(query: &Query, stage: Stage) -> Error {
    match (query.mode, stage) {
        (Mode::Read, _) => timed_out(query, "the database did not answer in time"),
        (Mode::Write, Stage::Begun) => timed_out(
            query,
            "the database did not answer in time; nothing was written, COMMIT was not sent",
        ),
        (Mode::Write, stage) => outcome_unknown(query, stage),
    }
}

pub(crate) fn timed_out(query: &Query, why: &str) -> Error {
    Error::new(ErrorKind::QueryTimeout, format!("query {} timed out", query.name))
        .because(why)
        .remedy("Make it faster (look at EXPLAIN), or give the function a longer Timeout")
}

/// The error of a statement that a limit of its session has ended, before the function's time was over.
pub(crate) fn ended_by_a_limit(query: &Query, setting: &str, limit: Duration) -> Error {
    let seconds = limit.as_secs_f64();
    Error::new(ErrorKind::QueryTimeout, format!("query {} timed out", query.name))
        .because(format!("it ran longer than the {setting} of {seconds} s that its user, database or server sets; the function had more time"))
        .remedy(format!("Make it faster (look at EXPLAIN), or raise {setting} for the function's user"))
}

/// The error of a statement that the server gave up although it had time left: nobody but a person, or a program
/// that watches the database, asks for that.
pub(crate) fn cancelled(query: &Query, code: &str) -> Error {
    Error::new(ErrorKind::QueryFailed, format!("query {} was cancelled", query.name))
        .because(format!("the database had a request to cancel it, and time was left ({code})"))
        .remedy(
            "Ask who ended it: an administrator, a monitor of long statements, or a deployment; then run it again",
        )
}
