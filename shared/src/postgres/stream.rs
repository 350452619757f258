//! A read whose rows are handed on as they arrive, in one read-only transaction with one snapshot.
//!
//! tokio-postgres reads from the socket only while its caller takes rows, so a caller that waits makes
//! the server wait: nothing here grows with the result.

use std::pin::Pin;
use std::time::Duration;

use super::begin::{Limit, Transaction};
use super::columns::{Column, ColumnKind, Raw, Value, mapping};
use super::execute::{AS_ROWS, SELECT_ROWS, Statement};
use super::outcome::Failure;
use super::output::{Sent, Settings, field, member};
use super::{Connection, text};
use crate::error::{Error, ErrorKind};
use crate::query::{Parameters, Query};
use futures_util::TryStreamExt;
use futures_util::future::join3;

/// The form in which a stream's rows arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowForm {
    /// Each row is a JSON object, as in a response. The columns are not described.
    Json,
    /// Each row has a value for each column, from which its member of that object is written. A query
    /// without columns, and any query behind RDS Proxy, has rows of the form [`Json`](Self::Json) instead.
    Members,
    /// Each row has a value for each column, from which its field of `COPY … TO STDOUT` is written.
    Fields,
    /// Each row has a [`Value`] for each column.
    Values,
}

/// One row of a stream.
pub struct StreamedRow(tokio_postgres::Row);

impl StreamedRow {
    /// The row's text, in the form [`RowForm::Json`].
    ///
    /// # Errors
    /// [`QueryFailed`](ErrorKind::QueryFailed) if the row has another form.
    pub fn text(&self) -> Result<&str, Error> {
        self.0.try_get(0).map_err(|_| Error::new(ErrorKind::QueryFailed, "a row is not text"))
    }

    /// The bytes of a column, of the form that its [`Output`](super::Output) says; `None` is NULL.
    ///
    /// # Errors
    /// [`QueryFailed`](ErrorKind::QueryFailed) if there is no such column.
    pub fn raw(&self, index: usize) -> Result<Option<&[u8]>, Error> {
        let raw = self.0.try_get::<_, Option<Raw<'_>>>(index);
        let raw = raw.map_err(|_| Error::new(ErrorKind::QueryFailed, "a row misses a column"))?;
        Ok(raw.map(|raw| raw.0))
    }

    /// The value of a column, in the form [`RowForm::Values`].
    ///
    /// # Errors
    /// [`QueryFailed`](ErrorKind::QueryFailed) if the type of [`Column::kind`] cannot hold the value: an
    /// infinite date, say. The message names the column and no value.
    pub fn value(&self, index: usize, column: &Column) -> Result<Value<'_>, Error> {
        self.raw(index)?.map_or(Ok(Value::Null), |raw| column.value(raw))
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
    // Polled in this order, and each queues its message when first polled.
    let begin = connection.begin(Transaction::Snapshot, statement_timeout);
    let asked = async {
        match form {
            RowForm::Members | RowForm::Fields => client.simple_query(Settings::QUESTION).await,
            RowForm::Json | RowForm::Values => Ok(Vec::new()),
        }
    };
    let described = async {
        match form {
            RowForm::Json => Ok(None),
            _ => connection.prepare(&query.sql).await.map(Some),
        }
    };
    let (begun, asked, described) = join3(begin, asked, described).await;
    begun.map_err(|error| plain.failed_read(&error))?;
    let asked = asked.map_err(|error| plain.failed_read(&error))?;
    let described = described.map_err(|error| plain.failed_read(&error))?;
    let described = described.as_ref().map_or(&[][..], |statement| statement.columns());
    let form = match form {
        RowForm::Members if described.is_empty() => RowForm::Json,
        RowForm::Fields | RowForm::Values if described.is_empty() => {
            return Err(Failure::refused(no_columns(query)));
        }
        form => form,
    };
    let settings = Settings::of(query, &asked);
    let mapped: Vec<_> = described.iter().map(|column| mapped(column, form, settings)).collect();
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

/// What arrives of a column, and how the server sends it.
fn mapped(
    column: &tokio_postgres::Column,
    form: RowForm,
    settings: Settings,
) -> (ColumnKind, Sent) {
    let (output, sent) = match form {
        RowForm::Json | RowForm::Values => return mapping(column),
        RowForm::Members => member(column, settings),
        RowForm::Fields => field(column, settings),
    };
    (ColumnKind::Output(output), sent)
}

fn wrapped<'q>(query: &'q Query, form: RowForm, columns: &[(ColumnKind, Sent)]) -> Statement<'q> {
    if form == RowForm::Json {
        return Statement::between(query, SELECT_ROWS, AS_ROWS);
    }
    let names: Vec<String> = (1..=columns.len()).map(|n| format!("c{n}")).collect();
    let selected: Vec<String> =
        names.iter().zip(columns).map(|(name, (_, sent))| selected(name, sent)).collect();
    let before = format!("SELECT {} FROM (\n", selected.join(", "));
    Statement::between(query, &before, &format!("{AS_ROWS} ({})", names.join(", ")))
}

fn selected(name: &str, sent: &Sent) -> String {
    match sent {
        Sent::Binary => name.to_owned(),
        Sent::Json => format!("pg_catalog.to_json({name})::text"),
        Sent::Function(function) => {
            format!("pg_catalog.textin(pg_catalog.{function}({name}))")
        }
        // A cast to text differs from the type's output for some types; and IS NULL is true of a row of
        // NULLs.
        Sent::Text => format!(
            "CASE WHEN pg_catalog.num_nulls({name}) = 0 THEN pg_catalog.format('%s', {name}) END"
        ),
    }
}
