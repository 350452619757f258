//! Why a database cannot be reached with an IAM token: every step of a login, tried one by one, and a
//! diagnosis with the remedy to paste.
//!
//! ```text
//!  environment ─▶ steps ─▶ Evidence ─▶ causes ─▶ Report
//! ```
//!
//! [`check`] runs the steps within [`BUDGET`]. Each step adds to the evidence, which holds no secret.
//! The causes are a table of rules over the evidence; docs/troubleshooting.md is made from it. The
//! function db-check and the program rds-doctor both call [`check`].

mod aws;
mod cause;
mod clients;
mod clock;
mod configuration;
mod credentials;
mod database;
pub mod diagnose;
mod engine;
mod environment;
mod evidence;
mod login;
mod mysql;
mod neptune;
mod network;
mod outcome;
mod own;
mod remedy;
mod report;
mod steps;
mod times;
mod tls;

use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::time::Instant;

pub use cause::Cause;
pub use clients::Client;
pub use engine::Engine;
pub use environment::Environment;
pub use remedy::Remedy;
pub use report::{Finding, Report, Status, Step};

/// A whole check takes no longer: what has not answered by then counts as silent.
pub const BUDGET: Duration = Duration::from_millis(4500);

/// Where the server answers, but each answer takes long, the rest gets this long in all.
pub const LIMIT: Duration = Duration::from_secs(15);

/// Checks the login to each engine whose endpoint the environment names, one after another, each within
/// [`BUDGET`] or [`LIMIT`], and all within `budget`.
pub async fn check(
    environment: &Environment,
    clock: &SharedTimeSource,
    budget: Duration,
) -> Report {
    let start = Instant::now();
    let mut reports = Vec::new();
    for engine in environment.engines() {
        let left = budget.saturating_sub(start.elapsed());
        reports.push(check_engine(&environment.for_engine(engine), clock, left).await);
    }
    Report::of_all(reports, start.elapsed())
}

/// Runs every step within [`BUDGET`], [`LIMIT`] or `budget`, whichever ends first, and names the causes of
/// a failure.
async fn check_engine(
    environment: &Environment,
    clock: &SharedTimeSource,
    budget: Duration,
) -> Report {
    let start = Instant::now();
    let (evidence, steps) = {
        let (deadline, limit) = (start + budget.min(BUDGET), start + budget.min(LIMIT));
        steps::run(environment, clock, deadline, limit).await
    };
    let findings = diagnose::diagnose(&evidence);
    Report::new(&evidence, steps, findings, start.elapsed())
}
