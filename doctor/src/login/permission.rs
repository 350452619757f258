//! The token is right, and RDS refuses it all the same: policies, and RDS's own limits.

use rds_iam::endpoint::EndpointKind;
use rds_iam::postgres::Refusal;

use crate::aws::evidence::{Caller, Decision, RdsLog, Simulation, dbuser_arn};
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::remedy::Remedy;

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "policy-denies",
        title: "a policy forbids rds-db:connect as this user on this database",
        seen: "the token is refused, and IAM's simulation says `explicitDeny`, or that a permissions boundary or the organization does not allow it",
        remedy: "what to change in the Deny, in the boundary, or in the organization's policy; another Allow does not help",
        find: policy_denies,
    },
    Cause {
        id: "policy",
        title: "no policy of the caller allows rds-db:connect as this user on this database",
        seen: "the token is refused, its signer is known to STS, and nothing else is wrong; IAM's simulation says `implicitDeny`, or RDS's log NotAuthorized",
        remedy: "the policy, with account, region, resource id and user",
        find: policy,
    },
    Cause {
        id: "throttled",
        title: "RDS throttles the logins",
        seen: "the token is refused now and then, or for many sandboxes that start at once; RDS's log says ThrottlingException, or its metrics count it",
        remedy: "keep connections, or put RDS Proxy in front",
        find: throttled,
    },
    Cause {
        id: "rds-cannot-check",
        title: "RDS cannot check tokens at the moment",
        seen: "the token is refused, and RDS's log says InternalError, or its metrics count it",
        remedy: "try again; if it lasts, ask AWS Support",
        find: cannot_check,
    },
];

/// The resource that a policy must name, with what is not known in `<…>`.
fn resource(evidence: &Evidence) -> Option<String> {
    let config = evidence.config()?;
    let placeholder = match config.endpoint.kind {
        EndpointKind::Proxy => "<prx-…>",
        EndpointKind::Instance | EndpointKind::Other => "<db-…>",
        _ => "<cluster-…>",
    };
    let database = evidence.database();
    let id = database.and_then(|d| d.resource_id.as_deref()).unwrap_or(placeholder);
    let account = database.and_then(|d| d.account.as_deref()).or(evidence.aws.caller.account());
    Some(dbuser_arn(config, account.unwrap_or("<account>"), id))
}

/// Whose policy it is: a role of IAM Identity Center has those of its permission set only.
fn holder(evidence: &Evidence) -> String {
    let principal = evidence.principal();
    let role = principal.rsplit('/').next().and_then(|name| name.strip_prefix("AWSReservedSSO_"));
    match role.and_then(|name| name.rsplit_once('_')) {
        Some((set, _)) => format!("the permission set {set} of IAM Identity Center"),
        None => principal,
    }
}

fn policy_denies(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::Token) {
        return None;
    }
    let Simulation::Says(says) = &evidence.reasons.simulation else { return None };
    let seen = evidence.simulated()?;
    let found = if says.missing.is_empty() { Found::certain(seen) } else { Found::likely(seen) };
    let resource = resource(evidence)?;
    Some(match &says.decision {
        Decision::ExplicitDeny(policies) => {
            let place = match policies.as_slice() {
                [] => format!("the policies of {}", says.principal),
                names => format!("the policy {} of {}", names.join(", "), says.principal),
            };
            found.remedy(Remedy::action(format!(
                "In {place}, take rds-db:connect on {resource} out of the Deny"
            )))
        }
        Decision::Boundary => found.remedy(Remedy::allow(
            format!("the permissions boundary of {}", says.principal),
            "rds-db:connect",
            &resource,
        )),
        Decision::Organization => found.remedy(Remedy::action(format!(
            "Ask the organization's administrators to allow rds-db:connect on {resource} in the service control policies of this account"
        ))),
        _ => return None,
    })
}

