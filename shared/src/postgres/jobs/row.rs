//! A run's row in `job_runs`, as read.

use tokio_postgres::Row;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// From 1.
    pub(crate) step: usize,
    /// Statements of this step that were committed.
    pub(crate) step_chunks: u64,
    pub(crate) chunks: u64,
    pub(crate) rows: u64,
}

/// A run as it stands in the table.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) run: String,
    pub(crate) status: String,
    pub(crate) position: Position,
    pub(crate) owner: Option<i64>,
    pub(crate) message: String,
    pub(crate) started_at: String,
    pub(crate) progressed_at: String,
    pub(crate) lease_until: String,
    pub(super) same_input: bool,
}

impl Seen {
    pub(super) fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            run: row.try_get(0)?,
            status: row.try_get(1)?,
            position: position(row, 2)?,
            owner: row.try_get(6)?,
            message: row.try_get(7)?,
            started_at: row.try_get(8)?,
            progressed_at: row.try_get(9)?,
            lease_until: row.try_get(10)?,
            same_input: row.try_get(11)?,
        })
    }
}

pub(super) fn position(row: &Row, from: usize) -> Result<Position, tokio_postgres::Error> {
    let count = |index: usize| row.try_get::<_, i64>(from + index).map(as_u64);
    Ok(Position {
        step: usize::try_from(row.try_get::<_, i32>(from)?).unwrap_or(1).max(1),
        step_chunks: count(1)?,
        chunks: count(2)?,
        rows: count(3)?,
    })
}

pub(super) fn as_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn as_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
