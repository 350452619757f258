//! Columns whose text this side of the connection writes: the server sends their values in binary, which
//! costs it less than text. What is left to the server is what its settings or its extensions decide.

use tokio_postgres::types::{Kind, Type};
use tokio_postgres::{Column, SimpleQueryMessage};

use super::text::first_row;
use crate::query::Query;

/// The binary form of a column's values, in the forms [`RowForm::Members`](super::RowForm::Members) and
/// [`RowForm::Fields`](super::RowForm::Fields).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// One byte.
    Bool,
    /// An integer of 16 bits.
    Int16,
    /// An integer of 32 bits.
    Int32,
    /// An integer of 64 bits.
    Int64,
    /// An integer of 32 bits without a sign.
    Oid,
    /// As `numeric_send` writes it: of any precision, NaN or infinite.
    Numeric,
    /// Text, as it is.
    Text,
    /// 16 bytes.
    Uuid,
    /// Bytes.
    Bytes,
    /// Days since 2000-01-01; the least and the greatest are infinite.
    Date,
    /// Microseconds since midnight.
    Time,
    /// Microseconds since 2000-01-01 00:00; the least and the greatest are infinite.
    Timestamp,
    /// The same, in UTC, which is also the session's time zone.
    TimestampTz,
    /// The byte 1, and JSON.
    Jsonb,
    /// JSON.
    Json,
}

/// How the server sends a column.
pub(super) enum Sent {
    Binary,
    Json,
    /// As text, by this output function.
    Function(&'static str),
    /// As text, of any type.
    Text,
}

/// The settings of a session that decide what text a value has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    iso_dates: bool,
    utc: bool,
    hex_bytes: bool,
}

impl Settings {
    /// Asks for them.
    pub(super) const QUESTION: &'static str = "SELECT pg_catalog.current_setting('DateStyle'), \
         pg_catalog.current_setting('TimeZone'), pg_catalog.current_setting('bytea_output')";

    /// Reads the answer. A query that changes settings gets the server's text, whatever they are.
    pub(super) fn of(query: &Query, answer: &[SimpleQueryMessage]) -> Self {
        let changes = query.sql.to_lowercase().contains("set_config");
        let Some(row) = first_row(answer).filter(|_| !changes) else { return Self::default() };
        let setting = |index| row.try_get(index).ok().flatten().unwrap_or_default();
        Self {
            iso_dates: setting(0).starts_with("ISO"),
            utc: matches!(setting(1), "UTC" | "Etc/UTC" | "GMT"),
            hex_bytes: setting(2) == "hex",
        }
    }
}

/// How a member of `row_to_json`'s object arrives.
pub(super) fn member(column: &Column, settings: Settings) -> (Output, Sent) {
    let iso = Settings { iso_dates: true, ..settings };
    match *column.type_() {
        // JSON has it in quotes, as it has all that is no number of a few types.
        Type::OID => (Output::Oid, Sent::Binary),
        ref kind if matches!(kind.kind(), Kind::Pseudo) && !is_record(kind) => {
            (Output::Text, Sent::Text)
        }
        ref kind => match certain(kind, iso) {
            Some(output) => (output, Sent::Binary),
            None => (Output::Json, Sent::Json),
        },
    }
}

/// How a field of COPY arrives.
pub(super) fn field(column: &Column, settings: Settings) -> (Output, Sent) {
    match column.type_() {
        &Type::OID => (Output::Oid, Sent::Binary),
        // Its binary form is its label. JSON may know a cast of it.
        kind if matches!(kind.kind(), Kind::Enum(_)) => (Output::Text, Sent::Binary),
        kind => match (certain(kind, settings), output_function(kind)) {
            (Some(output), _) => (output, Sent::Binary),
            (None, Some(function)) => (Output::Text, Sent::Function(function)),
            (None, None) => (Output::Text, Sent::Text),
        },
    }
}

/// The types whose text depends on nothing else.
fn certain(kind: &Type, settings: Settings) -> Option<Output> {
    let Settings { iso_dates, utc, hex_bytes } = settings;
    Some(match *kind {
        Type::BOOL => Output::Bool,
        Type::INT2 => Output::Int16,
        Type::INT4 => Output::Int32,
        Type::INT8 => Output::Int64,
        Type::NUMERIC => Output::Numeric,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Output::Text,
        Type::UUID => Output::Uuid,
        Type::TIME => Output::Time,
        Type::JSON => Output::Json,
        Type::JSONB => Output::Jsonb,
        Type::BYTEA if hex_bytes => Output::Bytes,
        Type::DATE if iso_dates => Output::Date,
        Type::TIMESTAMP if iso_dates => Output::Timestamp,
        Type::TIMESTAMPTZ if iso_dates && utc => Output::TimestampTz,
        _ => return None,
    })
}

/// The output functions of common types: one call, where [`Sent::Text`] needs a look at the type for each
/// value. A cast would not do: some types have casts to text that write something else.
pub(super) fn output_function(kind: &Type) -> Option<&'static str> {
    Some(match *kind {
        Type::FLOAT4 => "float4out",
        Type::FLOAT8 => "float8out",
        Type::DATE => "date_out",
        Type::TIMESTAMP => "timestamp_out",
        Type::TIMESTAMPTZ => "timestamptz_out",
        Type::TIMETZ => "timetz_out",
        Type::INTERVAL => "interval_out",
        Type::BYTEA => "byteaout",
        Type::NUMERIC => "numeric_out",
        Type::UUID => "uuid_out",
        Type::JSON => "json_out",
        Type::JSONB => "jsonb_out",
        Type::TIME => "time_out",
        Type::INET => "inet_out",
        _ => return None,
    })
}

fn is_record(kind: &Type) -> bool {
    matches!(*kind, Type::RECORD | Type::RECORD_ARRAY | Type::ANYARRAY)
}