fn policy(evidence: &Evidence) -> Option<Found> {
    let denied = matches!(&evidence.reasons.simulation, Simulation::Says(says)
        if matches!(says.decision, Decision::ExplicitDeny(_) | Decision::Boundary | Decision::Organization));
    if denied || !evidence.refused(Refusal::Token) {
        return None;
    }
    let resource = resource(evidence)?;
    let decided = evidence.decided();
    let mut found = match (decided, evidence.logged()) {
        (Some(Decision::ImplicitDeny), _) => Found::certain("no policy of the caller allows it"),
        (_, Some(("NotAuthorized", said))) => Found::certain(said),
        (Some(Decision::Allowed), None) if is_role_session(evidence) => {
            return session_policy(evidence, &resource);
        }
        (Some(Decision::Allowed), said) => {
            let found = Found::possible("only a condition of a policy can still deny it");
            said.into_iter().fold(found, |found, (_, said)| found.also(said))
        }
        (_, Some((_, said))) => Found::possible(said),
        (_, None) if evidence.counted().is_some_and(|c| c.insufficient_permissions == 0) => {
            Found::possible("TLS and rds_iam are right, and the token was refused")
        }
        (_, None) => Found::likely("TLS and rds_iam are right, and the token was refused"),
    };
    if let Some(said) = evidence.simulated() {
        found = found.also(said);
    } else if evidence.aws.caller.account().is_some() {
        found = found.also("STS knows its signer, so the keys are good");
    }
    if let Some(said) = evidence.said_count() {
        found = found.also(said);
    }
    if evidence.reasons.log == RdsLog::NotExported {
        found = found.also(
            "RDS gives the true reason in its log iam-db-auth-error, which it does not export here",
        );
    } else if evidence.logged().is_none() && decided.is_none() {
        found = found.also("RDS gives the true reason in its log iam-db-auth-error only");
    }
    let found = found.remedy(Remedy::allow(holder(evidence), "rds-db:connect", &resource));
    Some(if resource.contains('<') { found.remedy(resource_id(evidence)?) } else { found })
}

fn is_role_session(evidence: &Evidence) -> bool {
    matches!(&evidence.aws.caller, Caller::Is { arn, .. } if arn.contains(":assumed-role/"))
}

/// IAM's simulation does not include session policies: whoever assumes a role can give the session a narrower
/// one.
fn session_policy(evidence: &Evidence, resource: &str) -> Option<Found> {
    let found = Found::likely(evidence.simulated()?);
    Some(found.also("a session has a policy of its own, if the role was assumed with one")
        .titled("the policy of the role's session does not allow rds-db:connect")
        .remedy(Remedy::action(format!(
            "Assume the role without a session policy, or with one that allows rds-db:connect on {resource}"
        ))))
}

/// Where the id stands that a policy names.
fn resource_id(evidence: &Evidence) -> Option<Remedy> {
    let endpoint = &evidence.config()?.endpoint;
    let id = endpoint.host.split('.').next().unwrap_or_default();
    let command = match endpoint.kind {
        EndpointKind::Proxy => format!(
            "aws rds describe-db-proxies --db-proxy-name {id} --query 'DBProxies[0].DBProxyArn'"
        ),
        EndpointKind::Instance => format!(
            "aws rds describe-db-instances --db-instance-identifier {id} --query 'DBInstances[0].DbiResourceId'"
        ),
        EndpointKind::ClusterWriter | EndpointKind::ClusterReader => format!(
            "aws rds describe-db-clusters --db-cluster-identifier {id} --query 'DBClusters[0].DbClusterResourceId'"
        ),
        // The name tells no identifier.
        EndpointKind::Other => {
            "aws rds describe-db-instances --query 'DBInstances[].[Endpoint.Address,DbiResourceId]'"
                .to_owned()
        }
        _ => "aws rds describe-db-clusters --query 'DBClusters[].[Endpoint,DbClusterResourceId]'"
            .to_owned(),
    };
    Some(Remedy::command(command))
}

fn throttled(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::Token) {
        return None;
    }
    let counts = evidence.counted().filter(|counts| counts.throttling > 0);
    let found = match (evidence.logged(), counts) {
        (Some(("ThrottlingException", said)), _) => Found::certain(said),
        (None, Some(counts)) if counts.insufficient_permissions == 0 => {
            Found::likely(evidence.said_count()?)
        }
        (None, None) if evidence.decided() == Some(&Decision::Allowed) => Found::likely(
            "the caller's policies allow the login, and nothing else is wrong with it",
        ),
        _ => Found::possible("a throttled login gets the same answer as a refused token"),
    };
    Some(found.remedy(Remedy::action(
        "Try again after a second; let fewer sandboxes start at once, or put RDS Proxy in front",
    )))
}

fn cannot_check(evidence: &Evidence) -> Option<Found> {
    if !evidence.refused(Refusal::Token) {
        return None;
    }
    let counts = evidence.counted().filter(|counts| counts.server_error > 0);
    let found = match (evidence.logged(), counts) {
        (Some(("InternalError", said)), _) => Found::certain(said),
        (None, Some(counts)) if counts.insufficient_permissions + counts.throttling == 0 => {
            Found::likely(evidence.said_count()?)
        }
        _ => return None,
    };
    Some(found.remedy(Remedy::action(
        "Try again in a minute; if it lasts, ask AWS Support, and name the database and the time",
    )))
}
