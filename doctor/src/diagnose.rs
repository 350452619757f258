//! The causes: one table, in the order of a login. Each is a rule over the evidence, never over a
//! particular failure, with the remedy that follows from the same evidence. docs/troubleshooting.md is
//! made from this table.

use std::fmt::Write;

use rds_iam::postgres::Refusal;

use crate::aws::evidence::Caller;
use crate::cause::Cause;
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::login::{causes as login, permission, token};
use crate::report::{Finding, Likelihood};
use crate::{clock, configuration, credentials, database, network, tls};

/// A stage of a login: its causes in their order, so that a cause that another explains comes after it.
type Stage = &'static [&'static [Cause]];

const CONFIGURATION: Stage = &[configuration::causes::CAUSES];
const CLOCK: Stage = &[clock::causes::CAUSES];
const CREDENTIALS: Stage = &[credentials::causes::CAUSES];
const NETWORK: Stage = &[network::causes::CAUSES];
const TLS: Stage = &[tls::causes::CAUSES];
const LOGIN: Stage = &[token::CAUSES, permission::CAUSES, login::CAUSES];
const DATABASE: Stage = &[database::causes::CAUSES];

/// Every cause, in the order of a login; of two that are equally likely, the earlier one comes first.
pub fn all() -> impl Iterator<Item = &'static Cause> {
    let stages = [CONFIGURATION, CLOCK, CREDENTIALS, NETWORK, TLS, LOGIN, DATABASE];
    stages.into_iter().flat_map(causes)
}

fn causes(stage: Stage) -> impl Iterator<Item = &'static Cause> {
    stage.iter().copied().flatten()
}

/// The findings of a stage. The first certain one ends it: the rules behind it would only guess.
fn findings(stage: Stage, evidence: &Evidence) -> Vec<Finding> {
    let mut found = Vec::new();
    for cause in causes(stage) {
        found.extend(cause.finding(evidence));
        if is_certain(&found) {
            break;
        }
    }
    found
}

fn is_certain(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.likelihood == Likelihood::Certain)
}

/// The causes that the evidence gives, the most likely first.
pub(crate) fn diagnose(evidence: &Evidence) -> Vec<Finding> {
    let works =
        evidence.attempt.login == Login::Works && evidence.configuration.problems.is_empty();
    let mut found = findings(CLOCK, evidence);
    found.append(&mut findings(CREDENTIALS, evidence));
    // RDS refuses a token for its signature, whatever else may be wrong.
    let badly_signed = is_certain(&found) || matches!(evidence.aws.caller, Caller::Refused(_));
    let explained = badly_signed && evidence.refused(Refusal::Token);
    let mut all = findings(CONFIGURATION, evidence);
    all.append(&mut found);
    all.append(&mut findings(NETWORK, evidence));
    all.append(&mut findings(TLS, evidence));
    if !explained {
        all.append(&mut findings(LOGIN, evidence));
    }
    all.append(&mut findings(DATABASE, evidence));
    all.sort_by_key(|finding| finding.likelihood);
    if works {
        // A rule that guesses at a failure has nothing to say about a success.
        all.retain(|finding| {
            matches!(finding.likelihood, Likelihood::Certain | Likelihood::Warning)
        });
    }
    all
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
