//! The shape of a response, for each kind of result.

use serde::Serialize;

use crate::query::{Row, Rows};
use crate::session::Answer;

#[derive(Serialize)]
pub(super) struct Response<'a> {
    query: &'a str,
    #[serde(flatten)]
    body: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Rows { rows: &'a Rows, row_count: usize },
    One { row: &'a Row },
    Affected { affected: u64 },
    Check { violations: u64, rows: &'a Rows },
    Metrics { metric_count: usize },
}

impl<'a> Response<'a> {
    pub(super) fn new(query: &'a str, answer: &'a Answer) -> Self {
        let body = match answer {
            Answer::Rows(rows) => Body::Rows { rows, row_count: rows.len() },
            Answer::One(row) => Body::One { row },
            Answer::Affected(affected) => Body::Affected { affected: *affected },
            Answer::Check { violations, rows } => Body::Check { violations: *violations, rows },
            Answer::Metrics(metrics) => Body::Metrics { metric_count: metrics.len() },
        };
        Self { query, body }
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
