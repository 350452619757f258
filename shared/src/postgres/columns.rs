//! The columns of a result, and their values in binary form: for a format that has types of its own.
//!
//! A type with an exact counterpart everywhere is read from PostgreSQL's binary form
//! (<https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES>): integers,
//! floats, booleans, text, bytes, dates, timestamps, and numerics of a declared precision. The server
//! renders everything else as text: arrays, composites and records as JSON, the rest as psql shows it.

use tokio_postgres::types::{FromSql, Kind, Type};

use super::output::{Output, Sent, output_function};
use crate::error::{Error, ErrorKind};

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub kind: ColumnKind,
}

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// `boolean`: [`Value::Bool`].
    Bool,
    /// `smallint`: [`Value::Int32`].
    Int16,
    /// `integer`: [`Value::Int32`].
    Int32,
    /// `bigint`, and `oid`, which has no sign: [`Value::Int64`].
    Int64,
    /// `real`: [`Value::Float32`].
    Float32,
    /// `double precision`: [`Value::Float64`].
    Float64,
    /// `numeric` with a declared precision of at most 38 digits: [`Value::Decimal`].
    Decimal {
        /// How many digits it has.
        precision: u8,
        /// How many of them stand after the point.
        scale: u8,
    },
    /// `date`: [`Value::Int32`], in days since 1970-01-01.
    Date,
    /// `timestamp`: [`Value::Int64`], in microseconds since 1970-01-01 00:00.
    Timestamp,
    /// `timestamptz`: [`Value::Int64`], in microseconds since 1970-01-01 00:00 UTC.
    TimestampTz,
    /// `bytea`: [`Value::Bytes`].
    Bytes,
    /// Every other type: [`Value::Text`].
    Text,
    /// Any type, in the forms [`RowForm::Members`](super::RowForm::Members) and
    /// [`RowForm::Fields`](super::RowForm::Fields), which have no [`Value`].
    Output(Output),
}

/// One value of a row.
#[derive(Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// NULL, of any type.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of up to 32 bits, or a date.
    Int32(i32),
    /// An integer of up to 64 bits, or a timestamp.
    Int64(i64),
    /// A float of 32 bits, NaN and the infinities among them.
    Float32(f32),
    /// A float of 64 bits, NaN and the infinities among them.
    Float64(f64),
    /// A decimal, multiplied by ten to the power of its column's scale.
    Decimal(i128),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Text.
    Text(&'a str),
}

/// Values are the database's data, which no log may show.
impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Value(_)")
    }
}

/// How the server sends a column of this type, and what arrives.
pub(super) fn mapping(column: &tokio_postgres::Column) -> (ColumnKind, Sent) {
    let kind = match *column.type_() {
        Type::BOOL => ColumnKind::Bool,
        Type::INT2 => ColumnKind::Int16,
        Type::INT4 => ColumnKind::Int32,
        Type::INT8 | Type::OID => ColumnKind::Int64,
        Type::FLOAT4 => ColumnKind::Float32,
        Type::FLOAT8 => ColumnKind::Float64,
        Type::DATE => ColumnKind::Date,
        Type::TIMESTAMP => ColumnKind::Timestamp,
        Type::TIMESTAMPTZ => ColumnKind::TimestampTz,
        Type::BYTEA => ColumnKind::Bytes,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => ColumnKind::Text,
        Type::NUMERIC => match declared(column.type_modifier()) {
            Some((precision, scale)) => ColumnKind::Decimal { precision, scale },
            None => return (ColumnKind::Text, Sent::Function("numeric_out")),
        },
        // Records without a type of their own, and the arrays in pg_stats.
        Type::RECORD | Type::RECORD_ARRAY | Type::ANYARRAY => {
            return (ColumnKind::Text, Sent::Json);
        }
        // A domain arrives as the type under it.
        ref other => {
            let json = matches!(other.kind(), Kind::Array(_) | Kind::Composite(_));
            let text = output_function(other).map_or(Sent::Text, Sent::Function);
            return (ColumnKind::Text, if json { Sent::Json } else { text });
        }
    };
    (kind, Sent::Binary)
}

/// Precision and scale of `numeric(p, s)`, where a decimal of 38 digits can hold it
/// (`NUMERIC_TYPMOD` in PostgreSQL's `numeric.c`).
fn declared(type_modifier: i32) -> Option<(u8, u8)> {
    let modifier = type_modifier.checked_sub(4).filter(|modifier| *modifier >= 0)?;
    let precision = u8::try_from((modifier >> 16) & 0xffff).ok()?;
    // Eleven bits with a sign.
    let scale = ((modifier & 0x7ff) ^ 1024) - 1024;
    let scale = u8::try_from(scale).ok()?;
    (precision <= 38 && scale <= precision).then_some((precision, scale))
}

/// The bytes of a value, whatever its type is.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

