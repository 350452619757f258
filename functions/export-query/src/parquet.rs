//! Rows to Parquet, a row group at a time.
//!
//! Each column has the type that docs/export.md lists. Every column is optional, as any result's is.

mod row_group;

use std::sync::Arc;

use parquet::basic::{
    Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel,
};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;
use rds_iam::postgres::{Column, ColumnKind, StreamedRow};
use rds_iam::{Error, ErrorKind};

use row_group::{DECIMAL, RowGroup, broken};

use crate::worker::Worker;

/// Once a column of a row group has so many bytes of different values, it goes on without a dictionary:
/// more of them repeat too seldom to pay for it.
const DICTIONARY: usize = 64 * 1024;

/// Gathers rows while another thread encodes those before.
pub(crate) struct ParquetWriter {
    group: RowGroup,
    file: Worker<File>,
}

struct File {
    writer: SerializedFileWriter<Vec<u8>>,
    /// An empty row group, whose memory is used again.
    spare: RowGroup,
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
        let writer = file_writer(columns).map_err(|_| broken())?;
        let file = File { writer, spare: RowGroup::new(columns) };
        Ok(Self { group: RowGroup::new(columns), file: Worker::Idle(file) })
    }

    pub(crate) fn row(&mut self, row: &StreamedRow, columns: &[Column]) -> Result<(), Error> {
        self.group.push(row, columns)
    }

    /// Whether there are rows enough to encode.
    pub(crate) fn is_full(&self) -> bool {
        self.group.is_full()
    }

    /// The object's bytes so far, once the rows before are encoded.
    pub(crate) async fn ready(&mut self) -> Result<&mut Vec<u8>, Error> {
        Ok(self.file.wait().await?.writer.inner_mut())
    }

    /// Begins to encode the rows that were gathered.
    pub(crate) async fn pack(&mut self) -> Result<(), Error> {
        let file = self.file.wait().await?;
        std::mem::swap(&mut self.group, &mut file.spare);
        self.file.start(|file| file.write_group().map_err(|_| broken())).await
    }

    pub(crate) async fn finish(mut self) -> Result<Vec<u8>, Error> {
        if !self.group.is_empty() {
            self.pack().await?;
        }
        self.file.finish().await?.writer.into_inner().map_err(|_| broken())
    }
}

impl File {
    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let mut index = 0;
        while let Some(mut column) = group.next_column()? {
            self.spare.write(index, column.untyped())?;
            column.close()?;
            index += 1;
        }
        group.close()?;
        self.writer.flush()?;
        Ok(())
    }
}

fn file_writer(columns: &[Column]) -> Result<SerializedFileWriter<Vec<u8>>, ParquetError> {
    let fields: Result<Vec<_>, ParquetError> =
        columns.iter().map(|column| field(column).map(Arc::new)).collect();
    let schema = Type::group_type_builder("row").with_fields(fields?).build()?;
    // Level 1 is twice as fast as the usual 3, and smaller where values do not repeat.
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_dictionary_page_size_limit(DICTIONARY)
        .set_created_by("rds-iam-lambda export-query".into())
        .build();
    SerializedFileWriter::new(Vec::new(), Arc::new(schema), Arc::new(properties))
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
        // The smallest that holds it:
        // https://github.com/apache/parquet-format/blob/master/LogicalTypes.md#decimal
        ColumnKind::Decimal { precision, scale } => (
            match precision {
                0..=9 => Physical::INT32,
                10..=18 => Physical::INT64,
                _ => Physical::FIXED_LEN_BYTE_ARRAY,
            },
            Some(LogicalType::decimal(scale.into(), precision.into())),
        ),
        ColumnKind::Date => (Physical::INT32, Some(LogicalType::Date)),
        ColumnKind::Timestamp => (Physical::INT64, Some(timestamp(false))),
        ColumnKind::TimestampTz => (Physical::INT64, Some(timestamp(true))),
        // The last is of other formats only.
        ColumnKind::Bytes | ColumnKind::Output(_) => (Physical::BYTE_ARRAY, None),
        ColumnKind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let mut builder = Type::primitive_type_builder(&column.name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_converted_type(ConvertedType::NONE)
        .with_logical_type(logical);
    if let ColumnKind::Decimal { precision, scale } = column.kind {
        builder = builder.with_precision(precision.into()).with_scale(scale.into());
    }
    if physical == Physical::FIXED_LEN_BYTE_ARRAY {
        builder = builder.with_length(DECIMAL as i32);
    }
    builder.build()
}
