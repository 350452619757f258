//! Runs a statement on a connection, in its own transaction.
//!
//! A read costs one round trip: `BEGIN READ ONLY; SET LOCAL statement_timeout …`, the statement and
//! `COMMIT` are queued without waiting in between, so all three are sent together. If the statement
//! fails, COMMIT answers with ROLLBACK and the connection is ready for the next.
//!
//! A write costs two: `COMMIT` is sent only after every answer was looked at. If it were sent with
//! the statement, it would commit rows that break the result's rules; and if `BEGIN` failed, the
//! statement would autocommit.

use std::pin::pin;
use std::sync::OnceLock;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::{join, try_join3};
use tokio_postgres::Client;
use tokio_postgres::error::{DbError, Severity};

use super::begin::{Limit, Transaction};
use super::nearest::Missing;
use super::outcome::{Failure, NoAnswer, Progress, Stage};
use super::read_only::{self, Cause, refuses_writes, takes_no_writes};
use super::statement_error::statement_error;
use super::{Connection, Leaves, text};
use crate::error::Error;
use crate::query::{Answer, Mode, Parameters, Query, ResultKind, Rows, answer, outcome_unknown};

/// The server ends the session with it (from version 17 on), and would again.
pub(super) const TRANSACTION_TIMEOUT: &str = "25P04";

/// Runs a query by its mode. `statement_timeout` is left out behind RDS Proxy, where SET pins the
/// session. Without `keeps_rows`, rows that the caller does not use are only counted.
pub(crate) async fn run(
    connection: &Connection,
    query: &Query,
    parameters: &Parameters,
    statement_timeout: Option<Duration>,
    keeps_rows: bool,
    progress: &mut Progress,
) -> Result<Answer, Failure> {
    let statement = if keeps_rows { Statement::new(query) } else { Statement::counting(query) };
    let statement = statement.within(connection.limits.limit(statement_timeout));
    let result = match query.mode {
        Mode::Read => read(connection, &statement, parameters, statement_timeout, progress).await,
        Mode::Write => write(connection, &statement, parameters, statement_timeout, progress).await,
    };
    let bound = statement.limit.as_ref().and_then(Limit::end);
    match (result, statement.missing.get(), bound) {
        (Err(failure), Some(missing), Some(bound)) if failure.usable => {
            Err(missing.explain(&connection.client, bound, failure).await)
        }
        (result, ..) => result,
    }
}