impl Column {
    /// Reads the binary form of a value that is not NULL.
    pub(super) fn value<'a>(&self, raw: &'a [u8]) -> Result<Value<'a>, Error> {
        let value = match self.kind {
            ColumnKind::Bool => raw.first().map(|byte| Value::Bool(*byte != 0)),
            ColumnKind::Int16 => bytes(raw).map(|b| Value::Int32(i16::from_be_bytes(b).into())),
            ColumnKind::Int32 => bytes(raw).map(|b| Value::Int32(i32::from_be_bytes(b))),
            // An oid has four bytes.
            ColumnKind::Int64 => bytes(raw)
                .map(|b| Value::Int64(i64::from_be_bytes(b)))
                .or_else(|| bytes(raw).map(|b| Value::Int64(u32::from_be_bytes(b).into()))),
            ColumnKind::Float32 => bytes(raw).map(|b| Value::Float32(f32::from_be_bytes(b))),
            ColumnKind::Float64 => bytes(raw).map(|b| Value::Float64(f64::from_be_bytes(b))),
            ColumnKind::Date => return self.date(raw),
            ColumnKind::Timestamp | ColumnKind::TimestampTz => return self.timestamp(raw),
            ColumnKind::Decimal { scale, .. } => {
                return decimal(raw, scale).map(Value::Decimal).ok_or_else(|| {
                    self.cannot_hold("NaN or more digits than it declares", "a decimal")
                });
            }
            ColumnKind::Bytes => Some(Value::Bytes(raw)),
            ColumnKind::Text => std::str::from_utf8(raw).ok().map(Value::Text),
            ColumnKind::Output(_) => None,
        };
        value.ok_or_else(|| self.cannot_hold("a value of an unknown form", "its type"))
    }

    fn date(&self, raw: &[u8]) -> Result<Value<'static>, Error> {
        const UNIX_EPOCH: i32 = 10_957;
        let days = bytes(raw).map(i32::from_be_bytes);
        days.filter(|days| *days != i32::MAX && *days != i32::MIN)
            .and_then(|days| days.checked_add(UNIX_EPOCH))
            .map(Value::Int32)
            .ok_or_else(|| self.cannot_hold("infinity", "a date"))
    }

    fn timestamp(&self, raw: &[u8]) -> Result<Value<'static>, Error> {
        const UNIX_EPOCH: i64 = 946_684_800_000_000;
        let micros = bytes(raw).map(i64::from_be_bytes);
        micros
            .filter(|micros| *micros != i64::MAX && *micros != i64::MIN)
            .and_then(|micros| micros.checked_add(UNIX_EPOCH))
            .map(Value::Int64)
            .ok_or_else(|| self.cannot_hold("infinity or a year beyond 294246", "a timestamp"))
    }

    fn cannot_hold(&self, what: &str, kind: &str) -> Error {
        Error::new(ErrorKind::QueryFailed, format!("column {} cannot be written", self.name))
            .because(format!("it holds {what}, which {kind} of the file's format cannot"))
            .remedy("Cast the column to text in the SQL, or replace the value, with nullif(…) for example")
    }
}

fn bytes<const N: usize>(raw: &[u8]) -> Option<[u8; N]> {
    raw.try_into().ok()
}

/// `numeric_send` of PostgreSQL's `numeric.c`: the number of digits, the weight of the first, sign and
/// scale, and digits of base 10,000. `None` for what is no number of this scale.
fn decimal(raw: &[u8], scale: u8) -> Option<i128> {
    let mut words = raw.chunks_exact(2).map(|word| u16::from_be_bytes([word[0], word[1]]));
    let (count, weight) = (words.next()?, i32::from(words.next()?.cast_signed()));
    let sign = match words.next()? {
        0x0000 => 1,
        0x4000 => -1,
        _ => return None,
    };
    let (_scale, mut value) = (words.next()?, 0_i128);
    for (index, digit) in (0_i32..).zip(words.by_ref().take(count.into())) {
        let power = 4 * (weight - index) + i32::from(scale);
        let unit = 10_i128.checked_pow(power.unsigned_abs())?;
        let digit = i128::from(digit);
        let part = if power < 0 { digit / unit } else { digit.checked_mul(unit)? };
        value = value.checked_add(part)?;
    }
    Some(sign * value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_scale_come_from_the_type_modifier() {
        let modifier = |precision: i32, scale: i32| ((precision << 16) | (scale & 0x7ff)) + 4;
        assert_eq!(declared(modifier(10, 2)), Some((10, 2)));
        assert_eq!(declared(modifier(38, 38)), Some((38, 38)));
        for (precision, scale) in [(39, 2), (3, 5), (3, -2), (1000, 0)] {
            assert_eq!(declared(modifier(precision, scale)), None, "{precision}, {scale}");
        }
        assert_eq!(declared(-1), None);
    }

    #[test]
    fn a_decimal_keeps_every_digit() {
        let numeric = |weight: i16, sign: u16, digits: &[u16]| {
            let count = u16::try_from(digits.len()).unwrap();
            let header = [count, weight.cast_unsigned(), sign, 2];
            header.iter().chain(digits).flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>()
        };
        assert_eq!(decimal(&numeric(0, 0, &[12, 3400]), 2), Some(1234));
        assert_eq!(decimal(&numeric(1, 0x4000, &[1, 0, 500]), 2), Some(-1_000_005));
        assert_eq!(decimal(&numeric(-1, 0, &[100]), 2), Some(1));
        assert_eq!(decimal(&numeric(0, 0, &[]), 2), Some(0));
        assert_eq!(decimal(&numeric(0, 0xC000, &[]), 2), None);
        assert_eq!(decimal(&numeric(100, 0, &[1]), 2), None);
    }
}
