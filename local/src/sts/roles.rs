//! `AssumeRole` and `AssumeRoleWithWebIdentity`.

use std::sync::Arc;
use std::time::Duration;

use super::form::{Form, constraint};
use super::{Refusal, Service, xml};
use crate::Result;
use crate::iam::{Caller, Circumstances, Identity, Kind, Policies, Policy, Refused, Request};
use crate::iam::{Role, Session, Tags};

/// The bounds of a role's session, in seconds, and what it lasts by default.
const ROLE_SESSION: (u32, u32, u32) = (900, 43_200, 3600);
/// The most for a role that is assumed with a role's session.
const CHAINED: u32 = 3600;
/// The longest session policy, in characters.
const LONGEST_POLICY: usize = 2048;

impl Service {
    pub(super) fn assume_role(
        &self,
        caller: &Identity,
        form: &Form,
        at: &Circumstances<'_>,
    ) -> Result<String, Refusal> {
        form.allow_only(&[
            "RoleArn",
            "RoleSessionName",
            "DurationSeconds",
            "ExternalId",
            "Policy",
            "Tags",
            "TransitiveTagKeys",
        ])?;
        let arn = form.role_arn()?;
        let name = form.session_name()?;
        let seconds = duration(form)?;
        let policy = session_policy(form)?;
        let tags = form.tags()?;
        let transitive = inherited(caller);
        let keys = form.list("TransitiveTagKeys");

        let role = self.iam.role(arn).ok_or_else(|| {
            refused(caller, "sts:AssumeRole", arn).because("there is no such role")
        })?;
        let mut context = caller.context(at);
        context.set("sts:RoleSessionName", name);
        context.set("aws:ResourceAccount", role.principal.account.as_str());
        for (key, value) in &role.principal.tags {
            context.set(&format!("aws:ResourceTag/{key}"), value.as_str());
        }
        if let Some(id) = form.get("ExternalId") {
            context.set("sts:ExternalId", id);
        }
        for (key, value) in &tags {
            context.set(&format!("aws:RequestTag/{key}"), value.as_str());
        }
        if !tags.is_empty() {
            context.set_all("aws:TagKeys", tags.iter().map(|(key, _)| key.clone()).collect());
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            context.set_all("sts:TransitiveTagKeys", keys);
        }
        let tagging = if tags.is_empty() { None } else { Some("sts:TagSession") };
        for action in std::iter::once("sts:AssumeRole").chain(tagging) {
            let account = &role.principal.account;
            caller.may(action, arn, account, Some(&role.trust), &context).map_err(|denial| {
                let refusal = refused(caller, action, arn);
                let message = match denial.is_explicit() {
                    true => format!("{} {}", refusal.message, denial.because()),
                    false => refusal.message,
                };
                Refusal { message, ..refusal }.because(denial.to_string())
            })?;
        }
        if caller.is_role_session() && seconds.unwrap_or(CHAINED) > CHAINED {
            return Err(Refusal::invalid(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            ));
        }
        let mut session_tags: Tags = tags.into_iter().collect();
        let mut transitive_keys: Vec<String> = keys.into_iter().map(str::to_owned).collect();
        for (key, value) in transitive {
            transitive_keys.push(key.clone());
            session_tags.insert(key, value);
        }
        let session = Session {
            name: Some(name.to_owned()),
            issued_at: Some(at.now),
            policy,
            tags: session_tags,
            transitive: transitive_keys,
            provider: None,
        };
        let identity = issue(&role, session, seconds, at)?;
        let xml = xml::assumed_role("AssumeRole", &identity, "");
        self.iam.add(identity);
        Ok(xml)
    }