async fn read(
    connection: &Connection,
    statement: &Statement<'_>,
    parameters: &Parameters,
    timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<Answer, Failure> {
    let (client, failed) = (&connection.client, |error| statement.failed_read(&error));
    let leaves = Leaves::of(statement.query);
    // Polled in this order, and each queues its message when first polled.
    let begin = async { connection.begin(Transaction::Read, timeout).await.map_err(failed) };
    let answer = async {
        match statement.run(client, parameters, &mut progress.violations).await {
            // The rest of the rows is not waited for.
            Err(NoAnswer::Unacceptable(error)) => Err(Failure::lost(error)),
            answer => Ok(answer),
        }
    };
    let end = async { Ok(connection.end("COMMIT", leaves).await) };
    let ((), answer, ended) = try_join3(begin, answer, end).await?;
    let answer = answer.map_err(|error| error.or(failed))?;
    ended.map_err(failed)?;
    Ok(answer)
}

async fn write(
    connection: &Connection,
    statement: &Statement<'_>,
    parameters: &Parameters,
    timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<Answer, Failure> {
    let Progress { stage, violations } = progress;
    let (client, leaves) = (&connection.client, Leaves::of(statement.query));
    let begin = async {
        let begun = connection.begin(Transaction::Write, timeout).await;
        if begun.is_ok() {
            *stage = Stage::Begun;
        }
        begun
    };
    let (begun, answer) = join(begin, statement.run(client, parameters, violations)).await;
    let failure = match (begun, answer) {
        (Ok(()), Ok(answer)) => {
            *stage = Stage::Committing;
            return match connection.end("COMMIT", leaves).await {
                Ok(()) => Ok(answer),
                Err(error) => Err(statement.failed_write(&error, Stage::Committing)),
            };
        }
        // Without a transaction, the statement was autocommitted.
        (Err(_), Ok(_)) => {
            return Err(Failure::lost(outcome_unknown(statement.query, Stage::Sent)));
        }
        (Err(error), Err(_)) => statement.failed_write(&error, Stage::Sent),
        (Ok(()), Err(NoAnswer::Postgres(error))) if refuses_writes(&error) => {
            connection.refused_write(statement.query).await
        }
        (Ok(()), Err(error)) => error.or(|error| statement.failed_write(&error, Stage::Begun)),
    };
    if failure.usable && connection.end("ROLLBACK", leaves).await.is_err() {
        return Err(Failure { usable: false, ..failure });
    }
    Err(failure)
}

impl Connection {
    /// Opens a transaction, with bounds for what may hold it up.
    pub(super) async fn begin(
        &self,
        transaction: Transaction,
        timeout: Option<Duration>,
    ) -> Result<(), tokio_postgres::Error> {
        self.limits.begin(&self.client, transaction, timeout, Duration::MAX).await
    }

    /// The failure of a write that was refused with 25006: after this, its transaction is rolled back.
    pub(super) async fn refused_write(&self, query: &Query) -> Failure {
        let Some(cause) = read_only::ask(&self.client).await else {
            return Failure { error: takes_no_writes(query), usable: false, repeat: true };
        };
        let error = cause.error(format!("query {} could not write", query.name));
        match cause {
            // The name leads to another server by now.
            Cause::Standby | Cause::Server => Failure { error, usable: false, repeat: true },
            // A new login may have another setting, once somebody has changed it.
            Cause::Altered(_) | Cause::Session => {
                self.spend();
                Failure::refused(error)
            }
            Cause::Transaction => Failure { error, usable: true, repeat: true },
        }
    }
}

/// A query's statement as it is sent.
pub(super) struct Statement<'q> {
    pub(super) query: &'q Query,
    pub(super) text: String,
    /// How many characters stand before the file's own text.
    pub(super) prefix: usize,
    keeps_rows: bool,
    pub(super) limit: Option<Limit>,
    /// A name that the server did not find.
    missing: OnceLock<Missing>,
}

impl<'q> Statement<'q> {
    /// PostgreSQL renders each row, so every type works, extensions' too.
    pub(super) fn new(query: &'q Query) -> Self {
        let (before, after) = wrapping(query);
        Self::between(query, before, &after)
    }

    /// The same, for a caller that uses no rows: `result = "rows"` answers with their number.
    pub(super) fn counting(query: &'q Query) -> Self {
        Self { keeps_rows: false, ..Self::new(query) }
    }

    /// The file's text with something before and after it.
    pub(super) fn between(query: &'q Query, before: &str, after: &str) -> Self {
        let text = format!("{before}{}{after}", query.sql);
        let prefix = before.chars().count();
        Self { query, text, prefix, keeps_rows: true, limit: None, missing: OnceLock::new() }
    }

    pub(super) fn within(self, limit: Limit) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// A statement that was sent already, to explain its errors.
    pub(super) fn sent(query: &'q Query, prefix: usize, limit: Option<Limit>) -> Self {
        Self { prefix, limit, ..Self::between(query, "", "") }
    }

    pub(super) fn explained(&self, error: &tokio_postgres::Error) -> Error {
        let Some(db) = error.as_db_error() else {
            return statement_error(self.query, error, self.prefix);
        };
        let limit = self.limit.as_ref().filter(|_| db.code().code() == "57014");
        if let Some(canceled) = limit.and_then(|limit| limit.canceled(self.query)) {
            return canceled;
        }
        if let Some(missing) = Missing::of(self.query, db, self.prefix) {
            self.missing.get_or_init(|| missing);
        }
        statement_error(self.query, error, self.prefix)
    }

    pub(super) async fn run(
        &self,
        client: &Client,
        parameters: &Parameters,
        violations: &mut Option<u64>,
    ) -> Result<Answer, NoAnswer> {
        let texts = text::texts(parameters);
        let typed = text::typed(&texts);
        if self.query.result == ResultKind::Affected {
            let affected = client.execute_typed(&self.text, &typed).await;
            return affected.map(Answer::Affected).map_err(NoAnswer::Postgres);
        }
        let stream = client.query_typed_raw(&self.text, typed).await.map_err(NoAnswer::Postgres)?;
        let mut stream = pin!(stream);
        let mut rows = Rows::default();
        let mut discarded = 0;
        while let Some(row) = stream.try_next().await.map_err(NoAnswer::Postgres)? {
            let text: &str = row.try_get(0).map_err(NoAnswer::Postgres)?;
            match text.parse() {
                // A check's count, the one line that is not a row.
                Ok(count) => *violations = Some(count),
                // A result with a rule needs its rows, whether the caller uses them or not.
                Err(_) if self.discards_rows() => discarded += 1,
                Err(_) => {
                    rows.push(&self.query.name, text).map_err(NoAnswer::Unacceptable)?;
                }
            }
        }
        if self.discards_rows() {
            return Ok(Answer::Affected(discarded));
        }
        answer(self.query, rows, *violations).map_err(NoAnswer::AgainstItsRule)
    }

    fn discards_rows(&self) -> bool {
        !self.keeps_rows && self.query.result == ResultKind::Rows
    }

    pub(super) fn failed_read(&self, error: &tokio_postgres::Error) -> Failure {
        let explained = self.explained(error);
        match error.as_db_error() {
            Some(db) if !ends_session(db) => Failure::refused(explained),
            // transaction_timeout: it would meet it again.
            Some(db) if db.code().code() == TRANSACTION_TIMEOUT => Failure::lost(explained),
            // A read changes nothing, so it may run again.
            _ => Failure { error: explained, usable: false, repeat: true },
        }
    }

    pub(super) fn failed_write(&self, error: &tokio_postgres::Error, stage: Stage) -> Failure {
        let Some(db) = error.as_db_error() else {
            return Failure::lost(outcome_unknown(self.query, stage));
        };
        if ends_session(db) && stage == Stage::Committing {
            return Failure::lost(outcome_unknown(self.query, stage));
        }
        // What was refused has changed nothing.
        if refuses_writes(error) {
            let error = takes_no_writes(self.query);
            return Failure { error, usable: false, repeat: true };
        }
        let explained = self.explained(error);
        if ends_session(db) { Failure::lost(explained) } else { Failure::refused(explained) }
    }
}

/// The name of the file's rows in what is put around them is `rds_iam_rows`. The file's text does not see it,
/// and `.*` takes it for the row even where a column has that name.
pub(super) const SELECT_ROWS: &str = "SELECT pg_catalog.row_to_json(rds_iam_rows.*)::text FROM (\n";
const WITH_ROWS: &str = "WITH rds_iam_rows AS (\n";
const FROM_ROWS: &str = "SELECT pg_catalog.row_to_json(rds_iam_rows.*)::text FROM rds_iam_rows";
pub(super) const AS_ROWS: &str = "\n) rds_iam_rows";

/// The text before and after a query's own.
fn wrapping(query: &Query) -> (&'static str, String) {
    match (&query.result, query.mode) {
        (ResultKind::Affected, _) => ("", String::new()),
        (ResultKind::Rows | ResultKind::Metric(_), Mode::Read) => (SELECT_ROWS, AS_ROWS.into()),
        (ResultKind::Rows | ResultKind::Metric(_), Mode::Write) => {
            (WITH_ROWS, format!("\n) {FROM_ROWS}"))
        }
        // A second row is enough to know.
        (ResultKind::One, Mode::Read) => (SELECT_ROWS, format!("{AS_ROWS} LIMIT 2")),
        (ResultKind::One, Mode::Write) => (WITH_ROWS, format!("\n) {FROM_ROWS} LIMIT 2")),
        (ResultKind::Check { show, .. }, _) => (
            WITH_ROWS,
            format!(
                "\n) SELECT pg_catalog.count(*)::text FROM rds_iam_rows UNION ALL \
                 ({FROM_ROWS} LIMIT {show})"
            ),
        ),
    }
}

/// Whether the server closes the connection after this message.
pub(super) fn ends_session(error: &DbError) -> bool {
    matches!(error.parsed_severity(), Some(Severity::Fatal | Severity::Panic))
        || matches!(error.code().code(), "57P01" | "57P02" | "57P03")
}
