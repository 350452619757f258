//! A statement on a connection: one round trip for a read, by pipelining.
//!
//! `BEGIN READ ONLY; SET LOCAL statement_timeout …`, the statement and `COMMIT` are queued without
//! waiting in between, so all three travel together. If the statement fails, COMMIT answers with
//! ROLLBACK and the connection is ready for the next.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::try_join3;
use tokio_postgres::Client;

use super::errors::statement_error;
use super::{Parameters, Query, ResultKind, Rows};
use crate::error::Error;

/// PostgreSQL renders each row; every type works, extensions' too.
const ROWS_PREFIX: &str = "SELECT row_to_json(_)::text FROM (\n";
const ROWS_SUFFIX: &str = "\n) _";

/// What a query answered.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// `result = "rows"`
    Rows(Rows),
    /// `result = "affected"`
    Affected(u64),
}

/// Why a statement gave no answer, and what state it left the connection in.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server refused it; the connection can be used on.
    Refused(Error),
    /// The connection broke: a read may be repeated on another one.
    Lost(Error),
    /// The answer was given up half-way: the connection still carries the rest of it.
    Abandoned(Error),
}

/// Runs a read. `statement_timeout` is left out behind RDS Proxy, where SET pins the session.
pub(crate) async fn read(
    client: &Client,
    query: &Query,
    parameters: &Parameters,
    statement_timeout: Option<Duration>,
) -> Result<Answer, Failure> {
    let mut begin = "BEGIN READ ONLY".to_owned();
    if let Some(timeout) = statement_timeout {
        begin.push_str(&format!("; SET LOCAL statement_timeout = {}", timeout.as_millis().max(1)));
    }
    let (wrapped, prefix) = match query.result {
        ResultKind::Rows => {
            (format!("{ROWS_PREFIX}{}{ROWS_SUFFIX}", query.sql), ROWS_PREFIX.chars().count())
        }
        ResultKind::Affected => (query.sql.clone(), 0),
    };
    let classify = |error| Failure::from_statement(query, &error, prefix);
    // Polled in this order, and each queues its message when first polled.
    let begin = async { client.batch_execute(&begin).await.map_err(classify) };
    let statement = async {
        match query.result {
            ResultKind::Rows => collect(client, query, &wrapped, parameters, classify).await,
            ResultKind::Affected => client
                .execute_typed(&wrapped, &parameters.typed())
                .await
                .map(Answer::Affected)
                .map_err(classify),
        }
    };
    let commit = async { client.batch_execute("COMMIT").await.map_err(classify) };
    let ((), answer, ()) = try_join3(begin, statement, commit).await?;
    Ok(answer)
}

async fn collect(
    client: &Client,
    query: &Query,
    sql: &str,
    parameters: &Parameters,
    classify: impl Fn(tokio_postgres::Error) -> Failure,
) -> Result<Answer, Failure> {
    let stream = client.query_typed_raw(sql, parameters.typed()).await.map_err(&classify)?;
    let mut stream = pin!(stream);
    let mut rows = Rows::default();
    while let Some(row) = stream.try_next().await.map_err(&classify)? {
        let json: &str = row.try_get(0).map_err(&classify)?;
        rows.push(&query.name, json).map_err(Failure::Abandoned)?;
    }
    Ok(Answer::Rows(rows))
}

impl Failure {
    fn from_statement(query: &Query, error: &tokio_postgres::Error, prefix: usize) -> Self {
        let lost = match error.as_db_error() {
            Some(db) => matches!(db.code().code(), "57P01" | "57P02" | "57P03"),
            None => true,
        };
        let told = statement_error(query, error, prefix);
        if lost { Self::Lost(told) } else { Self::Refused(told) }
    }
}
