//! A statement on a connection, in a transaction of its own.
//!
//! A read costs one round trip: `BEGIN READ ONLY; SET LOCAL statement_timeout …`, the statement and
//! `COMMIT` are queued without waiting in between, so all three travel together. If the statement
//! fails, COMMIT answers with ROLLBACK and the connection is ready for the next.
//!
//! A write costs two: `COMMIT` is sent only after every answer was looked at. Sent along, it would
//! commit what the result's own rules then refuse; and after a `BEGIN` that failed, the statement
//! would commit by itself.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{join, try_join3};
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, Severity};

use super::errors::{outcome_unknown, statement_error, takes_no_writes};
use super::{Mode, Parameters, Query, ResultKind, Rows};
use crate::error::Error;

/// What a query answered.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// `result = "rows"`
    Rows(Rows),
    /// `result = "affected"`
    Affected(u64),
}

/// Why a statement gave no answer, and what may be done about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Whether the connection can be used on.
    pub(crate) usable: bool,
    /// Whether the statement may run again, on another connection.
    pub(crate) repeat: bool,
}

/// How far a write has come; it tells what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `BEGIN` and the statement are on their way. If `BEGIN` fails, the statement commits by itself.
    Sent,
    /// The transaction is open: without `COMMIT`, PostgreSQL rolls it back.
    Begun,
    /// `COMMIT` is on its way.
    Committing,
}

/// Runs a query by its mode. `statement_timeout` is left out behind RDS Proxy, where SET pins the
/// session. `stage` is for whoever gives up waiting.
pub(crate) async fn run(
    client: &Client,
    query: &Query,
    parameters: &Parameters,
    statement_timeout: Option<Duration>,
    stage: &mut Stage,
) -> Result<Answer, Failure> {
    let begin = begin(query.mode, statement_timeout);
    let statement = Statement::new(query);
    match query.mode {
        Mode::Read => read(client, &statement, parameters, &begin).await,
        Mode::Write => write(client, &statement, parameters, &begin, stage).await,
    }
}

/// Opens the transaction, with bounds for what may hold it up.
fn begin(mode: Mode, statement_timeout: Option<Duration>) -> String {
    let mut begin = match mode {
        Mode::Read => "BEGIN READ ONLY".to_owned(),
        Mode::Write => "BEGIN".to_owned(),
    };
    if let Some(timeout) = statement_timeout {
        let timeout = timeout.as_millis().max(1);
        // Half for locks, so that there is time to run once they are had; and a sandbox that is
        // frozen or gone half-way holds its own locks no longer than it could have worked.
        let lock = (timeout / 2).max(1);
        begin.push_str(&format!(
            "; SET LOCAL statement_timeout = {timeout}; SET LOCAL lock_timeout = {lock}; \
             SET LOCAL idle_in_transaction_session_timeout = {timeout}"
        ));
    }
    begin
}

async fn read(
    client: &Client,
    statement: &Statement<'_>,
    parameters: &Parameters,
    begin: &str,
) -> Result<Answer, Failure> {
    let failed = |error| statement.failed_read(&error);
    // Polled in this order, and each queues its message when first polled.
    let begin = async { client.batch_execute(begin).await.map_err(failed) };
    let answer = async { statement.run(client, parameters).await.map_err(|e| e.or(failed)) };
    let commit = async { client.batch_execute("COMMIT").await.map_err(failed) };
    let ((), answer, ()) = try_join3(begin, answer, commit).await?;
    Ok(answer)
}

async fn write(
    client: &Client,
    statement: &Statement<'_>,
    parameters: &Parameters,
    begin: &str,
    stage: &mut Stage,
) -> Result<Answer, Failure> {
    let begin = async {
        let begun = client.batch_execute(begin).await;
        if begun.is_ok() {
            *stage = Stage::Begun;
        }
        begun
    };
    let (begun, answer) = join(begin, statement.run(client, parameters)).await;
    let failure = match (begun, answer) {
        (Ok(()), Ok(answer)) => {
            *stage = Stage::Committing;
            return match client.batch_execute("COMMIT").await {
                Ok(()) => Ok(answer),
                Err(error) => Err(statement.failed_write(&error, Stage::Committing)),
            };
        }
        // Without a transaction it has committed by itself.
        (Err(_), Ok(_)) => {
            return Err(Failure::lost(outcome_unknown(statement.query, Stage::Sent)));
        }
        (Err(error), Err(_)) => statement.failed_write(&error, Stage::Sent),
        (Ok(()), Err(error)) => error.or(|error| statement.failed_write(&error, Stage::Begun)),
    };
    if failure.usable && client.batch_execute("ROLLBACK").await.is_err() {
        return Err(Failure { usable: false, ..failure });
    }
    Err(failure)
}

