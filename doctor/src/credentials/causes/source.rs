//! A source of credentials that is configured and gives none: a profile, a command, IAM Identity Center, a
//! web identity, a container's agent.

use rds_iam::credentials::Failure;

use super::proxy;
use super::renew::{login, run_by_hand};
use super::trouble::{Asked, Trouble, trouble};
use crate::cause::Found;
use crate::credentials::evidence::{Credentials, Profile, Source, TokenFile, Way};
use crate::evidence::Evidence;
use crate::remedy::{Remedy, word};

/// The source that gave none.
fn failed(evidence: &Evidence) -> Option<&Source> {
    match trouble(evidence)? {
        Trouble::Source(source) => Some(source),
        _ => None,
    }
}

fn is_silent(evidence: &Evidence) -> bool {
    matches!(evidence.credentials, Credentials::Silent { .. })
}

fn was_unreachable(evidence: &Evidence) -> bool {
    matches!(evidence.credentials, Credentials::Missing { unreachable: true, .. })
}

fn said_misconfigured(evidence: &Evidence) -> bool {
    evidence.credentials.failure() == Some(&Failure::SourceMisconfigured)
}

pub(super) fn profile_broken(evidence: &Evidence) -> Option<Found> {
    let profile = failed(evidence)?.profile()?;
    let Profile { selected, base, place, names, .. } = profile;
    let what = match &profile.way {
        Way::Broken { what, .. } => what.clone(),
        Way::LoginSession | Way::CredentialSource(_) => {
            let (setting, remedy) = match &profile.way {
                Way::CredentialSource(source) => (
                    format!("credential_source {source}"),
                    Remedy::action(format!(
                        "In {place}: name a credential_source that has credentials here"
                    )),
                ),
                _ => (
                    "login_session".to_owned(),
                    Remedy::command(format!(
                        "eval \"$(aws configure export-credentials --profile {} --format env)\"",
                        word(base)
                    )),
                ),
            };
            let found = Found::certain(format!("{setting} of profile {base} gives no credentials"));
            let found = found.titled(format!("profile {selected} gives no credentials"));
            return Some(found.remedy(remedy));
        }
        _ if said_misconfigured(evidence) => format!("profile {base} is not complete"),
        _ => return None,
    };
    let found = Found::certain(what.clone()).titled(format!("profile {selected} cannot be used"));
    let found = if names.is_empty() {
        found
    } else {
        found.also(format!("there are the profiles {}", names.join(", ")))
    };
    Some(found.remedy(Remedy::action(format!("Correct this in {place}: {what}"))))
}

pub(super) fn process(evidence: &Evidence) -> Option<Found> {
    let profile = failed(evidence)?.profile().filter(|profile| profile.way == Way::Process)?;
    let how = if is_silent(evidence) {
        "did not end in time"
    } else {
        "failed, or did not print credentials as JSON"
    };
    let name = &profile.base;
    let found =
        Found::certain(format!("the command of credential_process, in {}, {how}", profile.place));
    let found = found.titled(format!("credential_process of profile {name} {how}"));
    Some(found.remedy(run_by_hand(profile)))
}

pub(super) fn sso(evidence: &Evidence) -> Option<Found> {
    let profile = failed(evidence)?.profile().filter(|profile| profile.way == Way::Sso)?;
    let name = &profile.base;
    if is_silent(evidence) || was_unreachable(evidence) {
        let found = Found::certain(format!(
            "profile {name} has its credentials from IAM Identity Center, which was not reached"
        ))
        .titled("IAM Identity Center cannot be reached");
        let url = "https://portal.sso.<its region>.amazonaws.com";
        return Some(match proxy::of(&evidence.environment, url) {
            Some(proxy) => proxy.explain(found),
            None => found.remedy(Remedy::action(format!(
                "Let this machine reach {url}, with sso_region of {} as its region",
                profile.place
            ))),
        });
    }
    let found = Found::likely(format!(
        "profile {name} has its credentials from IAM Identity Center, which gives none: nobody is logged in, or the session has ended"
    ));
    let found = found.titled(format!("profile {name} is not logged in to IAM Identity Center"));
    Some(found.remedy(login(name)))
}

