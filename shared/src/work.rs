//! One invocation's work on a database: its time budget, and a report of the steps for its log line.

use std::time::Duration;

use crate::deadline::Deadline;

/// The time budget of an invocation's database work, and the report that the work fills in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Work {
    /// When the answer must be ready.
    pub deadline: Deadline,
    /// The work so far.
    pub report: Report,
}

impl Work {
    /// Nothing done yet.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline, report: Report::default() }
    }
}

/// Counts and times of one invocation's work on the database.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Whether the connection was used before.
    pub reused: bool,
    /// How many logins were tried.
    pub login_attempts: u32,
    /// Time to resolve credentials.
    pub resolve: Option<Duration>,
    /// Time to sign the token.
    pub sign: Option<Duration>,
    /// Steps of the login that succeeded.
    pub login: Option<LoginSteps>,
    /// Time for the statement, from sending to its last row, or to the answer of its COMMIT.
    pub query: Option<Duration>,
    /// How many rows a check found.
    pub violations: Option<u64>,
}

/// How long the steps of one login took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginSteps {
    /// Name resolution and TCP.
    pub dial: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// Everything from the SSLRequest to "ready for query", less the handshake.
    pub login: Duration,
}
