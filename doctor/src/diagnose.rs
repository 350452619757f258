//! The causes: one table, in the order of a login. Each is a rule over the evidence, never over a
//! particular failure, with the remedy that follows from the same evidence. docs/troubleshooting.md is
//! made from this table.

use std::collections::HashSet;
use std::fmt::Write;

use rds_iam::postgres::Refusal;

use crate::aws::evidence::Caller;
use crate::cause::Cause;
use crate::engine::Engine;
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::login::{causes as login, permission, token};
use crate::mysql::causes as mysql;
use crate::neptune::causes as neptune;
use crate::neptune::causes_refused::REFUSED;
use crate::report::{Finding, Likelihood};
use crate::tls::causes_certificate::CERTIFICATE;
use crate::{clock, configuration, credentials, database, network, tls};

/// A stage of a login: its causes in their order, so that a cause that another explains comes after it.
type Stage = &'static [&'static [Cause]];

const CONFIGURATION: Stage = &[configuration::causes::CAUSES];
const CLOCK: Stage = &[clock::causes::CAUSES];
const CREDENTIALS: Stage = &[credentials::causes::CAUSES];
const NETWORK: Stage = &[network::causes::CAUSES];

fn tls(engine: Engine) -> Stage {
    match engine {
        Engine::Neptune => &[neptune::NAME, tls::causes::HANDSHAKE, CERTIFICATE],
        _ => &[tls::causes::HANDSHAKE, CERTIFICATE],
    }
}

fn login(engine: Engine) -> Stage {
    match engine {
        Engine::Postgres => &[token::CAUSES, permission::CAUSES, login::CAUSES],
        Engine::Mysql => &[token::CAUSES, permission::CAUSES, mysql::CAUSES, mysql::LOGIN],
        Engine::Neptune => &[neptune::INSTEAD, REFUSED, neptune::FAILING],
    }
}

fn database(engine: Engine) -> Stage {
    match engine {
        Engine::Postgres => &[database::causes::CAUSES],
        Engine::Mysql => &[mysql::AFTER],
        Engine::Neptune => &[neptune::AFTER],
    }
}

/// The stages of a login to an engine.
fn stages(engine: Engine) -> [Stage; 7] {
    [CONFIGURATION, CLOCK, CREDENTIALS, NETWORK, tls(engine), login(engine), database(engine)]
}

/// Every cause, of each engine in the order of a login; of two that are equally likely, the earlier one comes
/// first.
pub fn all() -> impl Iterator<Item = &'static Cause> {
    let mut seen = HashSet::new();
    let all = Engine::ALL.into_iter().flat_map(stages).flat_map(causes);
    all.filter(move |cause| seen.insert(cause.id))
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
    let engine = evidence.environment.engine();
    let mut all = findings(CONFIGURATION, evidence);
    all.append(&mut found);
    all.append(&mut findings(NETWORK, evidence));
    all.append(&mut findings(tls(engine), evidence));
    if !explained {
        all.append(&mut findings(login(engine), evidence));
    }
    all.append(&mut findings(database(engine), evidence));
    all.sort_by_key(|finding| finding.likelihood);
    if works {
        // A rule that guesses at a failure has nothing to say about a success.
        all.retain(|finding| {
            matches!(finding.likelihood, Likelihood::Certain | Likelihood::Warning)
        });
    }
    all
}

/// The causes of PostgreSQL's protocol that stand among those of every engine.
const POSTGRES_ONLY: [&str; 5] =
    ["other-server", "error-before-tls", "tls-not-offered", "tls-direct", "user-case"];

/// The engines that have a cause.
fn engines(cause: &Cause) -> Vec<Engine> {
    let has = |engine: &Engine| {
        let only_postgres = POSTGRES_ONLY.contains(&cause.id) && *engine != Engine::Postgres;
        !only_postgres && stages(*engine).into_iter().flat_map(causes).any(|c| c.id == cause.id)
    };
    Engine::ALL.into_iter().filter(has).collect()
}

/// docs/troubleshooting.md.
pub fn troubleshooting() -> String {
    let mut text = String::from(include_str!("head.md"));
    let sections: [(&str, &[Engine]); 5] = [
        ("Every engine", &Engine::ALL),
        ("Tokens: PostgreSQL and MySQL", &[Engine::Postgres, Engine::Mysql]),
        ("PostgreSQL", &[Engine::Postgres]),
        ("MySQL, MariaDB and Aurora MySQL", &[Engine::Mysql]),
        ("Neptune", &[Engine::Neptune]),
    ];
    for (title, of) in sections {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {title}\n\n| cause | what is wrong | what it looks like | remedy |\n|---|---|---|---|\n"
        );
        for Cause { id, title, seen, remedy, .. } in all().filter(|cause| engines(cause) == of) {
            let _ = writeln!(text, "| `{id}` | {title} | {seen} | {remedy} |");
        }
    }
    text
}
