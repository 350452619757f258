//! Keys, roles and clocks.

use super::{Cause, Found};
use crate::evidence::{Caller, Credentials, Evidence, Refusal, Verdict, principal_of};
use crate::remedy::Remedy;

/// A token is refused if it is signed further ahead than this.
const FUTURE: i64 = 300;

pub(super) const CAUSES: &[Cause] = &[
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
        seen: "a variable of the credentials holds quotes, a line break or a space",
        remedy: "the command takes them out, without showing the key",
        find: pasted,
    },
    Cause {
        id: "keys-incomplete",
        title: "the keys do not belong together",
        seen: "`ASIA…` without a session token, `AKIA…` with one, or one key without the other",
        remedy: "set the missing one, or unset the one that is too much",
        find: incomplete,
    },
    Cause {
        id: "credentials-expired",
        title: "the credentials have expired",
        seen: "STS answers `ExpiredToken`, or their source says so",
        remedy: "get new ones",
        find: expired,
    },
    Cause {
        id: "keys-unknown",
        title: "AWS does not know the access key",
        seen: "STS answers `InvalidClientTokenId`: the key was deleted, or the session token is another key's",
        remedy: "set all parts of the credentials anew",
        find: unknown,
    },
    Cause {
        id: "secret-wrong",
        title: "the secret access key is wrong",
        seen: "STS answers `SignatureDoesNotMatch`, and the clocks agree",
        remedy: "set all parts of the credentials anew",
        find: secret,
    },
    Cause {
        id: "role-refused",
        title: "STS refuses the role of DB_ROLE_ARN",
        seen: "AssumeRole is denied: the role's trust policy, its external id, or the caller's policy",
        remedy: "both policies, with the caller and the role filled in; or the external id",
        find: role_refused,
    },
    Cause {
        id: "sts-unreachable",
        title: "STS, which hands out the role, cannot be reached",
        seen: "`DB_ROLE_ARN` is set, and STS refuses the connection or does not answer",
        remedy: "an interface endpoint for STS in the function's subnets; or unset a wrong `AWS_ENDPOINT_URL_STS`",
        find: sts_unreachable,
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
            60..=FUTURE => Found::warning(seen),
            _ => Found::certain(seen).also("a token is refused if it is signed more than 300 s ahead or 900 s ago, and STS takes 300 s either way"),
        };
        return Some(found.remedy(synchronise(clock.ahead)));
    }
    // Without another clock, a certificate from the future says as much.
    let presented = evidence.presented()?;
    (presented.verdict == Verdict::NotYetValid).then(|| {
        let seen = format!(
            "the server's certificate becomes valid in {} s by this machine's clock",
            -presented.seconds_old
        );
        Found::likely(seen).remedy(synchronise(presented.seconds_old))
    })
}

fn synchronise(ahead: i64) -> Remedy {
    let way = if ahead > 0 { "back" } else { "forward" };
    Remedy::action(format!(
        "Set the clock of this machine {way} by {} s, and keep it synchronised: timedatectl set-ntp true",
        ahead.abs()
    ))
}

fn pasted(evidence: &Evidence) -> Option<Found> {
    let flaws = evidence.environment.flaws();
    let (name, flaw) = *flaws.first()?;
    let mut found = Found::certain(format!("{name} {flaw}")).titled(format!("{name} {flaw}"));
    for (name, flaw) in &flaws {
        if flaw.contains("sam local") {
            found = found.remedy(Remedy::variable("AWS_PROFILE", "<your profile>"));
        } else if flaw.contains("form") {
            found = found.remedy(Remedy::variable(name, "<the access key id>"));
        } else {
            found = found.remedy(Remedy::command(format!(
                r#"export {name}="$(printf %s "${name}" | tr -d '"'"'"' \t\r\n')""#
            )));
        }
    }
    for (name, flaw) in &flaws[1..] {
        found = found.also(format!("{name} {flaw}"));
    }
    Some(found)
}

fn incomplete(evidence: &Evidence) -> Option<Found> {
    let has = |name| evidence.environment.has(name);
    if !evidence.environment.flaws().is_empty() {
        return None;
    }
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
    match &evidence.credentials {
        Credentials::Found { kind: "ASIA", session_token: false, .. } => Some(
            Found::certain("the key id begins with ASIA: it is temporary, and only works with its session token")
                .titled("the session token of temporary credentials is missing")
                .remedy(Remedy::variable("AWS_SESSION_TOKEN", "<the one that was issued with the key>")),
        ),
        Credentials::Found { kind: "AKIA", session_token: true, .. } => Some(
            Found::certain("the key id begins with AKIA: it is a long-lived key, and has no session token")
                .titled("a session token of other credentials is set beside a long-lived key")
                .remedy(Remedy::unset("AWS_SESSION_TOKEN")),
        ),
        _ => None,
    }
}

/// New credentials, from wherever these came.
fn renew(evidence: &Evidence, found: Found) -> Found {
    if evidence.environment.is_lambda() {
        return found.remedy(Remedy::action(
            "Invoke the function again: a new sandbox gets new credentials; if they come from variables of the function's own, remove those",
        ));
    }
    if evidence.environment.has("AWS_ACCESS_KEY_ID") {
        return found.remedy(Remedy::command(
            "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN\neval \"$(aws configure export-credentials --profile <your profile> --format env)\"",
        ));
    }
    let profile = evidence.environment.get("AWS_PROFILE").unwrap_or("default");
    found.remedy(Remedy::command(format!("aws sso login --profile {profile}")))
}

/// Whether STS's refusal may be the clock's fault alone.
fn clock_is_off(evidence: &Evidence) -> bool {
    evidence.clock.as_ref().is_some_and(|clock| clock.ahead.abs() > FUTURE)
}

