//! Rows to Parquet, a row group at a time: a group is what memory holds.
//!
//! Each column has the type that docs/export.md lists. Every column is optional, as any result's is.

use std::sync::Arc;

use parquet::basic::{
    Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use rds_iam::postgres::{Column, ColumnKind, StreamedRow, Value};
use rds_iam::{Error, ErrorKind};

/// Values are written once they take this much memory, about.
const GROUP: usize = 16 * 1024 * 1024;
/// What a value of any length takes beside its bytes.
const OVERHEAD: usize = 48;

pub(crate) struct ParquetWriter {
    file: SerializedFileWriter<Vec<u8>>,
    columns: Vec<Buffer>,
    memory: usize,
}

/// The values of one column in a row group.
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
    Bytes(Vec<ByteArray>),
    Decimal(Vec<FixedLenByteArray>),
}

impl ParquetWriter {
    pub(crate) fn new(columns: &[Column]) -> Result<Self, Error> {
        let invalid = |why: String, remedy: &str| {
            Error::new(ErrorKind::QueryInvalid, "the rows cannot be written as Parquet")
                .because(why)
                .remedy(remedy)
        };
        for (index, column) in columns.iter().enumerate() {
            if columns[..index].iter().any(|earlier| earlier.name == column.name) {
                let why = format!("two columns are named {}", column.name);
                return Err(invalid(why, "Give each column its own name with AS"));
            }
        }
        let fields: Result<Vec<_>, ParquetError> =
            columns.iter().map(|column| field(column).map(Arc::new)).collect();
        let schema =
            fields.and_then(|fields| Type::group_type_builder("row").with_fields(fields).build());
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by("rds-iam-lambda export-query".into())
            .build();
        let file = schema.and_then(|schema| {
            SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))
        });
        let file = file.map_err(|_| broken())?;
        Ok(Self { file, columns: columns.iter().map(Buffer::new).collect(), memory: 0 })
    }

    pub(crate) fn row(&mut self, row: &StreamedRow, columns: &[Column]) -> Result<(), Error> {
        for (index, (buffer, column)) in self.columns.iter_mut().zip(columns).enumerate() {
            self.memory += buffer.push(row.value(index, column)?)?;
        }
        if self.memory >= GROUP { self.write_group() } else { Ok(()) }
    }

    pub(crate) fn ready(&self) -> usize {
        self.file.inner().len()
    }

    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.file.inner_mut())
    }

    pub(crate) fn finish(mut self) -> Result<Vec<u8>, Error> {
        if self.columns.iter().any(|column| !column.defined.is_empty()) {
            self.write_group()?;
        }
        self.file.into_inner().map_err(|_| broken())
    }

    fn write_group(&mut self) -> Result<(), Error> {
        self.memory = 0;
        self.try_write_group().map_err(|_| broken())
    }

    fn try_write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for buffer in &mut self.columns {
            let Some(mut column) = group.next_column()? else { break };
            buffer.write(column.untyped())?;
            column.close()?;
        }
        group.close()?;
        self.file.flush()?;
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
            ColumnKind::Decimal { .. } => Values::Decimal(Vec::new()),
            ColumnKind::Bytes | ColumnKind::Text => Values::Bytes(Vec::new()),
        };
        Self { values, defined: Vec::new() }
    }

    /// Adds a value, and returns the memory that it takes.
    fn push(&mut self, value: Value<'_>) -> Result<usize, Error> {
        self.defined.push(i16::from(value != Value::Null));
        let size = match (&mut self.values, value) {
            (_, Value::Null) => 0,
            (Values::Bool(values), Value::Bool(value)) => push(values, value),
            (Values::Int32(values), Value::Int32(value)) => push(values, value),
            (Values::Int64(values), Value::Int64(value)) => push(values, value),
            (Values::Float32(values), Value::Float32(value)) => push(values, value),
            (Values::Float64(values), Value::Float64(value)) => push(values, value),
            (Values::Bytes(values), Value::Bytes(value)) => {
                push(values, ByteArray::from(value.to_vec())) + OVERHEAD + value.len()
            }
            (Values::Bytes(values), Value::Text(value)) => {
                push(values, ByteArray::from(value.as_bytes().to_vec())) + OVERHEAD + value.len()
            }
            (Values::Decimal(values), Value::Decimal(value)) => {
                let bytes = ByteArray::from(value.to_be_bytes().to_vec());
                push(values, FixedLenByteArray::from(bytes)) + OVERHEAD + 16
            }
            _ => return Err(broken()),
        };
        Ok(size + size_of::<i16>())
    }

    fn write(&mut self, column: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let defined = Some(&self.defined[..]);
        match (&mut self.values, column) {
            (Values::Bool(values), ColumnWriter::BoolColumnWriter(column)) => {
                column.write_batch(values, defined, None)?;
                values.clear();
            }
            (Values::Int32(values), ColumnWriter::Int32ColumnWriter(column)) => {
                column.write_batch(values, defined, None)?;
                values.clear();
            }
            (Values::Int64(values), ColumnWriter::Int64ColumnWriter(column)) => {
                column.write_batch(values, defined, None)?;
                values.clear();
            }
            (Values::Float32(values), ColumnWriter::FloatColumnWriter(column)) => {
                column.write_batch(values, defined, None)?;
                values.clear();
            }
            (Values::Float64(values), ColumnWriter::DoubleColumnWriter(column)) => {
                column.write_batch(values, defined, None)?;
                values.clear();
            }
            (Values::Bytes(values), ColumnWriter::ByteArrayColumnWriter(column)) => {
                column.write_batch(values, defined, None)?;
                values.clear();
            }
            (Values::Decimal(values), ColumnWriter::FixedLenByteArrayColumnWriter(column)) => {
                column.write_batch(values, defined, None)?;
                values.clear();
            }
            _ => return Err(ParquetError::General("a column of another type".into())),
        }
        self.defined.clear();
        Ok(())
    }
}

