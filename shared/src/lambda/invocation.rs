//! One invocation of a function.

use std::time::Duration;

use super::Response;
use crate::deadline::Deadline;
use crate::query::{Answer, Metrics, Query};
use crate::work::Work;

/// One invocation: its time budget, and what its log line reports.
#[derive(Debug)]
#[non_exhaustive]
pub struct Invocation {
    /// The deadline, and what was done on the database.
    pub work: Work,
    /// Lambda's id of the invocation, the same when Lambda repeats it.
    pub request_id: String,
    /// The query that ran.
    pub query: Option<String>,
    /// How many rows it returned.
    pub row_count: Option<usize>,
    /// Metrics that queries returned, for CloudWatch.
    pub metrics: Vec<Metrics>,
    /// The function's own counters: members of the log line, and CloudWatch metrics of the unit Count; or
    /// Seconds, if the name ends with `_seconds`.
    pub counters: Vec<(&'static str, u64)>,
    pub(super) serialize: Option<Duration>,
}

impl Invocation {
    /// An invocation with this budget and nothing done yet.
    pub fn new(deadline: Deadline) -> Self {
        Self {
            work: Work::new(deadline),
            request_id: String::new(),
            query: None,
            row_count: None,
            metrics: Vec::new(),
            counters: Vec::new(),
            serialize: None,
        }
    }

    /// The response to an answer, in the form that docs/queries.md gives for each result. Notes the
    /// row count and the metrics for the log.
    pub fn respond(&mut self, query: &Query, answer: Answer) -> Response {
        self.query = Some(query.name.clone());
        if let Answer::Metrics(metrics) = &answer {
            self.metrics.push(metrics.clone());
        }
        let response = Response::new(&query.name, answer);
        self.row_count = response.row_count();
        response
    }
}
