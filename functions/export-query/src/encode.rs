//! Rows to bytes, in each format.

use std::io::Write;

use rds_iam::postgres::{Column, StreamedRow};
use rds_iam::query::{Query, Rows};
use rds_iam::{Error, ErrorKind};

use crate::compress::Compressor;
use crate::csv;
use crate::format::{Compression, Format};
use crate::parquet::ParquetWriter;

/// Lines are compressed once there are this many bytes of them.
const CHUNK: usize = 64 * 1024;

/// Writes rows in one format, and hands out the object's bytes.
pub(crate) struct Encoder {
    body: Body,
    rows: u64,
}

enum Body {
    Lines { form: Lines, chunk: Vec<u8>, compressor: Compressor },
    Parquet(Box<ParquetWriter>),
}

enum Lines {
    Ndjson,
    Csv { columns: usize, scratch: Vec<u8> },
}

impl Encoder {
    pub(crate) fn new(
        format: Format,
        compression: Compression,
        columns: &[Column],
    ) -> Result<Self, Error> {
        let mut chunk = Vec::with_capacity(2 * CHUNK);
        let form = match format {
            Format::Parquet => {
                let writer = Box::new(ParquetWriter::new(columns)?);
                return Ok(Self { body: Body::Parquet(writer), rows: 0 });
            }
            Format::Ndjson => Lines::Ndjson,
            Format::Csv => {
                csv::header(columns.iter().map(|column| column.name.as_str()), &mut chunk);
                Lines::Csv { columns: columns.len(), scratch: Vec::new() }
            }
        };
        let compressor = Compressor::new(compression).map_err(|_| broken())?;
        Ok(Self { body: Body::Lines { form, chunk, compressor }, rows: 0 })
    }

    /// Adds a row.
    pub(crate) fn row(
        &mut self,
        row: &StreamedRow,
        columns: &[Column],
        query: &Query,
    ) -> Result<(), Error> {
        self.rows += 1;
        match &mut self.body {
            Body::Parquet(writer) => writer.row(row, columns),
            Body::Lines { form, chunk, compressor } => {
                let text = row.text()?;
                match form {
                    Lines::Ndjson => {
                        if self.rows == 1 {
                            // Refuses two columns of one name.
                            Rows::default().push(&query.name, text)?;
                        }
                        ndjson(text, chunk);
                    }
                    Lines::Csv { columns, scratch } => {
                        csv::line(text.as_bytes(), *columns, scratch, chunk).ok_or_else(broken)?;
                    }
                }
                if chunk.len() >= CHUNK {
                    compressor.write_all(chunk).map_err(|_| broken())?;
                    chunk.clear();
                }
                Ok(())
            }
        }
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// How many bytes of the object are ready.
    pub(crate) fn ready(&self) -> usize {
        match &self.body {
            Body::Lines { compressor, .. } => compressor.ready(),
            Body::Parquet(writer) => writer.ready(),
        }
    }

    /// Takes the bytes that are ready.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        match &mut self.body {
            Body::Lines { compressor, .. } => compressor.take(),
            Body::Parquet(writer) => writer.take(),
        }
    }

    /// Ends the object, and returns what is left of it.
    pub(crate) fn finish(self) -> Result<Vec<u8>, Error> {
        match self.body {
            Body::Parquet(writer) => writer.finish(),
            Body::Lines { chunk, mut compressor, .. } => {
                compressor.write_all(&chunk).map_err(|_| broken())?;
                compressor.finish().map_err(|_| broken())
            }
        }
    }
}

/// A value of type `json` keeps the line breaks of its text. Outside of a string they mean nothing, and
/// inside JSON has none.
fn ndjson(text: &str, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text.as_bytes());
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    out.push(b'\n');
}

fn broken() -> Error {
    Error::new(ErrorKind::QueryFailed, "a row cannot be written")
        .because("PostgreSQL sent it in a form that this function does not know")
        .remedy("Report it, with the types of the query's columns")
}
