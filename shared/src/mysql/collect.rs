//! The results of a packet, read to their end.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Error as MysqlError, Row};

use super::connect::Connection;
use super::error::not_json;
use super::json;
use super::script::Script;
use crate::error::{Error, ErrorKind};
use crate::query::{Answer, Query, ResultKind, Rows, answer};

/// The outcome of a statement's results.
#[derive(Default)]
pub(super) struct Collected {
    rows: Rows,
    /// How many rows there were.
    count: u64,
    affected: u64,
    /// Rows that cannot be answered.
    pub(super) unacceptable: Option<Error>,
    /// Whether every result was read.
    pub(super) ended: bool,
    /// The codes of the server's warnings, as far as the packet asks for them.
    pub(super) warnings: Vec<u16>,
    /// Whether the last statement has warnings.
    pub(super) has_warnings: bool,
}

impl Collected {
    fn take(&mut self, query: &Query, row: &Row) {
        self.count += 1;
        let kept = match query.result {
            ResultKind::Affected => 0,
            // A second row is enough to know.
            ResultKind::One => 2,
            ResultKind::Check { show, .. } => show,
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

    pub(super) fn answer(
        self,
        query: &Query,
        violations: &mut Option<u64>,
    ) -> Result<Answer, Error> {
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

/// Sends the packet and takes its results: all of them, unless they are too large. An error comes with the
/// index of its statement.
pub(super) async fn collect(
    connection: &mut Connection,
    query: &Query,
    script: &Script,
) -> Result<Collected, (usize, MysqlError)> {
    let mut collected = Collected::default();
    let mut results =
        connection.conn.query_iter(script.text.as_str()).await.map_err(|error| (0, error))?;
    let mut at = 0;
    loop {
        while let Some(row) = results.next().await.map_err(|error| (at, error))? {
            if script.warnings == Some(at) {
                collected.warnings.extend(code(&row));
                continue;
            }
            if script.limit == Some(at) {
                connection.limit = milliseconds(&row);
                continue;
            }
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
            collected.has_warnings = results.warnings() > 0;
            return Ok(collected);
        }
    }
}

/// Ends a transaction, and returns the codes of the warnings that the packet begins by asking for.
pub(super) async fn end(
    connection: &mut Connection,
    packet: &str,
    shows_warnings: bool,
) -> Result<Vec<u16>, MysqlError> {
    let mut results = connection.conn.query_iter(packet).await?;
    let mut codes = Vec::new();
    if shows_warnings {
        while let Some(row) = results.next().await? {
            codes.extend(code(&row));
        }
    }
    results.drop_result().await?;
    Ok(codes)
}

fn milliseconds(row: &Row) -> Option<Duration> {
    let milliseconds = row.get_opt::<f64, _>(0)?.ok()?;
    Duration::try_from_secs_f64(milliseconds / 1000.0).ok()
}

/// The code in a row of SHOW WARNINGS. Its message has values.
fn code(row: &Row) -> Option<u16> {
    row.get_opt::<u16, _>(1)?.ok()
}
