//! `AssumeRole` and `AssumeRoleWithWebIdentity`.

use std::sync::Arc;
use std::time::Duration;

use super::form::{Form, constraint};
use super::refusal::Refusal;
use super::{Service, xml};
use crate::Result;
use crate::iam::{Caller, Circumstances, Context, Identity, Kind, Policies, Policy, Refused};
use crate::iam::{Request, Role, Session};

/// The bounds of a role's session, in seconds, and what it lasts by default.
const ROLE_SESSION: (u32, u32, u32) = (900, 43_200, 3600);
/// The most for a role that is assumed with a role's session.
const CHAINED: u32 = 3600;
/// The longest session policy, in characters.
const LONGEST_POLICY: usize = 2048;

/// The session of a role that a request asks for.
struct Wanted<'a> {
    role: &'a str,
    name: &'a str,
    seconds: Option<u32>,
    policy: Option<Arc<Policy>>,
    tags: Vec<(String, String)>,
    transitive: Vec<&'a str>,
}

impl<'a> Wanted<'a> {
    fn read(form: &'a Form) -> Result<Self, Refusal> {
        let (shortest, longest, _) = ROLE_SESSION;
        Ok(Self {
            role: form.role_arn()?,
            name: form.session_name()?,
            seconds: form.seconds(shortest, longest)?,
            policy: session_policy(form)?,
            tags: form.tags()?,
            transitive: form.list("TransitiveTagKeys"),
        })
    }

    /// Refuses tags that the session would not have as they are asked for.
    fn check_tags(&self, inherited: &[(String, String)]) -> Result<(), Refusal> {
        let wrong = |why: &str| Err(Refusal::invalid("InvalidParameterValue", why));
        let given = |key: &str| self.tags.iter().any(|(k, _)| k.eq_ignore_ascii_case(key));
        if inherited.iter().any(|(key, _)| given(key)) {
            return wrong(
                "One of the specified transitive tag keys can't be set because it conflicts with a transitive tag key from the calling session.",
            );
        }
        if !self.transitive.iter().all(|key| given(key)) {
            return wrong(
                "The specified transitive tag key must be included in the requested tags.",
            );
        }
        Ok(())
    }

    /// Adds the condition keys of the request and of the role.
    fn describe(&self, role: &Role, context: &mut Context) {
        context.set("sts:RoleSessionName", self.name);
        context.set("aws:ResourceAccount", role.principal.account.as_str());
        for (key, value) in &role.principal.tags {
            context.set(&format!("aws:ResourceTag/{key}"), value.as_str());
        }
        if self.tags.is_empty() {
            return;
        }
        for (key, value) in &self.tags {
            context.set(&format!("aws:RequestTag/{key}"), value.as_str());
        }
        context.set_all("aws:TagKeys", self.tags.iter().map(|(key, _)| key.clone()).collect());
        let transitive = self.transitive.iter().map(|key| (*key).to_owned()).collect();
        context.set_all("sts:TransitiveTagKeys", transitive);
    }

