//! A statement on a connection, in a transaction of its own.
//!
//! A read costs one round trip: one packet holds `START TRANSACTION READ ONLY`, a SET of the bounds and
//! the parameters, PREPARE, EXECUTE and COMMIT. A write costs two, because COMMIT is sent only after every
//! answer was looked at. The entry in the ledger is one more statement of the first packet. What the
//! statement left in its session is released before the answer.

use std::time::Duration;

use mysql_async::Error as MysqlError;
use tokio::time::timeout_at;

use super::collect::{Collected, collect, end};
use super::connect::Connection;
use super::error::{connection_broke, lost, not_committed, refused, time_limit, too_long};
use super::ledger;
use super::leftovers::Leftovers;
use super::script::Script;
use super::statement::check_read;
use super::warning;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::query::{
    Answer, Delivered, Failure, Mode, NO_TIME_LEFT, OWN_TIMEOUT_GRACE, Parameters, Query, Stage,
    answer_bound, ended_by_a_limit, no_answer_in_time, server_timeout, timed_out,
};

/// A server may take no longer packets. It is asked before a packet that is longer than this.
const FITS_EVERYWHERE: usize = 256 * 1024;

impl Connection {
    /// Runs a query by its mode, in a transaction of its own: one round trip for a read, two for a write,
    /// and one more for a statement that may leave something in its session which only a reset undoes.
    ///
    /// The server's own time-out ends a statement a little before the deadline. If no answer comes in
    /// time, another login asks the server to end the session, and this connection is of no more use.
    ///
    /// # Errors
    /// The kinds that begin with `Query`, `Result` and `Check`;
    /// [`NetworkUnreachable`](ErrorKind::NetworkUnreachable) if the connection broke. A write whose answer
    /// was lost is [`QueryOutcomeUnknown`](ErrorKind::QueryOutcomeUnknown).
    ///
    /// # Cancel safety
    /// A dropped future leaves the connection [broken](Connection::is_broken). A write may or may not have
    /// happened.
    pub async fn run(
        &mut self,
        query: &Query,
        parameters: &Parameters,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        check_read(query)?;
        let ran = self::run(self, query, parameters, None, deadline, &mut None).await;
        ran.map(answered).map_err(|failure| failure.error)
    }
}

/// The answer of a statement without an entry in the ledger, which alone can be a duplicate.
pub(crate) fn answered(delivered: Delivered) -> Answer {
    match delivered {
        Delivered::Answered(answer) => answer,
        Delivered::Duplicate => Answer::Affected(0),
    }
}

/// Runs a query by its mode; a write with an entry of this id in the ledger, if there is one. Notes how
/// many rows a check has found. The caller has checked that a read is one.
pub(crate) async fn run(
    connection: &mut Connection,
    query: &Query,
    parameters: &Parameters,
    message_id: Option<&str>,
    deadline: Deadline,
    violations: &mut Option<u64>,
) -> Result<Delivered, Failure> {
    if connection.broken {
        return Err(Failure { error: connection_broke(query), usable: false, repeat: true });
    }
    let timeout = server_timeout(query, deadline);
    let timeout = timeout.ok_or_else(|| Failure::refused(timed_out(query, NO_TIME_LEFT)))?;
    let left = Leftovers::of(query);
    let script = Script::new(query, parameters, message_id, timeout, &left, connection.state());
    let script = script.map_err(Failure::refused)?;
    let bound = answer_bound(query, deadline, OWN_TIMEOUT_GRACE);

    // Until an answer has arrived as a whole, also if this future is dropped.
    connection.broken = true;
    // START TRANSACTION travels with the statement: if it fails, the statement does not run.
    let mut stage = Stage::Begun;
    let work = async {
        check_length(connection, query, &script).await?;
        attempt(connection, query, &script, timeout, &mut stage, violations).await
    };
    let Ok(result) = timeout_at(bound, work).await else {
        connection.kill(deadline.cancel_by()).await;
        return Err(Failure::lost(no_answer_in_time(query, stage)));
    };
    let too_large = |failure: &Failure| failure.error.kind() == ErrorKind::ResultTooLarge;
    if connection.broken && result.as_ref().is_err_and(too_large) {
        // It would send all its rows first.
        connection.kill(deadline.cancel_by()).await;
    }
    if !connection.broken && left.reset {
        connection.reset(left.last, deadline.answer_by()).await;
    }
    result
}