    pub(super) fn assume_role_with_web_identity(
        &self,
        form: &Form,
        at: &Circumstances<'_>,
    ) -> Result<String, Refusal> {
        form.allow_only(&[
            "RoleArn",
            "RoleSessionName",
            "DurationSeconds",
            "Policy",
            "WebIdentityToken",
        ])?;
        let arn = form.role_arn()?;
        let name = form.session_name()?;
        let seconds = duration(form)?;
        let policy = session_policy(form)?;
        let token = form.required("WebIdentityToken")?;
        let claims = self.iam.check_web_identity(token, at.now).map_err(|why| match why {
            Refused::Expired => Refusal::invalid(
                "ExpiredTokenException",
                "Token expired: the web identity token that was passed is expired",
            ),
            Refused::Invalid(why) => Refusal::invalid(
                "InvalidIdentityToken",
                "The web identity token that was passed could not be validated by AWS",
            )
            .because(why),
        })?;
        let denied = || {
            Refusal::denied(
                "AccessDenied",
                "Not authorized to perform sts:AssumeRoleWithWebIdentity",
            )
        };
        let role = self.iam.role(arn).ok_or_else(|| denied().because("there is no such role"))?;
        let provider = claims.provider.as_str();
        let account = &role.principal.account;
        let federated = format!("arn:aws:iam::{account}:oidc-provider/{provider}");
        let mut context = at.context();
        context.set("sts:RoleSessionName", name);
        context.set("aws:FederatedProvider", federated.as_str());
        context.set(&format!("{provider}:sub"), claims.subject.as_str());
        context.set(&format!("{provider}:aud"), claims.audience.as_str());
        let caller = Caller { federated: Some(federated.clone()), ..Caller::default() };
        let request = Request {
            action: "sts:AssumeRoleWithWebIdentity",
            resource: arn,
            caller: &caller,
            context: &context,
        };
        Policies::trust_only(&role.trust)
            .evaluate(request)
            .map_err(|denial| denied().because(denial.to_string()))?;
        let session = Session {
            name: Some(name.to_owned()),
            issued_at: Some(at.now),
            policy,
            provider: Some(federated.clone()),
            ..Session::default()
        };
        let identity = issue(&role, session, seconds, at)?;
        let more = format!(
            "    <SubjectFromWebIdentityToken>{}</SubjectFromWebIdentityToken>\n    \
             <Provider>{}</Provider>\n    <Audience>{}</Audience>\n",
            xml::escape(&claims.subject),
            xml::escape(&federated),
            xml::escape(&claims.audience)
        );
        let xml = xml::assumed_role("AssumeRoleWithWebIdentity", &identity, &more);
        self.iam.add(identity);
        Ok(xml)
    }
}

/// The tags that a session hands on to the roles that it assumes.
fn inherited(caller: &Identity) -> Vec<(String, String)> {
    let session = caller.session.iter();
    session
        .flat_map(|session| {
            session
                .transitive
                .iter()
                .filter_map(|key| session.tags.get(key).map(|value| (key.clone(), value.clone())))
        })
        .collect()
}

fn duration(form: &Form) -> Result<Option<u32>, Refusal> {
    let (shortest, longest, _) = ROLE_SESSION;
    form.seconds(shortest, longest)
}

fn session_policy(form: &Form) -> Result<Option<Arc<Policy>>, Refusal> {
    let Some(text) = form.get("Policy") else { return Ok(None) };
    if text.len() > LONGEST_POLICY {
        return Err(constraint(&format!(
            "Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to {LONGEST_POLICY}"
        )));
    }
    Policy::parse(text, Kind::Identity).map(|policy| Some(Arc::new(policy))).map_err(|why| {
        Refusal::invalid("MalformedPolicyDocument", format!("The policy is not valid: {why}"))
    })
}

fn refused(caller: &Identity, action: &str, arn: &str) -> Refusal {
    Refusal::denied(
        "AccessDenied",
        format!("User: {} is not authorized to perform: {action} on resource: {arn}", caller.arn),
    )
}

/// The session's keys. They work once they are answered.
fn issue(
    role: &Role,
    session: Session,
    seconds: Option<u32>,
    at: &Circumstances<'_>,
) -> Result<Identity, Refusal> {
    let (.., default) = ROLE_SESSION;
    let seconds = seconds.unwrap_or(default);
    if seconds > role.max_session_seconds {
        return Err(Refusal::invalid(
            "ValidationError",
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    // A role's path is no part of its sessions' names.
    let role_name = role.principal.arn.rsplit('/').next().unwrap_or_default();
    let name = session.name.as_deref().unwrap_or_default();
    let arn = format!("arn:aws:sts::{}:assumed-role/{role_name}/{name}", role.principal.account);
    let expires_at = at.now + Duration::from_secs(seconds.into());
    Ok(Identity::fresh_session(arn, role.principal.clone(), Some(expires_at), session))
}
