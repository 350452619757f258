//! The causes: one table, in the order of a login. Each is a rule over the evidence, never over a
//! particular failure, with the remedy that follows from the same evidence. docs/troubleshooting.md is
//! made from this table.

mod configuration;
mod credentials;
mod database;
mod login;
mod network;
mod permission;
mod tls;
mod token;

use std::fmt::Write;

use crate::evidence::{Evidence, Login};
use crate::remedy::Remedy;
use crate::report::{Finding, Likelihood};

/// One cause.
#[allow(missing_debug_implementations, reason = "it holds a function")]
pub struct Cause {
    /// Its stable name.
    pub id: &'static str,
    /// What is wrong.
    pub title: &'static str,
    /// What it looks like.
    pub seen: &'static str,
    /// What to do.
    pub remedy: &'static str,
    find: fn(&Evidence) -> Option<Found>,
}

/// A rule's answer.
pub(crate) struct Found {
    likelihood: Likelihood,
    /// In place of the cause's own title.
    title: Option<String>,
    evidence: Vec<String>,
    remedies: Vec<Remedy>,
}

impl Found {
    fn new(likelihood: Likelihood, evidence: impl Into<String>) -> Self {
        Self { likelihood, title: None, evidence: vec![evidence.into()], remedies: Vec::new() }
    }

    fn certain(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Certain, evidence)
    }

    fn likely(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Likely, evidence)
    }

    fn possible(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Possible, evidence)
    }

    fn warning(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Warning, evidence)
    }

    fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    fn also(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    fn remedy(mut self, remedy: Remedy) -> Self {
        self.remedies.push(remedy);
        self
    }
}

/// Every cause, in the order of a login; of two that are equally likely, the earlier one comes first.
pub fn all() -> impl Iterator<Item = &'static Cause> {
    configuration::CAUSES
        .iter()
        .chain(credentials::CAUSES)
        .chain(network::CAUSES)
        .chain(tls::CAUSES)
        .chain(token::CAUSES)
        .chain(permission::CAUSES)
        .chain(login::CAUSES)
        .chain(database::CAUSES)
}

/// The causes that the evidence gives, the most likely first.
pub(crate) fn diagnose(evidence: &Evidence) -> Vec<Finding> {
    let works = evidence.login == Login::Works && evidence.problems.is_empty();
    let mut findings: Vec<Finding> = all()
        .filter_map(|cause| {
            let found = (cause.find)(evidence)?;
            Some(Finding {
                cause: cause.id,
                title: found.title.unwrap_or_else(|| cause.title.to_owned()),
                likelihood: found.likelihood,
                evidence: found.evidence,
                remedies: found.remedies,
            })
        })
        .collect();
    findings.sort_by_key(|finding| finding.likelihood);
    if works {
        // A rule that guesses at a failure has nothing to say about a success.
        findings.retain(|finding| {
            matches!(finding.likelihood, Likelihood::Certain | Likelihood::Warning)
        });
    }
    findings
}

/// docs/troubleshooting.md.
pub fn troubleshooting() -> String {
    let mut text = String::from(include_str!("head.md"));
    for cause in all() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            cause.id, cause.title, cause.seen, cause.remedy
        );
    }
    text
}