pub(super) fn web_identity(evidence: &Evidence) -> Option<Found> {
    let (token, code) = match trouble(evidence)? {
        Trouble::Refused { code, role: Asked::WebIdentity(token) } => (token, Some(code)),
        Trouble::Source(source) => (source.web_identity()?, None),
        _ => return None,
    };
    let profile = evidence.credentials.source()?.profile();
    let setting = match profile {
        Some(profile) => format!("web_identity_token_file, in {}", profile.place),
        None => "AWS_WEB_IDENTITY_TOKEN_FILE".to_owned(),
    };
    let set = |variable: &str, setting: &str, value: &str| match profile {
        Some(profile) => Remedy::action(format!("In {}: set {setting} to {value}", profile.place)),
        None => Remedy::variable(variable, format!("<{value}>")),
    };
    let file = |value: &str| set("AWS_WEB_IDENTITY_TOKEN_FILE", "web_identity_token_file", value);
    let role = |value: &str| set("AWS_ROLE_ARN", "role_arn", value);
    let TokenFile { path, flaw, .. } = token;
    if token.role.is_empty() {
        let seen = format!("{setting} is set, and AWS_ROLE_ARN is not");
        let found = Found::certain(seen).titled("a web identity is set without its role");
        return Some(found.remedy(role("the ARN of the role that trusts the identity provider")));
    }
    if let Some(flaw) = flaw {
        let found = Found::certain(format!("{setting} is {path}, which {flaw}"))
            .titled(format!("the file of the web identity token {flaw}"));
        return Some(found.remedy(file("the path of the file with the token")));
    }
    let code = code?;
    let found = Found::certain(evidence.credentials.failure()?.to_string())
        .also(format!("{setting} is {path}"))
        .also(format!("the role is {}", token.role));
    Some(match code {
        "AccessDenied" => found
            .remedy(role(&format!("the role's ARN, if {} is not it", token.role)))
            .remedy(trust(&token.role)),
        "ValidationError" => {
            let found = found.remedy(role(&format!("the role's ARN, if {} is not it", token.role)));
            let found =
                found.remedy(file("the path of a file with a token of the identity provider"));
            // An empty one counts too.
            match evidence.environment.raw("AWS_ROLE_SESSION_NAME") {
                Some(_) if profile.is_none() => found
                    .also("AWS_ROLE_SESSION_NAME is set: STS takes 2 to 64 letters, digits or characters of _=,.@-")
                    .remedy(Remedy::unset("AWS_ROLE_SESSION_NAME")),
                _ => found,
            }
        }
        "IDPCommunicationError" => {
            found.remedy(Remedy::action("Try again: STS did not reach the identity provider"))
        }
        _ => found.remedy(file(
            "the path of a file with a token of the role's identity provider that has not expired",
        )),
    })
}

fn trust(role: &str) -> Remedy {
    Remedy::Policy {
        attach_to: format!("the trust of {role}"),
        document: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"<the ARN of the identity provider>"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"<provider>:aud":"<the token's audience>","<provider>:sub":"<the token's subject>"}}}]}"#.into(),
    }
}

pub(super) fn container(evidence: &Evidence) -> Option<Found> {
    let Source::Container { variable, token } = failed(evidence)? else { return None };
    if let Some(flaw) = token {
        let name = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
        let found = Found::certain(format!("the file of {name} {flaw}"));
        let found = found.titled("the token for the container's credentials cannot be read");
        return Some(found.remedy(Remedy::variable(name, "<the path of the file with the token>")));
    }
    let value = evidence.environment.get(variable).unwrap_or_default();
    let how = if said_misconfigured(evidence) {
        "is not a place that the SDK takes credentials from: https://, this machine, or the agent of ECS or EKS"
    } else if is_silent(evidence) {
        // The SDK tries again, for longer than there is time: what it met is not known then.
        "gives none in time: it is silent, refuses connections, or answers without credentials"
    } else if was_unreachable(evidence) {
        "refuses connections"
    } else {
        "answers without credentials"
    };
    // A relative one is asked of ECS's agent.
    let relative = *variable == "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
    let url = if relative { "http://169.254.170.2" } else { value };
    let server = proxy::server(url);
    let found = Found::certain(format!("{variable} leads to {server}, which {how}"))
        .titled(format!("{variable} gives no credentials"));
    if let Some(proxy) = proxy::of(&evidence.environment, url) {
        return Some(proxy.explain(found));
    }
    Some(found.remedy(Remedy::variable(
        variable,
        "<the one that ECS or EKS has set, or nothing to take another source>",
    )))
}
