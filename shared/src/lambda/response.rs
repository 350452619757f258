//! The shape of a response, for each kind of result.

use serde::Serialize;

use crate::query::{Answer, Row, Rows};

/// A query's answer as an invocation's response: `{"query": …, "rows": […], "row_count": …}`, or the
/// other forms of docs/queries.md.
#[derive(Debug, Serialize)]
pub struct Response {
    query: String,
    #[serde(flatten)]
    body: Body,
}

/// The response to a write that took effect before, under the same id: `{"query": …, "duplicate": true}`.
#[derive(Debug, Serialize)]
pub struct DuplicateResponse {
    query: String,
    duplicate: bool,
}

impl DuplicateResponse {
    /// Of the query with this name.
    pub fn new(query: &str) -> Self {
        Self { query: query.to_owned(), duplicate: true }
    }
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Body {
    Rows { rows: Rows, row_count: usize },
    One { row: Row },
    Affected { affected: u64 },
    Check { violations: u64, rows: Rows },
    Metrics { metric_count: usize },
}

impl Response {
    pub(super) fn new(query: &str, answer: Answer) -> Self {
        let body = match answer {
            Answer::Rows(rows) => Body::Rows { row_count: rows.len(), rows },
            Answer::One(row) => Body::One { row },
            Answer::Affected(affected) => Body::Affected { affected },
            Answer::Check { violations, rows } => Body::Check { violations, rows },
            Answer::Metrics(metrics) => Body::Metrics { metric_count: metrics.len() },
        };
        Self { query: query.to_owned(), body }
    }

    /// How many rows it holds.
    pub(super) fn row_count(&self) -> Option<usize> {
        match &self.body {
            Body::Rows { rows, .. } | Body::Check { rows, .. } => Some(rows.len()),
            Body::One { .. } => Some(1),
            Body::Affected { .. } | Body::Metrics { .. } => None,
        }
    }
}
