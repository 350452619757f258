//! A statement on a connection, in a transaction of its own.
//!
//! A read costs one round trip: one packet holds `START TRANSACTION READ ONLY`, a SET of the bounds and
//! the parameters, PREPARE, EXECUTE and COMMIT. PREPARE takes one statement only, whose text it gets as a
//! literal, and whose `?` take the parameters as variables: neither can become SQL. After a statement
//! that fails, the server runs none of the rest. A write costs two, because COMMIT is sent only after
//! every answer was looked at. The entry in the ledger is one more statement of the first packet.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::timeout_at;

use super::connect::Connection;
use super::error::{connection_broke, lost, not_committed, not_json, refused};
use super::{json, ledger, literal};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::query::{
    Answer, Delivered, Failure, Mode, NO_TIME_LEFT, OWN_TIMEOUT_GRACE, Parameters, Query,
    ResultKind, Rows, SHOWN_VIOLATIONS, Stage, answer, answer_bound, no_answer_in_time,
    server_timeout, timed_out,
};

impl Connection {
    /// Runs a query by its mode, in a transaction of its own: one round trip for a read, two for a write.
    ///
    /// The server's own time-out ends a statement a little before the deadline. If no answer comes in
    /// time, another login asks the server to kill it, and this connection is of no more use.
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
/// many rows a check has found.
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
    let script = Script::new(query, parameters, message_id, timeout).map_err(Failure::refused)?;
    let bound = answer_bound(query, deadline, OWN_TIMEOUT_GRACE);

    // Until an answer has arrived as a whole, also if this future is dropped.
    connection.broken = true;
    // START TRANSACTION travels with the statement: if it fails, the statement does not run.
    let mut stage = Stage::Begun;
    let work = attempt(connection, query, &script, &mut stage, violations);
    if let Ok(result) = timeout_at(bound, work).await {
        if matches!(&result, Err(failure) if failure.error.kind() == ErrorKind::ResultTooLarge)
            && connection.broken
        {
            // It would send all its rows first.
            connection.kill(deadline.cancel_by()).await;
        }
        return result;
    }
    connection.kill(deadline.cancel_by()).await;
    Err(Failure::lost(no_answer_in_time(query, stage)))
}

async fn attempt(
    connection: &mut Connection,
    query: &Query,
    script: &Script,
    stage: &mut Stage,
    violations: &mut Option<u64>,
) -> Result<Delivered, Failure> {
    let entered = script.entry.is_some();
    let outcome = match collect(connection, query, script).await {
        // Rows are still on their way, so the connection is of no more use.
        Ok(Collected { unacceptable: Some(error), ended: false, .. }) => {
            return Err(Failure { error, usable: false, repeat: false });
        }
        Ok(collected) => {
            let answer = collected.answer(query, violations);
            answer.map(Delivered::Answered).map_err(Failure::refused)
        }
        Err((_, failed)) if failed.is_fatal() => {
            return Err(lost(query, &failed, *stage, entered));
        }
        Err((at, failed)) => script.failed(query, at, &failed),
    };
    let answered = matches!(outcome, Ok(Delivered::Answered(_)));
    if query.mode == Mode::Read && answered {
        connection.broken = !leaves_nothing(query);
        return outcome;
    }
    let end = if answered {
        *stage = Stage::Committing;
        "COMMIT; SET wait_timeout = DEFAULT"
    } else {
        "ROLLBACK; SET wait_timeout = DEFAULT"
    };
    match (connection.conn.query_drop(end).await, outcome) {
        (Ok(()), outcome) => {
            connection.broken = !leaves_nothing(query);
            outcome
        }
        (Err(failed), Ok(Delivered::Answered(_))) => Err(not_committed(query, &failed, entered)),
        // The entry is there; only the connection is lost.
        (Err(_), Ok(Delivered::Duplicate)) => Ok(Delivered::Duplicate),
        // The statement's own error says more.
        (Err(_), Err(failure)) => Err(Failure { usable: false, ..failure }),
    }
}

/// Whether the session is afterwards as it was. What SET, USE, LOCK TABLES or CALL leave there would
/// meet the next query, so such a connection is not used again.
fn leaves_nothing(query: &Query) -> bool {
    let plain = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES"];
    plain.iter().any(|word| query.first_word().eq_ignore_ascii_case(word))
        && !query.sql.contains("/*!")
        && !query.sql.contains("/*M!")
}

/// The packet that holds everything up to EXECUTE, and for a read COMMIT too.
struct Script {
    text: String,
    /// Which of its statements makes the entry in the ledger.
    entry: Option<usize>,
    /// Which of them is PREPARE; EXECUTE follows.
    prepare: usize,
}

