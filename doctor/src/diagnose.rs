//! The causes: one table, in the order of a login. Each is a rule over the evidence, never over a
//! particular failure, with the remedy that follows from the same evidence. docs/troubleshooting.md is
//! made from this table.

use std::fmt::Write;

use crate::configuration::causes as configuration;
use crate::credentials::causes as credentials;
use crate::database::causes as database;
use crate::evidence::{Evidence, Login};
use crate::login::{causes as login, permission, token};
use crate::network::causes as network;
use crate::remedy::Remedy;
use crate::report::{Finding, Likelihood};
use crate::tls::causes as tls;

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
    pub(crate) find: fn(&Evidence) -> Option<Found>,
}

/// A rule's answer.
pub(crate) struct Found {
    pub(crate) likelihood: Likelihood,
    /// In place of the cause's own title.
    title: Option<String>,
    evidence: Vec<String>,
    remedies: Vec<Remedy>,
}

impl Found {
    pub(crate) fn new(likelihood: Likelihood, evidence: impl Into<String>) -> Self {
        Self { likelihood, title: None, evidence: vec![evidence.into()], remedies: Vec::new() }
    }

    pub(crate) fn certain(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Certain, evidence)
    }

    pub(crate) fn likely(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Likely, evidence)
    }

    pub(crate) fn possible(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Possible, evidence)
    }

    pub(crate) fn warning(evidence: impl Into<String>) -> Self {
        Self::new(Likelihood::Warning, evidence)
    }

    pub(crate) fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    pub(crate) fn also(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    pub(crate) fn remedy(mut self, remedy: Remedy) -> Self {
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