/// A query's statement as it is sent.
struct Statement<'q> {
    query: &'q Query,
    text: String,
    /// How many characters stand before the file's own text.
    prefix: usize,
}

/// Why a statement's answer could not be taken.
enum NoAnswer {
    /// As PostgreSQL or the connection says.
    Postgres(tokio_postgres::Error),
    /// Half-way, because of what it holds: the connection still carries the rest.
    Unacceptable(Error),
}

impl NoAnswer {
    fn or(self, classify: impl FnOnce(tokio_postgres::Error) -> Failure) -> Failure {
        match self {
            Self::Postgres(error) => classify(error),
            Self::Unacceptable(error) => Failure { error, usable: false, repeat: false },
        }
    }
}

impl<'q> Statement<'q> {
    /// PostgreSQL renders each row, so every type works, extensions' too.
    fn new(query: &'q Query) -> Self {
        let (before, after) = match (query.result, query.mode) {
            (ResultKind::Affected, _) => ("", ""),
            (ResultKind::Rows, Mode::Read) => ("SELECT row_to_json(_)::text FROM (\n", "\n) _"),
            (ResultKind::Rows, Mode::Write) => {
                ("WITH _ AS (\n", "\n) SELECT row_to_json(_)::text FROM _")
            }
        };
        let text = format!("{before}{}{after}", query.sql);
        Self { query, text, prefix: before.chars().count() }
    }

    async fn run(&self, client: &Client, parameters: &Parameters) -> Result<Answer, NoAnswer> {
        let typed = parameters.typed();
        if self.query.result == ResultKind::Affected {
            let affected = client.execute_typed(&self.text, &typed).await;
            return affected.map(Answer::Affected).map_err(NoAnswer::Postgres);
        }
        let stream = client.query_typed_raw(&self.text, typed).await.map_err(NoAnswer::Postgres)?;
        let mut stream = pin!(stream);
        let mut rows = Rows::default();
        while let Some(row) = stream.try_next().await.map_err(NoAnswer::Postgres)? {
            let json: &str = row.try_get(0).map_err(NoAnswer::Postgres)?;
            rows.push(&self.query.name, json).map_err(NoAnswer::Unacceptable)?;
        }
        Ok(Answer::Rows(rows))
    }

    fn failed_read(&self, error: &tokio_postgres::Error) -> Failure {
        let told = statement_error(self.query, error, self.prefix);
        match error.as_db_error() {
            Some(db) if !ends_session(db) => Failure::refused(told),
            // Nothing was changed, whatever became of it.
            _ => Failure { error: told, usable: false, repeat: true },
        }
    }

    fn failed_write(&self, error: &tokio_postgres::Error, stage: Stage) -> Failure {
        let Some(db) = error.as_db_error() else {
            return Failure::lost(outcome_unknown(self.query, stage));
        };
        if ends_session(db) && stage == Stage::Committing {
            return Failure::lost(outcome_unknown(self.query, stage));
        }
        // What was refused has changed nothing.
        if db.code().code() == "25006" {
            // The old writer, after a failover: the name leads to another by now.
            let error = takes_no_writes(self.query);
            return Failure { error, usable: false, repeat: true };
        }
        let told = statement_error(self.query, error, self.prefix);
        if ends_session(db) { Failure::lost(told) } else { Failure::refused(told) }
    }
}

/// Whether the server hangs up after this message.
fn ends_session(error: &DbError) -> bool {
    matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        || matches!(error.code().code(), "57P01" | "57P02" | "57P03")
}

impl Failure {
    /// The server refused it, and is ready for the next.
    pub(crate) fn refused(error: Error) -> Self {
        Self { error, usable: true, repeat: false }
    }

    /// The connection is of no more use.
    pub(crate) fn lost(error: Error) -> Self {
        Self { error, usable: false, repeat: false }
    }
}
