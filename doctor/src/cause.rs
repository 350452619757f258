//! One cause, and what its rule answers.

use crate::evidence::Evidence;
use crate::remedy::Remedy;
use crate::report::{Finding, Likelihood};

/// One cause.
#[allow(missing_debug_implementations, reason = "it holds a function")]
pub struct Cause {
    /// Its stable name.
    pub id: &'static str,
    /// The fault, as a sentence without its full stop.
    pub title: &'static str,
    /// Its signs.
    pub seen: &'static str,
    /// The remedy in short.
    pub remedy: &'static str,
    pub(crate) find: fn(&Evidence) -> Option<Found>,
}

impl Cause {
    /// Its finding, if its rule finds it in the evidence.
    pub(crate) fn finding(&self, evidence: &Evidence) -> Option<Finding> {
        let found = (self.find)(evidence)?;
        Some(Finding {
            cause: self.id,
            title: found.title.unwrap_or_else(|| self.title.to_owned()),
            likelihood: found.likelihood,
            evidence: found.evidence,
            remedies: found.remedies,
        })
    }
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
