//! The rows of a row group, by column: what memory holds until they are encoded.

use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use rds_iam::postgres::{Column, ColumnKind, StreamedRow, Value};
use rds_iam::{Error, ErrorKind};

/// Values are encoded once they take this much memory, about.
const FULL: usize = 6 * 1024 * 1024;
/// Values of any length become the writer's own kind so many at a time.
const BATCH: usize = 4096;

/// The values of a row group.
pub(super) struct RowGroup {
    columns: Vec<Buffer>,
    memory: usize,
}

/// The values of one column.
struct Buffer {
    values: Values,
    /// One for each row: whether it has a value.
    defined: Vec<i16>,
}

enum Values {
    Bool(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    /// One behind the other.
    Bytes {
        data: Vec<u8>,
        lengths: Vec<u32>,
    },
    /// The same, 16 bytes each.
    Decimal(Vec<u8>),
}

/// How many bytes a decimal takes that fits into no integer.
pub(super) const DECIMAL: usize = 16;

impl RowGroup {
    pub(super) fn new(columns: &[Column]) -> Self {
        Self { columns: columns.iter().map(Buffer::new).collect(), memory: 0 }
    }

    pub(super) fn push(&mut self, row: &StreamedRow, columns: &[Column]) -> Result<(), Error> {
        for (index, (buffer, column)) in self.columns.iter_mut().zip(columns).enumerate() {
            self.memory += buffer.push(row.value(index, column)?)?;
        }
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.memory >= FULL
    }

    pub(super) fn is_empty(&self) -> bool {
        self.memory == 0
    }

    /// Encodes a column, and forgets its values.
    pub(super) fn write(
        &mut self,
        index: usize,
        column: &mut ColumnWriter<'_>,
    ) -> Result<(), ParquetError> {
        self.memory = 0;
        let buffer = self.columns.get_mut(index);
        let buffer = buffer.ok_or_else(|| ParquetError::General("no such column".into()))?;
        let defined = &buffer.defined[..];
        buffer.values.write(defined, column)?;
        buffer.defined.clear();
        Ok(())
    }
}

impl Buffer {
    fn new(column: &Column) -> Self {
        let values = match column.kind {
            ColumnKind::Bool => Values::Bool(Vec::new()),
            ColumnKind::Int16 | ColumnKind::Int32 | ColumnKind::Date => Values::Int32(Vec::new()),
            ColumnKind::Int64 | ColumnKind::Timestamp | ColumnKind::TimestampTz => {
                Values::Int64(Vec::new())
            }
            ColumnKind::Float32 => Values::Float32(Vec::new()),
            ColumnKind::Float64 => Values::Float64(Vec::new()),
            ColumnKind::Decimal { precision: 0..=9, .. } => Values::Int32(Vec::new()),
            ColumnKind::Decimal { precision: 10..=18, .. } => Values::Int64(Vec::new()),
            ColumnKind::Decimal { .. } => Values::Decimal(Vec::new()),
            ColumnKind::Bytes | ColumnKind::Text | ColumnKind::Output(_) => {
                Values::Bytes { data: Vec::new(), lengths: Vec::new() }
            }
        };
        Self { values, defined: Vec::new() }
    }

    /// Adds a value, and returns the memory that it takes.
    fn push(&mut self, value: Value<'_>) -> Result<usize, Error> {
        if let Value::Null = value {
            self.defined.push(0);
            return Ok(size_of::<i16>());
        }
        self.defined.push(1);
        let size = match (&mut self.values, value) {
            (Values::Bool(values), Value::Bool(value)) => push(values, value),
            (Values::Int32(values), Value::Int32(value)) => push(values, value),
            (Values::Int64(values), Value::Int64(value)) => push(values, value),
            (Values::Float32(values), Value::Float32(value)) => push(values, value),
            (Values::Float64(values), Value::Float64(value)) => push(values, value),
            (Values::Bytes { data, lengths }, Value::Bytes(value)) => append(data, lengths, value)?,
            (Values::Bytes { data, lengths }, Value::Text(value)) => {
                append(data, lengths, value.as_bytes())?
            }
            // The column's precision says that it fits.
            (Values::Int32(values), Value::Decimal(value)) => {
                push(values, i32::try_from(value).map_err(|_| broken())?)
            }
            (Values::Int64(values), Value::Decimal(value)) => {
                push(values, i64::try_from(value).map_err(|_| broken())?)
            }
            (Values::Decimal(values), Value::Decimal(value)) => {
                values.extend_from_slice(&value.to_be_bytes());
                DECIMAL
            }
            _ => return Err(broken()),
        };
        Ok(size + size_of::<i16>())
    }
}

impl Values {
    fn write(
        &mut self,
        defined: &[i16],
        column: &mut ColumnWriter<'_>,
    ) -> Result<(), ParquetError> {
        let levels = Some(defined);
        match (self, column) {
            (Self::Bool(values), ColumnWriter::BoolColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Self::Int32(values), ColumnWriter::Int32ColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Self::Int64(values), ColumnWriter::Int64ColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Self::Float32(values), ColumnWriter::FloatColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Self::Float64(values), ColumnWriter::DoubleColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Self::Bytes { data, lengths }, ColumnWriter::ByteArrayColumnWriter(column)) => {
                let next = slices(data, lengths.drain(..).map(|length| length as usize));
                batches(defined, next, |values, levels| {
                    column.write_batch(values, Some(levels), None)
                })?;
            }
            (Self::Decimal(data), ColumnWriter::FixedLenByteArrayColumnWriter(column)) => {
                let lengths = std::iter::repeat_n(DECIMAL, data.len() / DECIMAL);
                let next = slices(data, lengths).map(FixedLenByteArray::from);
                batches(defined, next, |values, levels| {
                    column.write_batch(values, Some(levels), None)
                })?;
            }
            _ => return Err(ParquetError::General("a column of another type".into())),
        }
        Ok(())
    }
}

/// The values that lie one behind the other, none of them copied. Leaves an empty buffer of the same size.
fn slices(
    data: &mut Vec<u8>,
    lengths: impl Iterator<Item = usize>,
) -> impl Iterator<Item = ByteArray> {
    let empty = Vec::with_capacity(data.len());
    let whole = ByteArray::from(std::mem::replace(data, empty));
    let mut at = 0;
    lengths.map(move |length| {
        at += length;
        whole.slice(at - length, length)
    })
}

/// Writes a column's values a batch at a time.
fn batches<T>(
    defined: &[i16],
    mut next: impl Iterator<Item = T>,
    mut write: impl FnMut(&[T], &[i16]) -> Result<usize, ParquetError>,
) -> Result<(), ParquetError> {
    let mut values = Vec::with_capacity(BATCH.min(defined.len()));
    for levels in defined.chunks(BATCH) {
        let count = levels.iter().filter(|level| **level == 1).count();
        values.clear();
        values.extend(next.by_ref().take(count));
        write(&values, levels)?;
    }
    Ok(())
}

fn push<T>(values: &mut Vec<T>, value: T) -> usize {
    values.push(value);
    size_of::<T>()
}

fn append(data: &mut Vec<u8>, lengths: &mut Vec<u32>, value: &[u8]) -> Result<usize, Error> {
    lengths.push(u32::try_from(value.len()).map_err(|_| broken())?);
    data.extend_from_slice(value);
    Ok(size_of::<u32>() + value.len())
}

pub(super) fn broken() -> Error {
    Error::new(ErrorKind::QueryFailed, "the rows cannot be written as Parquet")
        .because("the Parquet writer refused a value or a type")
        .remedy(
            "Report it, with the types of the query's columns; .ndjson and .csv take every type",
        )
}
