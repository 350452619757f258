//! The report of a check.

use std::time::Duration;

use rds_iam::config::TargetSessionAttrs;
use serde::Serialize;

use crate::engine::Engine;
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::remedy::Remedy;

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// As it should.
    Ok,
    /// It works, and something about it is worth a look.
    Warning,
    /// It does not work.
    Failed,
    /// It could not be tried, because an earlier step failed.
    Skipped,
    /// It could not be known: a right is missing, or a service cannot be reached.
    Unknown,
}

/// One step.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// How it ended.
    pub status: Status,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// Its finding, as a phrase.
    pub found: String,
}

impl Step {
    pub(crate) fn new(
        name: &'static str,
        status: Status,
        took: Duration,
        found: impl Into<String>,
    ) -> Self {
        Self { name, status, ms: ms(took), found: found.into() }
    }

    fn spelled(self, engine: Engine) -> Self {
        Self { found: engine.spell(&self.found), ..self }
    }

    pub(crate) fn skipped(name: &'static str, why: &str) -> Self {
        Self::new(name, Status::Skipped, Duration::ZERO, why)
    }
}

/// A cause, with why it is one and what to do.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The cause's name in docs/troubleshooting.md.
    pub cause: &'static str,
    /// The mistake, as a sentence without its full stop.
    pub title: String,
    /// `certain`, `likely` or `possible`; `warning` if the login works in spite of it.
    pub likelihood: Likelihood,
    /// The observations that lead to it.
    pub evidence: Vec<String>,
    /// Steps to take, in this order, until the login works.
    pub remedies: Vec<Remedy>,
}

impl Finding {
    fn spelled(self, engine: Engine) -> Self {
        Self {
            title: engine.spell(&self.title),
            evidence: self.evidence.iter().map(|seen| engine.spell(seen)).collect(),
            remedies: self.remedies.into_iter().map(|remedy| remedy.spelled(engine)).collect(),
            ..self
        }
    }
}

/// How sure a cause is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Likelihood {
    /// The evidence leaves no other.
    Certain,
    /// The usual one of several.
    Likely,
    /// One of several.
    Possible,
    /// Not a cause of a failure now.
    Warning,
}

/// The result of a check.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Whether a function with this environment logs in, to every engine that it names.
    pub ok: bool,
    /// The engine that this is about.
    pub engine: Engine,
    /// One line.
    pub summary: String,
    /// Milliseconds for all of it.
    pub duration_ms: f64,
    /// Every step, in the order of a login.
    pub steps: Vec<Step>,
    /// The causes, the most likely first.
    pub causes: Vec<Finding>,
    /// The reports of the other engines that the environment names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Report>,
}

impl Report {
    pub(crate) fn new(
        evidence: &Evidence,
        steps: Vec<Step>,
        causes: Vec<Finding>,
        took: Duration,
    ) -> Self {
        let refused = evidence.facts.as_ref().is_some_and(|facts| facts.read_only)
            && evidence
                .config()
                .is_some_and(|config| config.target_session_attrs == TargetSessionAttrs::ReadWrite);
        let ok = evidence.attempt.login == Login::Works
            && evidence.configuration.problems.is_empty()
            && !refused;
        let engine = evidence.environment.engine();
        let at = evidence.config().map(|config| {
            let endpoint = &config.endpoint;
            match engine {
                Engine::Neptune => format!("{}:{}", endpoint.host, endpoint.port),
                _ => format!("{} at {}:{}", config.user, endpoint.host, endpoint.port),
            }
        });
        let at = at.unwrap_or_else(|| "the database".into());
        let steps: Vec<Step> = steps.into_iter().map(|step| step.spelled(engine)).collect();
        let causes: Vec<Finding> = causes.into_iter().map(|cause| cause.spelled(engine)).collect();
        let summary = match causes.first() {
            _ if ok => format!("{at}: the login works"),
            Some(cause) => format!("{at}: no login: {}", cause.title),
            None => format!("{at}: no login, and no known cause: see the step that failed"),
        };
        Self { ok, engine, summary, duration_ms: ms(took), steps, causes, others: Vec::new() }
    }

    /// The first with the others in it.
    pub(crate) fn of_all(reports: Vec<Self>, took: Duration) -> Self {
        let ok = reports.iter().all(|report| report.ok);
        let summaries: Vec<&str> = reports.iter().map(|report| report.summary.as_str()).collect();
        let summary = summaries.join("; ");
        let mut reports = reports.into_iter();
        let first = reports.next().unwrap_or_default();
        let others = reports.collect();
        Self { ok, summary, duration_ms: ms(took), others, ..first }
    }
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
