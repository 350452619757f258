//! The environment.

use rds_iam::credentials::KEY_VARIABLES;

use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::remedy::Remedy;
use crate::tls::evidence::Verdict;

pub(crate) const CAUSES: &[Cause] = &[Cause {
    id: "configuration",
    title: "a variable is missing or wrong",
    seen: "the function's environment cannot be read: `Config.Invalid`",
    remedy: "set each variable to what the finding says",
    find: configuration,
}];

fn configuration(evidence: &Evidence) -> Option<Found> {
    let first = evidence.configuration.problems.first()?;
    let title = format!("{} {}", first.variable, first.flaw.what);
    let mut found = Found::certain(first.to_string()).titled(title);
    for problem in &evidence.configuration.problems[1..] {
        found = found.also(problem.to_string());
    }
    // What repaired the configuration for the other steps, unless they show that it does not.
    for (name, value) in &evidence.configuration.repairs {
        let unset = value.is_empty();
        let remedy = match name.as_str() {
            "PGSSLROOTCERT" if evidence.config().is_none() || root_is_missing(evidence) => {
                Remedy::variable(name, root_file(evidence))
            }
            "PGHOST" if unset => Remedy::variable(name, "<the database's endpoint>"),
            "PGUSER" if unset => Remedy::variable(name, evidence.environment.engine().user()),
            "PGDATABASE" if unset => Remedy::variable(name, "<the database's name>"),
            "DB_TUNNEL" if unset => Remedy::variable(name, "<host:port of the tunnel>"),
            "DB_REGION" if unset => Remedy::variable(name, "<the database's region>"),
            "DB_ROLE_ARN" if unset => Remedy::variable(name, "arn:aws:iam::<account>:role/<name>"),
            _ if KEY_VARIABLES.contains(&name.as_str()) => continue,
            _ => Remedy::variable(name, value),
        };
        found = found.remedy(remedy);
    }
    Some(found)
}

fn root_is_missing(evidence: &Evidence) -> bool {
    evidence.presented().is_some_and(|presented| presented.verdict == Verdict::Root)
}

/// The file that `PGSSLROOTCERT` must name.
pub(crate) fn root_file(evidence: &Evidence) -> String {
    match evidence.presented() {
        Some(presented) => {
            format!("<the PEM file that holds {:?}, and what issued it>", presented.issuer)
        }
        None => "<the PEM file of the server's root>".into(),
    }
}