    /// The session's keys. They work once they are answered.
    fn issue(
        self,
        role: &Role,
        inherited: Vec<(String, String)>,
        provider: Option<String>,
        at: &Circumstances<'_>,
    ) -> Result<Identity, Refusal> {
        let (.., default) = ROLE_SESSION;
        let seconds = self.seconds.unwrap_or(default);
        if seconds > role.max_session_seconds {
            return Err(Refusal::invalid(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ));
        }
        // A role's path is no part of its sessions' names.
        let role_name = role.principal.arn.rsplit('/').next().unwrap_or_default();
        let (account, name) = (&role.principal.account, self.name);
        let arn = format!("arn:aws:sts::{account}:assumed-role/{role_name}/{name}");
        let mut transitive: Vec<String> = self.transitive.into_iter().map(str::to_owned).collect();
        transitive.extend(inherited.iter().map(|(key, _)| key.clone()));
        let session = Session {
            name: Some(name.to_owned()),
            issued_at: Some(at.now),
            policy: self.policy,
            tags: self.tags.into_iter().chain(inherited).collect(),
            transitive,
            provider,
        };
        let expires_at = at.now + Duration::from_secs(seconds.into());
        Ok(Identity::fresh_session(arn, role.principal.clone(), Some(expires_at), session))
    }
}

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
        let wanted = Wanted::read(form)?;
        let external_id = form.external_id()?;
        let role = self.iam.role(wanted.role).ok_or_else(|| {
            refused(caller, "sts:AssumeRole", wanted.role).because("there is no such role")
        })?;
        let mut context = caller.context(at);
        wanted.describe(&role, &mut context);
        if let Some(id) = external_id {
            context.set("sts:ExternalId", id);
        }
        authorize(caller, "sts:AssumeRole", &role, &context)?;
        if !wanted.tags.is_empty() {
            authorize(caller, "sts:TagSession", &role, &context)?;
        }
        if caller.is_role_session() && wanted.seconds.is_some_and(|seconds| seconds > CHAINED) {
            return Err(Refusal::invalid(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.",
            ));
        }
        let inherited = inherited(caller);
        wanted.check_tags(&inherited)?;
        let identity = wanted.issue(&role, inherited, None, at)?;
        let xml = xml::assumed_role(&identity);
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
        let wanted = Wanted::read(form)?;
        let token = form.required("WebIdentityToken")?;
        let claims = self.iam.check_web_identity(token, at.now).map_err(invalid_token)?;
        let role =
            self.iam.role(wanted.role).ok_or_else(|| not_trusted("there is no such role"))?;

        let name = claims.provider.as_str();
        let account = &role.principal.account;
        let provider = format!("arn:aws:iam::{account}:oidc-provider/{name}");
        let mut context = at.context();
        wanted.describe(&role, &mut context);
        context.set("aws:FederatedProvider", provider.as_str());
        context.set(&format!("{name}:sub"), claims.subject.as_str());
        context.set(&format!("{name}:aud"), claims.audience.as_str());
        let caller = Caller { federated: Some(provider.clone()), ..Caller::default() };
        let request = Request {
            action: "sts:AssumeRoleWithWebIdentity",
            resource: wanted.role,
            caller: &caller,
            context: &context,
        };
        let verdict = Policies::trust_only(&role.trust).evaluate(request);
        verdict.map_err(|denial| not_trusted(&denial.to_string()))?;

        let identity = wanted.issue(&role, Vec::new(), Some(provider.clone()), at)?;
        let xml = xml::assumed_role_with_web_identity(&identity, &claims, &provider);
        self.iam.add(identity);
        Ok(xml)
    }
}

/// Whether a caller's policies and a role's trust policy allow an action on the role.
fn authorize(
    caller: &Identity,
    action: &str,
    role: &Role,
    context: &Context,
) -> Result<(), Refusal> {
    let (arn, account) = (&role.principal.arn, &role.principal.account);
    caller.may(action, arn, account, Some(&role.trust), context).map_err(|denial| {
        let mut refusal = refused(caller, action, arn);
        // STS says so of an explicit deny only.
        if denial.is_explicit() {
            refusal.message = format!("{} {}", refusal.message, denial.because());
        }
        refusal.because(denial.to_string())
    })
}

fn invalid_token(why: Refused) -> Refusal {
    match why {
        Refused::Expired(message) => Refusal::invalid("ExpiredTokenException", message),
        Refused::Invalid(message) => Refusal::invalid("InvalidIdentityToken", message),
    }
}

fn not_trusted(why: &str) -> Refusal {
    let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity";
    Refusal::denied("AccessDenied", message).because(why)
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

fn session_policy(form: &Form) -> Result<Option<Arc<Policy>>, Refusal> {
    let Some(text) = form.get("Policy") else { return Ok(None) };
    if text.chars().count() > LONGEST_POLICY {
        return Err(constraint(&format!(
            "Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to {LONGEST_POLICY}"
        )));
    }
    Policy::parse(text, Kind::Identity).map(|policy| Some(Arc::new(policy))).map_err(|why| {
        Refusal::invalid("MalformedPolicyDocument", format!("The policy is not valid: {why}"))
    })
}

/// The caller may not.
pub(super) fn refused(caller: &Identity, action: &str, arn: &str) -> Refusal {
    Refusal::denied(
        "AccessDenied",
        format!("User: {} is not authorized to perform: {action} on resource: {arn}", caller.arn),
    )
}
