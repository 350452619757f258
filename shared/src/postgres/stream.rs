//! A read whose rows are handed on as they arrive, in one read-only transaction with one snapshot.
//!
//! tokio-postgres reads from the socket only while its caller takes rows, so a caller that waits makes
//! the server wait: nothing here grows with the result.

use std::pin::Pin;
use std::time::Duration;

use super::begin::{Limit, Transaction};
use super::columns::{Column, Raw, Sent, Value, mapping};
use super::execute::{AS_ROWS, SELECT_ROWS, Statement};
use super::outcome::Failure;
use super::{Connection, text};
use crate::error::{Error, ErrorKind};
use crate::query::{Parameters, Query};
use futures_util::TryStreamExt;
use futures_util::future::{join, ready};

/// The form in which a stream's rows arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    /// Each row is a JSON object, as in a response. The columns are not described.
    Json,
    /// Each row is a record in PostgreSQL's text form, `(1,"a ""b""",)`, each field as its type's own
    /// output function writes it. `COPY … TO STDOUT` uses the same functions.
    Record,
    /// Each row has a value for each column.
    Values,
}

/// One row of a stream.
pub struct StreamedRow(tokio_postgres::Row);

impl StreamedRow {
    /// The row's text, in the form [`RowForm::Json`] or [`RowForm::Record`].
    ///
    /// # Errors
    /// [`QueryFailed`](ErrorKind::QueryFailed) if the row has the form [`RowForm::Values`].
    pub fn text(&self) -> Result<&str, Error> {
        self.0.try_get(0).map_err(|_| Error::new(ErrorKind::QueryFailed, "a row is not text"))
    }

    /// The value of a column, in the form [`RowForm::Values`].
    ///
    /// # Errors
    /// [`QueryFailed`](ErrorKind::QueryFailed) if the type of [`Column::kind`] cannot hold the value: an
    /// infinite date, say. The message names the column and no value.
    pub fn value(&self, index: usize, column: &Column) -> Result<Value<'_>, Error> {
        match self.0.try_get::<_, Option<Raw<'_>>>(index) {
            Ok(Some(raw)) => column.value(raw.0),
            Ok(None) => Ok(Value::Null),
            Err(_) => Err(Error::new(ErrorKind::QueryFailed, "a row misses a column")),
        }
    }
}

/// Rows are the database's data, which no log may show.
impl std::fmt::Debug for StreamedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StreamedRow(_)")
    }
}

/// A statement that runs, and whose rows arrive.
pub(crate) struct Running {
    pub(crate) columns: Vec<Column>,
    rows: Pin<Box<tokio_postgres::RowStream>>,
    query: Query,
    prefix: usize,
    limit: Option<Limit>,
}

/// Opens the transaction and sends the statement. Returns when the server has accepted it.
pub(crate) async fn start(
    connection: &Connection,
    query: &Query,
    parameters: &Parameters,
    form: RowForm,
    statement_timeout: Option<Duration>,
) -> Result<Running, Failure> {
    let client = &connection.client;
    let plain = Statement::between(query, "", "");
    let begin = connection.begin(Transaction::Snapshot, statement_timeout);
    let (begun, described) = match form {
        RowForm::Json => join(begin, ready(Ok(None))).await,
        _ => join(begin, async { connection.prepare(&query.sql).await.map(Some) }).await,
    };
    begun.map_err(|error| plain.failed_read(&error))?;
    let described = described.map_err(|error| plain.failed_read(&error))?;
    if described.as_ref().is_some_and(|statement| statement.columns().is_empty()) {
        return Err(Failure::refused(no_columns(query)));
    }
    let described = described.as_ref().map_or(&[][..], |statement| statement.columns());
    let mapped: Vec<_> = described.iter().map(mapping).collect();
    let statement =
        wrapped(query, form, &mapped).within(connection.limits.limit(statement_timeout));
    let columns = described.iter().zip(&mapped);
    let columns = columns
        .map(|(column, (kind, _))| Column { name: column.name().to_owned(), kind: *kind })
        .collect();
    let texts = text::texts(parameters);
    let rows = client.query_typed_raw(&statement.text, text::typed(&texts)).await;
    let rows = rows.map_err(|error| statement.failed_read(&error))?;
    let Statement { prefix, limit, .. } = statement;
    Ok(Running { columns, rows: Box::pin(rows), query: query.clone(), prefix, limit })
}

impl Running {
    /// The next row; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<StreamedRow>, Failure> {
        let next = self.rows.try_next().await;
        next.map(|row| row.map(StreamedRow)).map_err(|error| {
            let statement = Statement::sent(&self.query, self.prefix, self.limit.clone());
            statement.failed_read(&error)
        })
    }

    pub(crate) fn query(&self) -> &Query {
        &self.query
    }
}

/// Only JSON has a form for a row without values.
fn no_columns(query: &Query) -> Error {
    Error::new(ErrorKind::QueryInvalid, format!("query {} has no columns", query.name))
        .because("a row of this format has one value or more")
        .remedy("Select at least one column")
}

fn wrapped<'q>(
    query: &'q Query,
    form: RowForm,
    columns: &[(super::columns::ColumnKind, Sent)],
) -> Statement<'q> {
    match form {
        RowForm::Json => Statement::between(query, SELECT_ROWS, AS_ROWS),
        RowForm::Record => {
            Statement::between(query, "SELECT ROW(rds_iam_rows.*)::text FROM (\n", AS_ROWS)
        }
        RowForm::Values => {
            let names: Vec<String> = (1..=columns.len()).map(|n| format!("c{n}")).collect();
            let selected: Vec<String> = names
                .iter()
                .zip(columns)
                .map(|(name, (_, sent))| match sent {
                    Sent::Binary => name.clone(),
                    Sent::Json => format!("pg_catalog.to_json({name})::text"),
                    // A cast to text differs from the type's output for some types, inet for example;
                    // and IS NULL is true of a row of NULLs.
                    Sent::Text => {
                        format!(
                            "CASE WHEN pg_catalog.num_nulls({name}) = 0 \
                             THEN pg_catalog.format('%s', {name}) END"
                        )
                    }
                })
                .collect();
            let before = format!("SELECT {} FROM (\n", selected.join(", "));
            Statement::between(query, &before, &format!("{AS_ROWS} ({})", names.join(", ")))
        }
    }
}