fn refused(evidence: &Evidence, codes: &[&str]) -> Option<String> {
    if clock_is_off(evidence) || incomplete(evidence).is_some() || pasted(evidence).is_some() {
        return None;
    }
    let by_sts = match &evidence.caller {
        Caller::Refused(code) => codes.contains(&code.as_str()).then(|| code.clone()),
        _ => None,
    };
    let by_source = match &evidence.credentials {
        Credentials::Missing(why) => {
            codes.iter().find(|code| why.contains(&format!(": {code}:"))).map(|c| (*c).to_owned())
        }
        _ => None,
    };
    by_sts.or(by_source)
}

fn expired(evidence: &Evidence) -> Option<Found> {
    let codes = ["ExpiredToken", "ExpiredTokenException"];
    if let Some(code) = refused(evidence, &codes) {
        return Some(renew(evidence, Found::certain(format!("STS answers {code}"))));
    }
    match &evidence.credentials {
        Credentials::Found { expiry: Some(expiry), .. } if *expiry <= evidence.now => {
            Some(renew(evidence, Found::certain("their source says that they have ended")))
        }
        _ => None,
    }
}

fn unknown(evidence: &Evidence) -> Option<Found> {
    let code = refused(evidence, &["InvalidClientTokenId"])?;
    let seen = format!(
        "STS answers {code}: the key was deleted, belongs to another partition, or its session token is another key's"
    );
    Some(renew(evidence, Found::certain(seen)))
}

fn secret(evidence: &Evidence) -> Option<Found> {
    let code = refused(evidence, &["SignatureDoesNotMatch"])?;
    Some(renew(evidence, Found::certain(format!("STS answers {code}, and knows the key id"))))
}

fn role_refused(evidence: &Evidence) -> Option<Found> {
    let Credentials::Missing(why) = &evidence.credentials else { return None };
    let role = evidence.config.as_ref()?.role.as_ref()?;
    if !why.contains("STS refused the role")
        || refused(evidence, &["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"])
            .is_some()
    {
        return None;
    }
    let caller = match &evidence.caller {
        Caller::Is { arn, .. } => principal_of(arn),
        _ => "<the caller>".into(),
    };
    let (condition, external) = match role.external_id {
        Some(_) => (
            r#","Condition":{"StringEquals":{"sts:ExternalId":"<what DB_ROLE_EXTERNAL_ID holds>"}}"#,
            "DB_ROLE_EXTERNAL_ID is set: it must be the one that the trust policy asks for",
        ),
        None => ("", "DB_ROLE_EXTERNAL_ID is not set: a trust policy that asks for one refuses"),
    };
    let trust = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{caller}"}},"Action":"sts:AssumeRole"{condition}}}]}}"#
    );
    let seen = why.split(". ").next().unwrap_or(why).to_owned();
    Some(
        Found::certain(seen)
            .also(external)
            .remedy(Remedy::variable(
                "DB_ROLE_EXTERNAL_ID",
                "<the id that the role's owner gave you, if its trust policy asks for one>",
            ))
            .remedy(Remedy::Policy {
                attach_to: format!("the trust of {}", role.arn),
                document: trust,
            })
            .remedy(Remedy::allow(caller, "sts:AssumeRole", &role.arn)),
    )
}

fn sts_unreachable(evidence: &Evidence) -> Option<Found> {
    let role = evidence.config.as_ref()?.role.as_ref()?;
    let silent = match &evidence.credentials {
        Credentials::Silent => true,
        Credentials::Missing(why) => {
            why.contains("STS cannot be reached")
                || why.contains("STS did not answer")
                || why.contains("STS's answer is not")
        }
        _ => false,
    };
    if !silent {
        return None;
    }
    let found =
        Found::certain(format!("{} is assumed through STS, which did not answer", role.arn));
    let region = evidence.config.as_ref().map_or("<region>", |config| &config.sts_region);
    for name in ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"] {
        if let Some(url) = evidence.environment.get(name) {
            let found = found.also(format!("{name} is {url}"));
            return Some(found.remedy(Remedy::variable(name, format!("<the URL of an STS that can be reached, or nothing: https://sts.{region}.amazonaws.com>"))));
        }
    }
    Some(found.remedy(Remedy::command(format!(
        "aws ec2 create-vpc-endpoint --vpc-endpoint-type Interface --service-name com.amazonaws.{region}.sts --private-dns-enabled --vpc-id <the function's VPC> --subnet-ids <its subnets> --security-group-ids <a group that lets 443 in>"
    ))))
}

fn missing(evidence: &Evidence) -> Option<Found> {
    let why = match &evidence.credentials {
        Credentials::Missing(why) => why.split(". ").next().unwrap_or(why).to_owned(),
        Credentials::Silent => "their source did not answer in time".to_owned(),
        _ => return None,
    };
    let explained = [pasted, incomplete, expired, unknown, secret, role_refused, sts_unreachable];
    if explained.iter().any(|rule| rule(evidence).is_some()) {
        return None;
    }
    let found = Found::certain(why);
    Some(if evidence.environment.is_lambda() {
        found.remedy(Remedy::action("Give the function an execution role"))
    } else {
        found.remedy(Remedy::variable("AWS_PROFILE", "<a profile of ~/.aws/config>"))
    })
}

/// Whether the token was refused and the credentials are known to be good.
pub(super) fn token_refused(evidence: &Evidence) -> bool {
    evidence.refused(Refusal::Token)
        && !clock_is_off(evidence)
        && !matches!(evidence.caller, Caller::Refused(_))
        && incomplete(evidence).is_none()
}
