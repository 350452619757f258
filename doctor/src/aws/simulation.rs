//! IAM's simulation of the caller's policies. It knows no session policy, and no condition key of the
//! login, such as the address that it comes from.
//! <https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>

use std::time::Duration;

use aws_sdk_iam::Client;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_iam::types::{EvaluationResult, PolicyEvaluationDecisionType};

use super::refused::{Refused, When};
use crate::aws::evidence::{Caller, Decision, Simulated, Simulation, dbuser_arn, principal_of};
use crate::report::{Status, Step};

pub(crate) async fn run(refused: &Refused<'_>, when: When) -> Simulation {
    let Caller::Is { arn, account, before_role: false } = refused.caller else {
        return Simulation::Unknown;
    };
    // IAM answers for principals of the caller's own account only.
    let own = refused.database.account.as_ref().is_none_or(|owner| owner == account);
    let Some(id) = refused.database.resource_id.as_ref().filter(|_| own) else {
        return Simulation::Unknown;
    };
    let Some(service) = refused.service("IAM") else { return Simulation::Unreachable };
    let client = Client::new(&service);
    let resource = dbuser_arn(refused.config, account, id);
    let answer = async {
        let principal = principal_of(arn);
        match simulate(&client, &principal, &resource).await {
            // STS leaves a role's path out, and IAM asks for it.
            Simulation::NoSuchPrincipal => match with_path(&client, &principal).await {
                Some(principal) => simulate(&client, &principal, &resource).await,
                None => Simulation::NoSuchPrincipal,
            },
            answer => answer,
        }
    };
    when.within(answer, Simulation::Unreachable).await
}

async fn simulate(client: &Client, principal: &str, resource: &str) -> Simulation {
    let call = client
        .simulate_principal_policy()
        .policy_source_arn(principal)
        .action_names("rds-db:connect")
        .resource_arns(resource);
    match call.send().await {
        Ok(answer) => match answer.evaluation_results() {
            [result, ..] => Simulation::Says(read(result, principal)),
            [] => Simulation::Unreachable,
        },
        Err(SdkError::ServiceError(error)) if error.err().code() == Some("NoSuchEntity") => {
            Simulation::NoSuchPrincipal
        }
        Err(SdkError::ServiceError(_)) => Simulation::Denied,
        Err(_) => Simulation::Unreachable,
    }
}

async fn with_path(client: &Client, role: &str) -> Option<String> {
    let (_, name) = role.rsplit_once(":role/")?;
    let found = client.get_role().role_name(name).send().await.ok()?;
    let arn = found.role()?.arn();
    (arn != role).then(|| arn.to_owned())
}

fn read(result: &EvaluationResult, principal: &str) -> Simulated {
    let organization = result.organizations_decision_detail();
    let boundary = result.permissions_boundary_decision_detail();
    let decision = match result.eval_decision() {
        PolicyEvaluationDecisionType::Allowed => Decision::Allowed,
        _ if organization.is_some_and(|detail| !detail.allowed_by_organizations()) => {
            Decision::Organization
        }
        PolicyEvaluationDecisionType::ExplicitDeny => {
            let statements = result.matched_statements().iter();
            let policies = statements.filter_map(|statement| statement.source_policy_id());
            Decision::ExplicitDeny(policies.map(plain).collect())
        }
        _ if boundary.is_some_and(|detail| !detail.allowed_by_permissions_boundary()) => {
            Decision::Boundary
        }
        _ => Decision::ImplicitDeny,
    };
    let missing = result.missing_context_values().iter().map(|key| plain(key)).collect();
    Simulated { decision, principal: principal.to_owned(), missing }
}

/// A name without what could break a line or a terminal.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(128).collect()
}

pub(crate) fn step(simulation: &Simulation, took: Duration) -> Step {
    let (status, found) = match simulation {
        Simulation::Unknown => {
            (Status::Skipped, "the caller or the resource id is not known".to_owned())
        }
        Simulation::Says(says) => {
            let allowed = says.decision == Decision::Allowed;
            (if allowed { Status::Ok } else { Status::Failed }, says.to_string())
        }
        Simulation::Denied => {
            (Status::Unknown, "the caller may not call iam:SimulatePrincipalPolicy".to_owned())
        }
        Simulation::NoSuchPrincipal => {
            let path = "the role has a path, which iam:GetRole would tell";
            (Status::Unknown, format!("IAM does not know the caller: {path}"))
        }
        Simulation::Unreachable => (Status::Unknown, "IAM cannot be reached".to_owned()),
    };
    Step::new("iam-simulation", status, took, found)
}
