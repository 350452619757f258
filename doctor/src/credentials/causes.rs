//! Keys, roles and clocks.

mod keys;
mod proxy;
mod role;
mod source;
mod trouble;

use rds_iam::postgres::Refusal;

use crate::aws::evidence::Caller;
use crate::cause::{Cause, Found};
use crate::credentials::evidence::{Credentials, Profile, Source, Way};
use crate::evidence::Evidence;
use crate::remedy::{Remedy, word};
use crate::tls::evidence::Verdict;
use trouble::{Trouble, trouble};

/// A token is refused if it is signed further ahead than this; STS takes no more either way.
const FUTURE: i64 = 300;
/// A token is refused if it was signed longer ago.
const PAST: i64 = 900;

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "clock",
        title: "this machine's clock is off",
        seen: "AWS's or the database's clock, or the dates of the certificate, differ from this machine's by minutes",
        remedy: "synchronise the clock of this machine",
        find: clock,
    },
    Cause {
        id: "keys-pasted",
        title: "a key was pasted with something that does not belong to it",
        seen: "a variable or a profile holds quotes, a line break or a space in a key; or the key id and the secret are swapped",
        remedy: "the command takes them out or swaps them, without showing the key",
        find: keys::pasted,
    },
    Cause {
        id: "keys-incomplete",
        title: "the keys do not belong together",
        seen: "`ASIA…` without a session token, `AKIA…` with one, or one key without the other",
        remedy: "set the missing one, or unset the one that is too much",
        find: keys::incomplete,
    },
    Cause {
        id: "credentials-expired",
        title: "the credentials have expired",
        seen: "STS answers `ExpiredToken`, or their source says so",
        remedy: "get new ones",
        find: keys::expired,
    },
    Cause {
        id: "keys-unknown",
        title: "AWS does not know the access key",
        seen: "STS answers `InvalidClientTokenId`: the key was deleted, or the session token is another key's",
        remedy: "set all parts of the credentials anew",
        find: keys::unknown,
    },
    Cause {
        id: "secret-wrong",
        title: "the secret access key is wrong",
        seen: "STS answers `SignatureDoesNotMatch`, and the clocks agree",
        remedy: "set all parts of the credentials anew",
        find: keys::secret,
    },
    Cause {
        id: "profile-broken",
        title: "the profile cannot be used",
        seen: "its `source_profile` or `sso_session` does not exist, a setting is missing, or the file cannot be read",
        remedy: "the file and the section to correct",
        find: source::profile_broken,
    },
    Cause {
        id: "credential-process",
        title: "the profile's credential_process gives no credentials",
        seen: "its command fails, does not end in time, or prints something else",
        remedy: "run the command by hand, and correct it",
        find: source::process,
    },
    Cause {
        id: "sso-login",
        title: "the profile is not logged in to IAM Identity Center",
        seen: "nobody is logged in, or the session has ended; or IAM Identity Center is not reached",
        remedy: "`aws sso login` for that profile",
        find: source::sso,
    },
    Cause {
        id: "web-identity",
        title: "the web identity gives no credentials",
        seen: "the file of `AWS_WEB_IDENTITY_TOKEN_FILE` is missing or empty, or STS refuses its token",
        remedy: "the variable or the setting to correct; or the role's trust policy",
        find: source::web_identity,
    },
    Cause {
        id: "container-credentials",
        title: "the container's agent gives no credentials",
        seen: "the URI of `AWS_CONTAINER_CREDENTIALS_FULL_URI` or `…_RELATIVE_URI` is not reached, is silent, or answers without credentials",
        remedy: "correct or unset the variable; or name the agent in `NO_PROXY`",
        find: source::container,
    },
    Cause {
        id: "role-refused",
        title: "STS refuses the role",
        seen: "AssumeRole is denied for `DB_ROLE_ARN` or a profile's `role_arn`: its trust policy, its external id, or the caller's policy; or there is no such role",
        remedy: "the right ARN or external id; or both policies, with the caller and the role filled in",
        find: role::refused,
    },
    Cause {
        id: "sts-unreachable",
        title: "STS, which hands out the role, cannot be reached",
        seen: "a role is to be assumed, and STS refuses the connection or does not answer, or another server answers",
        remedy: "an interface endpoint for STS in the function's subnets; or unset a wrong `AWS_ENDPOINT_URL_STS`; or name STS in `NO_PROXY`",
        find: role::unreachable,
    },
    Cause {
        id: "credentials-missing",
        title: "there are no AWS credentials",
        seen: "no source has any",
        remedy: "set a profile, or export keys; in Lambda, give the function a role",
        find: missing,
    },
];

