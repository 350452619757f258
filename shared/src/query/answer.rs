//! A query's answer, for each `result` of its front matter.

use super::{Metrics, Row, Rows};

/// How many violations a check shows, unless its `show` says otherwise.
pub const SHOWN_VIOLATIONS: usize = 10;
/// The most that a check shows: the rows must fit into the message of a topic or a queue.
pub(super) const MOST_SHOWN: i64 = 100;

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
        /// The first of them, as many as its `show` says, or else [`SHOWN_VIOLATIONS`].
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