/// Refuses a packet that the server would not take: it closes the connection instead of an answer.
async fn check_length(
    connection: &mut Connection,
    query: &Query,
    script: &Script,
) -> Result<(), Failure> {
    if script.text.len() <= FITS_EVERYWHERE {
        return Ok(());
    }
    // Nothing has run yet.
    let broke = |_| Failure { error: connection_broke(query), usable: false, repeat: true };
    let most = connection.longest_packet().await.map_err(broke)?;
    // One byte is the command's.
    if script.text.len() + 1 < most {
        return Ok(());
    }
    connection.broken = false;
    Err(Failure::refused(too_long(query)))
}

async fn attempt(
    connection: &mut Connection,
    query: &Query,
    script: &Script,
    timeout: Duration,
    stage: &mut Stage,
    violations: &mut Option<u64>,
) -> Result<Delivered, Failure> {
    let entered = script.entry.is_some();
    let mut shows_warnings = false;
    let outcome = match collect(connection, query, script).await {
        // Rows are still on their way, so the connection is of no more use.
        Ok(Collected { unacceptable: Some(error), ended: false, .. }) => {
            return Err(Failure { error, usable: false, repeat: false });
        }
        Ok(collected) => {
            warning::log(query, &collected.warnings);
            shows_warnings = query.mode == Mode::Write && collected.has_warnings;
            let answer = collected.answer(query, violations);
            answer.map(Delivered::Answered).map_err(Failure::refused)
        }
        Err((_, failed)) if failed.is_fatal() => {
            return Err(lost(query, &failed, *stage, entered));
        }
        Err((at, failed)) => {
            let limit = connection.limit.filter(|limit| !limit.is_zero() && *limit < timeout);
            failed_at(query, script, at, &failed, limit)
        }
    };
    let answered = matches!(outcome, Ok(Delivered::Answered(_)));
    if query.mode == Mode::Read && answered {
        connection.broken = false;
        return outcome;
    }
    let by = if answered { "COMMIT" } else { "ROLLBACK" };
    if answered {
        *stage = Stage::Committing;
    }
    let packet = script.end(by, shows_warnings);
    match (end(connection, &packet, shows_warnings).await, outcome) {
        (Ok(warnings), outcome) => {
            warning::log(query, &warnings);
            connection.broken = false;
            outcome
        }
        (Err(failed), Ok(Delivered::Answered(_))) => Err(not_committed(query, &failed, entered)),
        // The entry is there; only the connection is lost.
        (Err(_), Ok(Delivered::Duplicate)) => Ok(Delivered::Duplicate),
        // The statement's own error says more.
        (Err(_), Err(failure)) => Err(Failure { usable: false, ..failure }),
    }
}

/// The failure for a refusal of the script's statement with this index. `limit` is the session's own time limit,
/// where it is shorter than the function's.
fn failed_at(
    query: &Query,
    script: &Script,
    at: usize,
    failed: &MysqlError,
    limit: Option<Duration>,
) -> Result<Delivered, Failure> {
    if script.entry == Some(at) {
        if ledger::is_duplicate(failed) {
            return Ok(Delivered::Duplicate);
        }
        if let Some(error) = ledger::ledger_error(query, failed) {
            return Err(Failure::refused(error));
        }
    }
    let failure = refused(query, failed, at == script.prepare, script.entry.is_some());
    match limit.zip(time_limit(failed)) {
        Some((limit, setting)) => {
            Err(Failure { error: ended_by_a_limit(query, setting, limit), ..failure })
        }
        None => Err(failure),
    }
}