fn clock(evidence: &Evidence) -> Option<Found> {
    if let Some(clock) = &evidence.clock {
        let off = clock.ahead.abs();
        let way = if clock.ahead > 0 { "ahead of" } else { "behind" };
        let seen = format!("this machine is {off} s {way} {}", clock.source);
        let found = match off {
            0..60 => return None,
            // Else it is no reason of this failure, and may be one of another.
            _ if !clock_is_off(evidence) || evidence.token_accepted() => Found::warning(seen),
            _ => Found::certain(seen).also("a token is refused if it is signed more than 300 s ahead or 900 s ago, and STS takes 300 s either way"),
        };
        return Some(found.remedy(synchronise(clock.ahead)));
    }
    // Without another clock, a certificate from the future says as much.
    let presented = evidence.presented()?;
    if presented.verdict == Verdict::NotYetValid {
        let seen = format!(
            "the server's certificate becomes valid in {} s by this machine's clock",
            -presented.seconds_old
        );
        return Some(Found::likely(seen).remedy(synchronise(presented.seconds_old)));
    }
    evidence.refused(Refusal::Token).then(|| {
        Found::possible("no other clock was seen, and RDS refuses a token that is signed 300 s ahead or 900 s ago")
            .remedy(Remedy::action("Compare `date -u` with another clock, and set this one if it is off: timedatectl set-ntp true"))
    })
}

fn synchronise(ahead: i64) -> Remedy {
    let way = if ahead > 0 { "back" } else { "forward" };
    Remedy::action(format!(
        "Set the clock of this machine {way} by {} s, and keep it synchronised: timedatectl set-ntp true",
        ahead.abs()
    ))
}

/// New credentials, from wherever these came.
fn renew(evidence: &Evidence, found: Found) -> Found {
    let Some(source) = evidence.credentials.source() else { return found };
    found.remedy(match source {
        Source::Environment if evidence.environment.is_lambda() => Remedy::action(
            "Invoke the function again: a new sandbox gets new credentials; if they come from variables of the function's own, remove those",
        ),
        Source::Environment => Remedy::command(
            "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN\neval \"$(aws configure export-credentials --profile <your profile> --format env)\"",
        ),
        Source::Profile(profile) => match &profile.way {
            Way::Sso => login(&profile.base),
            Way::Process => run_by_hand(profile),
            Way::WebIdentity(_) | Way::CredentialSource(_) | Way::LoginSession => Remedy::action(format!(
                "Get new credentials from the source that {} names, and run this again",
                profile.place
            )),
            _ => Remedy::action(format!(
                "In {}: write new keys, aws_access_key_id and aws_secret_access_key, and aws_session_token if they are temporary",
                profile.place
            )),
        },
        source => Remedy::action(format!("Get new credentials from {source}, and run this again")),
    })
}

fn login(profile: &str) -> Remedy {
    Remedy::command(format!("aws sso login --profile {}", word(profile)))
}

fn run_by_hand(profile: &Profile) -> Remedy {
    Remedy::action(format!(
        r#"Run the command of credential_process, in {}, by hand, and correct it: within 2 s it must print living keys, {{"Version":1,"AccessKeyId":"…","SecretAccessKey":"…","SessionToken":"…","Expiration":"…"}}, and exit with 0"#,
        profile.place
    ))
}

/// Whether STS's refusal may be the clock's fault alone.
fn clock_is_off(evidence: &Evidence) -> bool {
    let Some(clock) = &evidence.clock else { return false };
    let by_sts = matches!(evidence.caller, Caller::Refused(_))
        || matches!(evidence.credentials, Credentials::Missing { .. });
    clock.ahead > FUTURE || clock.ahead < -PAST || by_sts && clock.ahead < -FUTURE
}

fn missing(evidence: &Evidence) -> Option<Found> {
    let Trouble::Source(source) = trouble(evidence)? else { return None };
    let explained = [
        keys::pasted,
        keys::incomplete,
        keys::expired,
        keys::unknown,
        keys::secret,
        source::profile_broken,
        source::process,
        source::sso,
        source::web_identity,
        source::container,
    ];
    if explained.iter().any(|rule| rule(evidence).is_some()) {
        return None;
    }
    let profile = source.profile();
    let why = match (&evidence.credentials, profile) {
        (Credentials::Silent { .. }, _) => format!("{source} did not answer in time"),
        (_, Some(Profile { selected, way: Way::NoSuchProfile, .. })) => {
            format!("AWS_PROFILE is {selected}, and there is no profile of that name")
        }
        (_, Some(Profile { selected, way: Way::Nothing, .. })) => {
            format!("profile {selected} has no credentials")
        }
        (credentials, _) => credentials.failure().map(ToString::to_string).unwrap_or_default(),
    };
    let found = Found::certain(why);
    if evidence.environment.is_lambda() {
        return Some(found.remedy(Remedy::action("Give the function an execution role")));
    }
    let value = match profile.map(|profile| profile.names.as_slice()) {
        Some(names) if !names.is_empty() => format!("<a profile: {}>", names.join(", ")),
        _ => "<a profile of ~/.aws/config>".to_owned(),
    };
    Some(found.remedy(Remedy::variable("AWS_PROFILE", value)))
}

/// Whether the token was refused and the credentials are known to be good.
pub(crate) fn token_refused(evidence: &Evidence) -> bool {
    evidence.refused(Refusal::Token)
        && !clock_is_off(evidence)
        && !matches!(evidence.caller, Caller::Refused(_))
        && keys::incomplete(evidence).is_none()
}