fn push<T>(values: &mut Vec<T>, value: T) -> usize {
    values.push(value);
    size_of::<T>()
}

/// The Parquet type of a column.
fn field(column: &Column) -> Result<Type, ParquetError> {
    let timestamp = |utc| LogicalType::timestamp(utc, TimeUnit::MICROS);
    let (physical, logical) = match column.kind {
        ColumnKind::Bool => (Physical::BOOLEAN, None),
        ColumnKind::Int16 => (Physical::INT32, Some(LogicalType::integer(16, true))),
        ColumnKind::Int32 => (Physical::INT32, None),
        ColumnKind::Int64 => (Physical::INT64, None),
        ColumnKind::Float32 => (Physical::FLOAT, None),
        ColumnKind::Float64 => (Physical::DOUBLE, None),
        ColumnKind::Decimal { precision, scale } => (
            Physical::FIXED_LEN_BYTE_ARRAY,
            Some(LogicalType::decimal(scale.into(), precision.into())),
        ),
        ColumnKind::Date => (Physical::INT32, Some(LogicalType::Date)),
        ColumnKind::Timestamp => (Physical::INT64, Some(timestamp(false))),
        ColumnKind::TimestampTz => (Physical::INT64, Some(timestamp(true))),
        ColumnKind::Bytes => (Physical::BYTE_ARRAY, None),
        ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let mut builder = Type::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_converted_type(ConvertedType::NONE)
        .with_logical_type(logical);
    if let ColumnKind::Decimal { precision, scale } = column.kind {
        builder = builder.with_length(16).with_precision(precision.into()).with_scale(scale.into());
    }
    builder.build()
}

fn broken() -> Error {
    Error::new(ErrorKind::QueryFailed, "the rows cannot be written as Parquet")
        .because("the Parquet writer refused a value or a type")
        .remedy(
            "Report it, with the types of the query's columns; .ndjson and .csv take every type",
        )
}
