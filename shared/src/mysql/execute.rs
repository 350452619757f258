//! A statement on a connection, in a transaction of its own.
//!
//! A read costs one round trip: one packet holds `START TRANSACTION READ ONLY`, a SET of the bounds and
//! the parameters, PREPARE, EXECUTE and COMMIT. PREPARE takes one statement only, whose text it gets as a
//! literal, and whose `?` take the parameters as variables: neither can become SQL. After a statement
//! that fails, the server runs none of the rest. A write costs two, because COMMIT is sent only after
//! every answer was looked at.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::{Instant, timeout_at};

use super::connect::Connection;
use super::{error, json, literal};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::query::{
    Answer, Mode, Parameters, Query, ResultKind, Rows, SHOWN_VIOLATIONS, Stage, answer,
    outcome_unknown,
};

/// How much longer than a query's own `timeout` the server's refusal may take to arrive.
const OWN_TIMEOUT_GRACE: Duration = Duration::from_millis(500);
/// The results of a packet, in order.
const PREPARED: usize = 2;
const EXECUTED: usize = 3;

/// Runs a query by its mode.
pub(super) async fn run(
    connection: &mut Connection,
    query: &Query,
    parameters: &Parameters,
    deadline: Deadline,
) -> Result<Answer, Error> {
    if connection.broken {
        return Err(error::connection_broke(query));
    }
    let left = deadline.statement_timeout();
    let left = left.ok_or_else(|| error::timed_out(query, "no time was left to run it"))?;
    let timeout = query.timeout.map_or(left, |own| own.min(left));
    let script = script(query, parameters, timeout)?;
    let own = query.timeout.map(|own| Instant::now() + own + OWN_TIMEOUT_GRACE);
    let bound = own.map_or(deadline.answer_by(), |own| own.min(deadline.answer_by()));

    // Until an answer has arrived as a whole, also if this future is dropped.
    connection.broken = true;
    // START TRANSACTION travels with the statement: if it fails, the statement does not run.
    let mut stage = Stage::Begun;
    let work = attempt(connection, query, script, &mut stage);
    if let Ok(result) = timeout_at(bound, work).await {
        return result;
    }
    connection.kill(deadline.cancel_by()).await;
    Err(match (query.mode, stage) {
        (Mode::Write, Stage::Committing) => outcome_unknown(query, stage),
        (Mode::Write, _) => error::timed_out(
            query,
            "the database did not answer in time; nothing was written, COMMIT was not sent",
        ),
        (Mode::Read, _) => error::timed_out(query, "the database did not answer in time"),
    })
}

async fn attempt(
    connection: &mut Connection,
    query: &Query,
    script: String,
    stage: &mut Stage,
) -> Result<Answer, Error> {
    let collected = collect(connection, query, script).await;
    let result = match collected {
        Ok(collected) => collected.answer(query),
        Err((_, failed)) if failed.is_fatal() => return Err(error::lost(query, &failed, *stage)),
        Err((at, failed)) => Err(error::statement_error(query, &failed, at == PREPARED)),
    };
    if query.mode == Mode::Read && result.is_ok() {
        connection.broken = false;
        return result;
    }
    let end = if result.is_ok() {
        "COMMIT; SET wait_timeout = DEFAULT"
    } else {
        "ROLLBACK; SET wait_timeout = DEFAULT"
    };
    if result.is_ok() {
        *stage = Stage::Committing;
    }
    match connection.conn.query_drop(end).await {
        Ok(()) => {
            connection.broken = false;
            result
        }
        Err(failed) if result.is_ok() && failed.is_fatal() => {
            Err(error::lost(query, &failed, *stage))
        }
        // A COMMIT that is refused has written nothing.
        Err(failed) if result.is_ok() => Err(error::statement_error(query, &failed, false)),
        // The statement's own error says more; the connection stays broken.
        Err(_) => result,
    }
}

/// Everything up to EXECUTE, and for a read COMMIT too.
fn script(query: &Query, parameters: &Parameters, timeout: Duration) -> Result<String, Error> {
    let literals = literal::literals(query, parameters)?;
    let (seconds, milliseconds) = (timeout.as_secs_f64(), timeout.as_millis().max(1));
    // Half for locks, so that there is time to run once they are granted; and a sandbox that freezes or
    // dies half-way holds its own locks no longer than it could have worked.
    let lock = (timeout.as_secs() / 2).max(1);
    let idle = timeout.as_secs() + 1;
    let mut script = match query.mode {
        Mode::Read => "START TRANSACTION READ ONLY; SET ".to_owned(),
        Mode::Write => format!("START TRANSACTION; SET wait_timeout = {idle}, "),
    };
    // Only MariaDB reads the first comment, and only MySQL the second: each has the variable in it.
    script.push_str(&format!(
        "innodb_lock_wait_timeout = {lock}, lock_wait_timeout = {lock}\
         /*M!100101 , max_statement_time = {seconds:.3} */\
         /*!50704 , max_execution_time = {milliseconds} */, @rds_iam_sql = {}",
        literal::text(&query.sql)
    ));
    for (index, literal) in literals.iter().enumerate() {
        script.push_str(&format!(", @rds_iam_{index} = {literal}"));
    }
    script.push_str("; PREPARE rds_iam FROM @rds_iam_sql; EXECUTE rds_iam");
    for index in 0..literals.len() {
        script.push_str(if index == 0 { " USING " } else { ", " });
        script.push_str(&format!("@rds_iam_{index}"));
    }
    if query.mode == Mode::Read {
        script.push_str("; COMMIT");
    }
    Ok(script)
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
                None => Err(error::not_json(query)),
            };
            self.unacceptable = pushed.err();
        }
    }

    fn answer(self, query: &Query) -> Result<Answer, Error> {
        match (self.unacceptable, &query.result) {
            (Some(error), _) => Err(error),
            (None, ResultKind::Affected) => Ok(Answer::Affected(self.affected)),
            (None, _) => answer(query, self.rows, Some(self.count)),
        }
    }
}

/// Sends the packet and takes all its results. An error comes with the index of its statement.
async fn collect(
    connection: &mut Connection,
    query: &Query,
    script: String,
) -> Result<Collected, (usize, mysql_async::Error)> {
    let mut collected = Collected::default();
    let mut results = connection.conn.query_iter(script).await.map_err(|error| (0, error))?;
    let mut at = 0;
    loop {
        while let Some(row) = results.next().await.map_err(|error| (at, error))? {
            collected.take(query, &row);
        }
        // The end of one result has read the start of the next.
        at += 1;
        if at == EXECUTED {
            collected.affected = results.affected_rows();
        }
        if results.is_empty() {
            // What is left is a result without rows, or an error.
            results.next().await.map_err(|error| (at, error))?;
            return Ok(collected);
        }
    }
}
