//! A query's answer, for each `result` of its front matter.

use super::{Metrics, Row, Rows};

/// How many violations a check shows.
pub const SHOWN_VIOLATIONS: usize = 10;

/// A query's answer, by its `result`.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Answer {
    /// `result = "rows"`
    Rows(Rows),
    /// `result = "one"`
    One(Row),
    /// `result = "affected"`
    Affected(u64),
    /// `result = "check"`
    Check {
        /// How many rows the query gave.
        violations: u64,
        /// The first of them, [`SHOWN_VIOLATIONS`] at most.
        rows: Rows,
    },
    /// `result = "metric"`
    Metrics(Metrics),
}

/// How a message's statement ended.
#[derive(Clone, Debug)]
pub enum Delivered {
    /// It ran.
    Answered(Answer),
    /// It ran before for this message, and nothing was changed now.
    Duplicate,
}
