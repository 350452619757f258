//! STS, which hands out roles: it refuses, or is not reached.

use rds_iam::credentials::Failure;

use super::proxy;
use super::trouble::{Asked, Trouble, trouble};
use crate::aws::evidence::{Caller, principal_of};
use crate::cause::Found;
use crate::evidence::Evidence;
use crate::network::evidence::Dns;
use crate::remedy::Remedy;

pub(super) fn refused(evidence: &Evidence) -> Option<Found> {
    let Trouble::Refused { code, role } = trouble(evidence)? else { return None };
    let failure = evidence.credentials.failure()?;
    let caller = match (&evidence.aws.caller, failure) {
        (Caller::Is { arn, .. }, _) => principal_of(arn),
        (_, Failure::RoleRefused { caller: Some(caller), .. }) => principal_of(caller),
        _ => "<the caller>".into(),
    };
    let found =
        Found::certain(failure.to_string()).titled(format!("STS refuses the role {}", role.arn()));
    let found = accounts(found, &caller, role.arn());
    let (found, external) = settings(found, role)?;
    // Nothing that a policy says makes a request valid.
    if code == "ValidationError" {
        return Some(found);
    }
    let condition = external.map_or(String::new(), |name| {
        format!(r#","Condition":{{"StringEquals":{{"sts:ExternalId":"<what {name} holds>"}}}}"#)
    });
    let trust = format!(
        r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"{caller}"}},"Action":"sts:AssumeRole"{condition}}}]}}"#
    );
    let attach_to = format!("the trust of {}", role.arn());
    Some(found.remedy(Remedy::Policy { attach_to, document: trust }).remedy(Remedy::allow(
        caller,
        "sts:AssumeRole",
        role.arn(),
    )))
}

/// The settings to check, and the one that holds the external id; `None` for a web identity, whose
/// refusal has its own cause.
fn settings(found: Found, role: Asked<'_>) -> Option<(Found, Option<&'static str>)> {
    let said = |set| match set {
        true => "is set: it must be the one that the trust policy asks for",
        false => "is not set: a trust policy that asks for one refuses",
    };
    match role {
        Asked::WebIdentity(_) => None,
        Asked::Configured(role) => {
            let name = "DB_ROLE_EXTERNAL_ID";
            let is_set = role.external_id.is_some();
            let arn = format!("<the role's ARN, if {} is not it>", role.arn);
            let id = "<the id that the role's owner gave you, if its trust policy asks for one>";
            let found = found
                .also(format!("{name} {}", said(is_set)))
                .remedy(Remedy::variable("DB_ROLE_ARN", arn))
                .remedy(Remedy::variable(name, id));
            Some((found, is_set.then_some(name)))
        }
        Asked::Profile(role) => {
            let (name, place) = ("external_id", &role.place);
            let check = format!(
                "In {place}: check that role_arn is the role's ARN, and that {name} is the one that the role's owner gave you"
            );
            let found = found
                .also(format!(
                    "the role is that of {place}, where {name} {}",
                    said(role.external_id)
                ))
                .remedy(Remedy::action(check));
            Some((found, role.external_id.then_some(name)))
        }
    }
}

/// STS answers the same for a role that does not exist.
fn accounts(found: Found, caller: &str, role: &str) -> Found {
    let account = |arn: &str| arn.split(':').nth(4).unwrap_or_default().to_owned();
    let (ours, theirs) = (account(caller), account(role));
    if ours.is_empty() || ours == theirs {
        return found.also("STS gives the same answer for a role that does not exist, and for a Deny in either policy");
    }
    found.also(format!("the role's account is {theirs}, and the caller's is {ours}: STS gives the same answer for a role that does not exist"))
}

pub(super) fn unreachable(evidence: &Evidence) -> Option<Found> {
    let Trouble::Unreachable { role, answered } = trouble(evidence)? else { return None };
    let environment = &evidence.environment;
    let default = "us-east-1".to_owned();
    let region = evidence.config().map_or(&default, |config| &config.common.sts_region);
    let usual = format!("https://sts.{region}.amazonaws.com");
    let set = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| Some((name, environment.get(name)?)));
    let how =
        if answered { "what answered is not STS" } else { "it was not reached, or did not answer" };
    let seen = format!("{} is assumed through STS: {how}", role.arn());
    // Without names, nothing is reached.
    let unnamed = evidence.network.dns == Dns::Silent && !answered;
    let mut found = if unnamed { Found::possible(seen) } else { Found::certain(seen) };
    if answered {
        found = found.titled("another server answers in the place of STS");
    }
    let proxy = proxy::of(environment, set.map_or(usual.as_str(), |(_, url)| url));
    if let Some(proxy) = &proxy {
        found = proxy.explain(found);
    }
    if let Some((name, url)) = set {
        found = found.also(format!("{name} leads to {}", proxy::server(url)));
    }
    if proxy.is_some() {
        return Some(found);
    }
    if let Some((name, _)) = set {
        let value = format!("<the URL of an STS that can be reached, or nothing: {usual}>");
        return Some(found.remedy(Remedy::variable(name, value)));
    }
    Some(found.remedy(Remedy::command(format!(
        "aws ec2 create-vpc-endpoint --vpc-endpoint-type Interface --service-name com.amazonaws.{region}.sts --private-dns-enabled --vpc-id <the function's VPC> --subnet-ids <its subnets> --security-group-ids <a group that lets 443 in>"
    ))))
}
