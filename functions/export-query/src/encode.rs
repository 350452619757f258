//! Rows to bytes, in each format.

use std::io::Write;

use rds_iam::postgres::{Column, StreamedRow};
use rds_iam::query::{Query, Rows};
use rds_iam::{Error, ErrorKind};

use crate::compress::Compressor;
use crate::csv;
use crate::format::{Compression, Format};
use crate::json::{self, Members};
use crate::parquet::ParquetWriter;
use crate::rounded::Rounded;
use crate::upload::PART;
use crate::worker::Worker;

/// Lines are compressed once there are this many bytes of them.
const CHUNK: usize = 256 * 1024;

/// Writes rows in one format, and hands out the object's bytes.
pub(crate) struct Encoder {
    body: Body,
    rows: u64,
    /// How many bytes of the object were ready when the last piece began.
    ready: usize,
}

enum Body {
    Lines { form: Lines, chunk: Vec<u8>, compressor: Worker<Compressor> },
    Parquet(Box<ParquetWriter>),
}

enum Lines {
    /// Rows that PostgreSQL has written as JSON.
    Json,
    Members(Members),
    Csv,
}

impl Encoder {
    pub(crate) fn new(
        format: Format,
        compression: Compression,
        columns: &[Column],
    ) -> Result<Self, Error> {
        let mut chunk = Vec::new();
        let form = match format {
            Format::Parquet => {
                let writer = Box::new(ParquetWriter::new(columns)?);
                return Ok(Self { body: Body::Parquet(writer), rows: 0, ready: 0 });
            }
            Format::Ndjson if columns.is_empty() => Lines::Json,
            Format::Ndjson => Lines::Members(Members::new(columns)),
            Format::Csv => {
                csv::header(columns.iter().map(|column| column.name.as_str()), &mut chunk);
                Lines::Csv
            }
        };
        let compressor = Worker::Idle(Compressor::new(compression).map_err(|_| broken())?);
        Ok(Self { body: Body::Lines { form, chunk, compressor }, rows: 0, ready: 0 })
    }

    /// Adds a row. `rounded` learns of the numbers in its JSON.
    pub(crate) fn row(
        &mut self,
        row: &StreamedRow,
        columns: &[Column],
        query: &Query,
        rounded: &mut Rounded,
    ) -> Result<(), Error> {
        self.rows += 1;
        let (form, chunk) = match &mut self.body {
            Body::Parquet(writer) => return writer.row(row, columns),
            Body::Lines { form, chunk, .. } => (form, chunk),
        };
        let start = chunk.len();
        match form {
            Lines::Csv => return csv::line(row, columns, chunk).ok_or_else(broken),
            Lines::Members(members) => {
                members.line(row, columns, rounded, chunk).ok_or_else(broken)?;
            }
            Lines::Json => {
                let text = row.text()?;
                rounded.look(text);
                json::whole(text.as_bytes(), chunk);
                chunk.push(b'\n');
            }
        }
        if self.rows == 1 {
            // Refuses two columns of one name.
            let line = std::str::from_utf8(&chunk[start..]).map_err(|_| broken())?;
            Rows::default().push(&query.name, line.trim_end())?;
        }
        Ok(())
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether there are rows enough to [`pack`](Self::pack).
    pub(crate) fn is_full(&self) -> bool {
        match &self.body {
            Body::Lines { chunk, .. } => chunk.len() >= CHUNK,
            Body::Parquet(writer) => writer.is_full(),
        }
    }

    /// Waits until the rows before are compressed, and begins with those that came since. Returns a part of
    /// the object, if one is ready.
    pub(crate) async fn pack(&mut self) -> Result<Option<Vec<u8>>, Error> {
        let ready = match &mut self.body {
            Body::Lines { compressor, .. } => compressor.wait().await?.ready(),
            Body::Parquet(writer) => writer.ready().await?,
        };
        // At once as large as it will be: growing leaves holes in the heap.
        let part = (ready.len() >= PART)
            .then(|| std::mem::replace(ready, Vec::with_capacity(PART + PART / 8)));
        self.ready = ready.len();
        match &mut self.body {
            Body::Lines { chunk, compressor, .. } => {
                let piece = std::mem::replace(chunk, Vec::with_capacity(CHUNK + CHUNK / 4));
                compressor.start(move |c| c.write_all(&piece).map_err(|_| broken())).await?;
            }
            Body::Parquet(writer) => writer.pack().await?,
        }
        Ok(part)
    }

    /// How many bytes of the object were ready at the last [`pack`](Self::pack), without those it returned.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// Ends the object, and returns what is left of it.
    pub(crate) async fn finish(self) -> Result<Vec<u8>, Error> {
        match self.body {
            Body::Parquet(writer) => writer.finish().await,
            Body::Lines { chunk, compressor, .. } => {
                let mut compressor = compressor.finish().await?;
                compressor.write_all(&chunk).map_err(|_| broken())?;
                compressor.finish().map_err(|_| broken())
            }
        }
    }
}

fn broken() -> Error {
    Error::new(ErrorKind::QueryFailed, "a row cannot be written")
        .because("PostgreSQL sent it in a form that this function does not know")
        .remedy("Report it, with the types of the query's columns")
}
