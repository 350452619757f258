//! The calls of IAM that doctor makes: `SimulatePrincipalPolicy`, and `GetRole` for a role's path
//! (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html>).

use super::form::Form;
use super::refusal::Refusal;
use super::roles::refused;
use super::{Service, xml};
use crate::iam::{Circumstances, Decision, Identity};

impl Service {
    pub(super) fn simulate_principal_policy(
        &self,
        caller: &Identity,
        form: &Form,
        at: &Circumstances<'_>,
    ) -> Result<String, Refusal> {
        form.allow_only(&["PolicySourceArn", "ActionNames", "ResourceArns"])?;
        let source = form.required("PolicySourceArn")?;
        permit(caller, "iam:SimulatePrincipalPolicy", source, at)?;
        let principal = self
            .iam
            .principal(source)
            .ok_or_else(|| no_such_entity(&format!("The principal {source} cannot be found.")))?;
        let (actions, mut resources) = (form.list("ActionNames"), form.list("ResourceArns"));
        if actions.is_empty() {
            form.required("ActionNames")?;
        }
        if resources.is_empty() {
            resources.push("*");
        }
        let mut results = String::new();
        for action in &actions {
            for resource in &resources {
                let simulated = principal.simulate(action, resource, at);
                let decision = match simulated.decision {
                    Decision::Allowed => "allowed",
                    Decision::ImplicitDeny => "implicitDeny",
                    Decision::ExplicitDeny => "explicitDeny",
                };
                results += &xml::evaluation(action, resource, decision, &simulated);
            }
        }
        Ok(xml::simulation(&results))
    }

    pub(super) fn get_role(
        &self,
        caller: &Identity,
        form: &Form,
        at: &Circumstances<'_>,
    ) -> Result<String, Refusal> {
        form.allow_only(&["RoleName"])?;
        let name = form.required("RoleName")?;
        let account = &caller.principal.account;
        let role = self.iam.role_named(account, name);
        let arn = match &role {
            Some(role) => role.principal.arn.clone(),
            None => format!("arn:aws:iam::{account}:role/{name}"),
        };
        permit(caller, "iam:GetRole", &arn, at)?;
        let role = role.ok_or_else(|| {
            no_such_entity(&format!("The role with name {name} cannot be found."))
        })?;
        Ok(xml::role(&role.principal))
    }
}

fn no_such_entity(message: &str) -> Refusal {
    Refusal::new(axum::http::StatusCode::NOT_FOUND, "NoSuchEntity", message)
}

pub(super) fn permit(
    caller: &Identity,
    action: &str,
    resource: &str,
    at: &Circumstances<'_>,
) -> Result<(), Refusal> {
    let account = &caller.principal.account;
    caller.may(action, resource, account, None, &caller.context(at)).map_err(|denial| {
        let mut refusal = refused(caller, action, resource);
        refusal.message = format!("{} {}", refusal.message, denial.because());
        refusal.because(denial.to_string())
    })
}
