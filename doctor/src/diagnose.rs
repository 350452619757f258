//! The causes: one table, in the order of a login. Each is a rule over the evidence, never over a
//! particular failure, with the remedy that follows from the same evidence. docs/troubleshooting.md is
//! made from this table.

use std::fmt::Write;

use crate::cause::Cause;
use crate::configuration::causes as configuration;
use crate::credentials::causes as credentials;
use crate::database::causes as database;
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::login::{causes as login, permission, token};
use crate::network::causes as network;
use crate::report::{Finding, Likelihood};
use crate::tls::causes as tls;

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
    let mut findings: Vec<Finding> =
        all().filter_map(|cause| Some((cause.find)(evidence)?.of(cause))).collect();
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