impl Script {
    fn new(
        query: &Query,
        parameters: &Parameters,
        message_id: Option<&str>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let literals = literal::literals(query, parameters)?;
        let mut text = begin(query.mode, timeout);
        text.push_str(&format!(", @rds_iam_sql = {}", literal::text(&query.sql)));
        for (index, literal) in literals.iter().enumerate() {
            text.push_str(&format!(", @rds_iam_{index} = {literal}"));
        }
        // After START TRANSACTION and SET.
        let mut prepare = 2;
        let message_id = message_id.filter(|_| query.mode == Mode::Write);
        let entry = message_id.map(|id| ledger::entry(query, id)).transpose()?;
        let entry = entry.map(|entry| {
            text.push_str("; ");
            text.push_str(&entry);
            prepare += 1;
            prepare - 1
        });
        text.push_str("; PREPARE rds_iam FROM @rds_iam_sql; EXECUTE rds_iam");
        for index in 0..literals.len() {
            text.push_str(if index == 0 { " USING " } else { ", " });
            text.push_str(&format!("@rds_iam_{index}"));
        }
        if query.mode == Mode::Read {
            text.push_str("; COMMIT");
        }
        Ok(Self { text, entry, prepare })
    }

    /// What the server's refusal of the statement with this index means.
    fn failed(
        &self,
        query: &Query,
        at: usize,
        failed: &mysql_async::Error,
    ) -> Result<Delivered, Failure> {
        if self.entry == Some(at) {
            if ledger::is_duplicate(failed) {
                return Ok(Delivered::Duplicate);
            }
            if let Some(error) = ledger::ledger_error(query, failed) {
                return Err(Failure::refused(error));
            }
        }
        Err(refused(query, failed, at == self.prepare, self.entry.is_some()))
    }
}

/// The start of a transaction, and a SET of its bounds.
fn begin(mode: Mode, timeout: Duration) -> String {
    let (seconds, milliseconds) = (timeout.as_secs_f64(), timeout.as_millis().max(1));
    // Half for locks, so that there is time to run once they are granted; and a sandbox that freezes or
    // dies half-way holds its own locks no longer than it could have worked.
    let lock = (timeout.as_secs() / 2).max(1);
    let idle = timeout.as_secs() + 1;
    let start = match mode {
        Mode::Read => "START TRANSACTION READ ONLY; SET ".to_owned(),
        Mode::Write => format!("START TRANSACTION; SET wait_timeout = {idle}, "),
    };
    // Only MariaDB reads the first comment, and only MySQL the second: each has the variable in it.
    format!(
        "{start}innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock}\
         /*M!100101 , max_statement_time = {seconds:.3} */\
         /*!50704 , max_execution_time = {milliseconds} */"
    )
}

/// What a statement's results came to.
#[derive(Default)]
struct Collected {
    rows: Rows,
    /// How many rows there were.
    count: u64,
    affected: u64,
    /// Rows that cannot be answered.
    unacceptable: Option<Error>,
    /// Whether every result was read.
    ended: bool,
}

impl Collected {
    fn take(&mut self, query: &Query, row: &mysql_async::Row) {
        self.count += 1;
        let kept = match query.result {
            ResultKind::Affected => 0,
            // A second row is enough to know.
            ResultKind::One => 2,
            ResultKind::Check { .. } => SHOWN_VIOLATIONS,
            ResultKind::Rows | ResultKind::Metric(_) => usize::MAX,
        };
        if self.rows.len() < kept && self.unacceptable.is_none() {
            let pushed = match json::row(row) {
                Some(json) => self.rows.push(&query.name, &json),
                None => Err(not_json(query)),
            };
            self.unacceptable = pushed.err();
        }
    }

    /// Whether the rows are too large for an answer, and no further one can change that.
    fn is_too_large(&self, query: &Query) -> bool {
        let all = matches!(query.result, ResultKind::Rows | ResultKind::Metric(_));
        let too_large = |error: &Error| error.kind() == ErrorKind::ResultTooLarge;
        all && self.unacceptable.as_ref().is_some_and(too_large)
    }

    fn answer(self, query: &Query, violations: &mut Option<u64>) -> Result<Answer, Error> {
        if matches!(query.result, ResultKind::Check { .. }) {
            *violations = Some(self.count);
        }
        match (self.unacceptable, &query.result) {
            (Some(error), _) => Err(error),
            (None, ResultKind::Affected) => Ok(Answer::Affected(self.affected)),
            (None, _) => answer(query, self.rows, Some(self.count)),
        }
    }
}

/// Sends the packet and takes its results: all of them, unless they are too large. An error comes with the index of its statement.
async fn collect(
    connection: &mut Connection,
    query: &Query,
    script: &Script,
) -> Result<Collected, (usize, mysql_async::Error)> {
    let mut collected = Collected::default();
    let mut results =
        connection.conn.query_iter(script.text.as_str()).await.map_err(|error| (0, error))?;
    let mut at = 0;
    loop {
        while let Some(row) = results.next().await.map_err(|error| (at, error))? {
            collected.take(query, &row);
            if collected.is_too_large(query) {
                return Ok(collected);
            }
        }
        // The end of one result has read the start of the next.
        at += 1;
        if at == script.prepare + 1 {
            collected.affected = results.affected_rows();
        }
        if results.is_empty() {
            // What is left is a result without rows, or an error.
            results.next().await.map_err(|error| (at, error))?;
            collected.ended = true;
            return Ok(collected);
        }
    }
}
