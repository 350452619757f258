//! Keys that are there, and wrong.

use rds_iam::credentials::{KeyFlaw, KeyKind};

use super::renew::renew;
use super::trouble::{Asked, Trouble, trouble};
use crate::aws::evidence::Caller;
use crate::cause::Found;
use crate::credentials::evidence::{Credentials, Flaw, Source, Way};
use crate::evidence::Evidence;
use crate::remedy::Remedy;

pub(super) fn pasted(evidence: &Evidence) -> Option<Found> {
    pasted_variables(evidence).or_else(|| pasted_elsewhere(evidence))
}

fn pasted_variables(evidence: &Evidence) -> Option<Found> {
    let flaws = evidence.environment.key_flaws();
    let (name, flaw) = *flaws.first()?;
    let mut found = Found::certain(format!("{name} {flaw}")).titled(format!("{name} {flaw}"));
    for (name, flaw) in &flaws {
        found = found.remedy(match flaw {
            KeyFlaw::SamDefault => Remedy::variable("AWS_PROFILE", "<your profile>"),
            // A shell expands both before it sets one.
            KeyFlaw::Swapped => Remedy::command(
                r#"export AWS_ACCESS_KEY_ID="$AWS_SECRET_ACCESS_KEY" AWS_SECRET_ACCESS_KEY="$AWS_ACCESS_KEY_ID""#,
            ),
            KeyFlaw::NotKeyId => Remedy::variable(name, "<the access key id>"),
            KeyFlaw::SecretIsKeyId => {
                Remedy::variable(name, "<the secret that belongs to AWS_ACCESS_KEY_ID>")
            }
            _ => Remedy::command(format!(
                r#"export {name}="$(printf %s "${name}" | LC_ALL=C tr -cd 'A-Za-z0-9+/=')""#
            )),
        });
    }
    for (name, flaw) in &flaws[1..] {
        found = found.also(format!("{name} {flaw}"));
    }
    Some(found)
}

/// In a profile, or in what another source hands out.
fn pasted_elsewhere(evidence: &Evidence) -> Option<Found> {
    // STS knows them: so they are good, whatever they look like.
    if matches!(evidence.aws.caller, Caller::Is { .. }) {
        return None;
    }
    let source = evidence.credentials.source()?;
    let (flaws, place) = match (source, &evidence.credentials) {
        (Source::Environment, _) => return None,
        (Source::Profile(profile), _) if matches!(profile.way, Way::Keys(_)) => {
            let Way::Keys(flaws) = &profile.way else { return None };
            (flaws, profile.place.clone())
        }
        (Source::Profile(profile), Credentials::Found { flaws, .. }) => {
            (flaws, format!("what profile {} is given", profile.base))
        }
        (_, Credentials::Found { flaws, .. }) => (flaws, format!("what {source} hands out")),
        _ => return None,
    };
    // Files write the names in small letters.
    let phrase = |(name, flaw): &Flaw| match flaw {
        KeyFlaw::Swapped => "aws_access_key_id and aws_secret_access_key are swapped".to_owned(),
        flaw => format!("{} {flaw}", name.to_ascii_lowercase()),
    };
    let phrases: Vec<String> = flaws.iter().map(phrase).collect();
    let first = phrases.first()?;
    let mut found =
        Found::certain(format!("in {place}: {first}")).titled(format!("{first}, in {place}"));
    for phrase in &phrases[1..] {
        found = found.also(format!("in {place}: {phrase}"));
    }
    let text = if flaws.iter().any(|(_, flaw)| *flaw == KeyFlaw::Swapped) {
        format!("In {place}: exchange the values of aws_access_key_id and aws_secret_access_key")
    } else {
        let names: Vec<String> = flaws.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        format!(
            "In {place}: write {} anew, each value on its own line, without quotes, spaces and anything else that is not of the key",
            names.join(" and ")
        )
    };
    Some(found.remedy(Remedy::action(text)))
}

pub(super) fn incomplete(evidence: &Evidence) -> Option<Found> {
    let has = |name| evidence.environment.has(name);
    let (id, secret) = (has("AWS_ACCESS_KEY_ID"), has("AWS_SECRET_ACCESS_KEY"));
    if id != secret {
        let (name, other) = if id {
            ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")
        } else {
            ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        };
        let seen = format!("{other} is set, and {name} is not");
        // A secret alone does no harm if another source has credentials.
        let found = if matches!(evidence.credentials, Credentials::Found { .. }) {
            Found::possible(seen)
        } else {
            Found::certain(seen)
        };
        let title = format!("{name} is not set");
        let value = format!("<the one that belongs to {other}>");
        return Some(found.titled(title).remedy(Remedy::variable(name, value)));
    }
    let place = match evidence.credentials.source()? {
        Source::Profile(profile) => Some(&profile.place),
        _ => None,
    };
    match &evidence.credentials {
        Credentials::Found { kind: KeyKind::Temporary, session_token: false, .. } => Some(
            Found::certain("the key id begins with ASIA: it is temporary, and only works with its session token")
                .titled("the session token of temporary credentials is missing")
                .remedy(match place {
                    Some(place) => Remedy::action(format!("In {place}: add aws_session_token, the one that was issued with the key")),
                    None => Remedy::variable("AWS_SESSION_TOKEN", "<the one that was issued with the key>"),
                }),
        ),
        Credentials::Found { kind: KeyKind::LongLived, session_token: true, .. } => Some(
            Found::certain("the key id begins with AKIA: it is a long-lived key, and has no session token")
                .titled("a session token of other credentials is set beside a long-lived key")
                .remedy(match place {
                    Some(place) => Remedy::action(format!("In {place}: remove aws_session_token")),
                    None => Remedy::unset("AWS_SESSION_TOKEN"),
                }),
        ),
        _ => None,
    }
}

/// STS's code, if it is one of these, for keys that it was asked with.
fn refused(evidence: &Evidence, codes: &[&str]) -> Option<String> {
    if evidence.clock_is_off() {
        return None;
    }
    let code = match (&evidence.aws.caller, trouble(evidence)) {
        (Caller::Refused(code), _) => code.as_str(),
        // A web identity is not a key.
        (_, Some(Trouble::Refused { code, role })) if !matches!(role, Asked::WebIdentity(_)) => {
            code
        }
        _ => return None,
    };
    codes.contains(&code).then(|| code.to_owned())
}

pub(super) fn expired(evidence: &Evidence) -> Option<Found> {
    let codes = ["ExpiredToken", "ExpiredTokenException"];
    if let Some(code) = refused(evidence, &codes) {
        return Some(renew(evidence, Found::certain(format!("STS answers {code}"))));
    }
    match &evidence.credentials {
        Credentials::Found { expiry: Some(expiry), source, .. } if *expiry <= evidence.now => {
            let seen = format!("their source, {source}, says that they have ended");
            Some(renew(evidence, Found::certain(seen)))
        }
        _ => None,
    }
}

pub(super) fn unknown(evidence: &Evidence) -> Option<Found> {
    let code = refused(evidence, &["InvalidClientTokenId"])?;
    let seen = format!(
        "STS answers {code}: the key was deleted, belongs to another partition, or its session token is another key's"
    );
    Some(renew(evidence, Found::certain(seen)))
}

pub(super) fn secret(evidence: &Evidence) -> Option<Found> {
    let code = refused(evidence, &["SignatureDoesNotMatch"])?;
    Some(renew(evidence, Found::certain(format!("STS answers {code}, and knows the key id"))))
}
