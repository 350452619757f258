//! Users, roles, and the access keys that speak for them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::context::Context;
use super::evaluate::{Denial, Policies};
use super::ids::random;
use super::policy::{Kind, Policy};
use super::request::{Caller, Request};
use crate::{ACCOUNT, sigv4};

/// Tags, by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// A user or a role, with the policies attached to it.
#[derive(Debug, Default)]
pub(crate) struct Principal {
    /// `arn:aws:iam::123456789012:user/name`, or `…:role/name`.
    pub(crate) arn: String,
    /// Its account's number.
    pub(crate) account: String,
    /// `AIDA…` or `AROA…`, as `aws:userid` shows it.
    pub(crate) id: String,
    /// A user's name, for `aws:username`; a role has none.
    pub(crate) user_name: Option<String>,
    /// Its account's organization.
    pub(crate) organization: Option<Organization>,
    /// Its tags.
    pub(crate) tags: Tags,
    /// Its identity policies.
    pub(crate) policies: Vec<Policy>,
    /// Its permissions boundary.
    pub(crate) boundary: Option<Policy>,
}

/// An organization, as condition keys show it.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Organization {
    /// `o-a1b2c3d4e5`
    pub(crate) id: String,
    /// `o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/`
    pub(crate) path: Option<String>,
}

/// A role: a principal that others may become.
#[derive(Debug)]
pub(crate) struct Role {
    pub(crate) principal: Arc<Principal>,
    /// Who may.
    pub(crate) trust: Policy,
    /// The longest session, in seconds.
    pub(crate) max_session_seconds: u32,
}

/// The properties of a session that its user or role does not have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Session {
    /// A role session's name; `None` for a user's session.
    pub(crate) name: Option<String>,
    /// When it was issued.
    pub(crate) issued_at: Option<SystemTime>,
    /// The policy that it was made with.
    pub(crate) policy: Option<Arc<Policy>>,
    /// Session tags.
    pub(crate) tags: Tags,
    /// Keys of the tags that a next role in the chain takes over.
    pub(crate) transitive: Vec<String>,
    /// The identity provider, for a web identity.
    pub(crate) provider: Option<String>,
}

/// An access key with everything that stands behind it.
#[derive(Clone)]
pub struct Identity {
    /// `AKIA…` for a user's key, `ASIA…` for a session's.
    pub access_key_id: String,
    /// The secret that signatures are made with.
    pub secret_access_key: String,
    /// The token that a session's requests must carry too.
    pub session_token: Option<String>,
    /// When a session's key dies.
    pub expires_at: Option<SystemTime>,
    /// The principal, as CloudTrail would name it.
    pub arn: String,
    pub(crate) principal: Arc<Principal>,
    /// `None` for a user's long-term key.
    pub(crate) session: Option<Session>,
}

impl Identity {
    /// Fresh keys of a session whose policy allows `rds-db:connect` on these resources.
    pub fn session(arn: String, expires_at: Option<SystemTime>, may_connect: Vec<String>) -> Self {
        let principal = Arc::new(Principal::that_may_connect(&arn, &may_connect));
        Self::fresh_session(arn, principal, expires_at, Session::default())
    }

    /// A user with the given access keys, whose policy allows `rds-db:connect` on these resources.
    pub fn with_key(
        access_key_id: &str,
        secret_access_key: &str,
        session_token: Option<String>,
        arn: &str,
        may_connect: &[String],
    ) -> Self {
        Self {
            access_key_id: access_key_id.into(),
            secret_access_key: secret_access_key.into(),
            session: session_token.as_ref().map(|_| Session::default()),
            session_token,
            expires_at: None,
            arn: arn.into(),
            principal: Arc::new(Principal::that_may_connect(arn, may_connect)),
        }
    }

    /// A user with the given access keys and identity policies, each a JSON document.
    ///
    /// # Errors
    /// If a document is not an identity policy; the text says why.
    pub fn with_policies(
        access_key_id: &str,
        secret_access_key: &str,
        arn: &str,
        documents: &[&str],
    ) -> crate::Result<Self> {
        let mut principal = Principal::that_may_connect(arn, &[]);
        let parse = |document: &&str| Policy::parse(document, Kind::Identity);
        principal.policies = documents.iter().map(parse).collect::<Result<_, _>>()?;
        let mut identity = Self::with_key(access_key_id, secret_access_key, None, arn, &[]);
        identity.principal = Arc::new(principal);
        Ok(identity)
    }

    pub(crate) fn fresh_session(
        arn: String,
        principal: Arc<Principal>,
        expires_at: Option<SystemTime>,
        session: Session,
    ) -> Self {
        Self {
            access_key_id: format!("ASIA{}", random(16).to_ascii_uppercase()),
            secret_access_key: random(40),
            session_token: Some(random(120)),
            expires_at,
            arn,
            principal,
            session: Some(session),
        }
    }

    pub(crate) fn fresh_user_key(principal: Arc<Principal>) -> Self {
        Self {
            access_key_id: format!("AKIA{}", random(16).to_ascii_uppercase()),
            secret_access_key: random(40),
            session_token: None,
            expires_at: None,
            arn: principal.arn.clone(),
            principal,
            session: None,
        }
    }

    /// Whether its key is dead.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }

    /// Whether it is a role's session, so that a role assumed with it is chained.
    pub(crate) fn is_role_session(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.name.is_some())
    }

    /// The principal's tags, a session's in place of its role's.
    pub(crate) fn tags(&self) -> Tags {
        let mut tags = self.principal.tags.clone();
        tags.extend(self.session.iter().flat_map(|session| session.tags.clone()));
        tags
    }

    /// `aws:userid`
    pub(crate) fn user_id(&self) -> String {
        match self.session.as_ref().and_then(|session| session.name.as_ref()) {
            Some(name) => format!("{}:{name}", self.principal.id),
            None => self.principal.id.clone(),
        }
    }

    /// The condition keys that every request of its has.
    pub(crate) fn context(&self, at: &Circumstances<'_>) -> Context {
        let Principal { account, arn, user_name, organization, .. } = &*self.principal;
        let mut context = at.context();
        context.set("aws:PrincipalArn", arn.as_str());
        context.set("aws:PrincipalAccount", account.as_str());
        context.set("aws:userid", self.user_id());
        let role = self.is_role_session();
        context.set("aws:PrincipalType", if role { "AssumedRole" } else { "User" });
        if let Some(name) = user_name {
            context.set("aws:username", name.as_str());
        }
        if let Some(Organization { id, path }) = organization {
            context.set("aws:PrincipalOrgID", id.as_str());
            if let Some(path) = path {
                context.set_all("aws:PrincipalOrgPaths", vec![path.clone()]);
            }
        }
        for (key, value) in self.tags() {
            context.set(&format!("aws:PrincipalTag/{key}"), value);
        }
        if let Some(session) = &self.session {
            context.set("aws:MultiFactorAuthPresent", "false");
            if let Some(time) = session.issued_at {
                context.set("aws:TokenIssueTime", sigv4::iso8601(time));
            }
            if let Some(provider) = &session.provider {
                context.set("aws:FederatedProvider", provider.as_str());
            }
        }
        context
    }

    /// Who it is to a trust policy.
    pub(crate) fn caller(&self) -> Caller {
        Caller {
            arn: self.arn.clone(),
            role: self.is_role_session().then(|| self.principal.arn.clone()),
            account: self.principal.account.clone(),
            federated: None,
        }
    }

    /// Whether its policies allow an action on a resource in an account; a role that is assumed
    /// has its trust policy's say too.
    pub(crate) fn may(
        &self,
        action: &str,
        resource: &str,
        account: &str,
        trust: Option<&Policy>,
        context: &Context,
    ) -> Result<(), Denial> {
        let policies = Policies {
            identity: &self.principal.policies,
            boundary: self.principal.boundary.as_ref(),
            session: self.session.as_ref().and_then(|session| session.policy.as_deref()),
            trust,
            same_account: account == self.principal.account,
        };
        policies.evaluate(Request { action, resource, caller: &self.caller(), context })
    }
}

/// Time and place of a request, for its condition keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    pub(crate) now: SystemTime,
    pub(crate) region: &'a str,
    pub(crate) source_ip: Option<IpAddr>,
}

impl Circumstances<'_> {
    pub(crate) fn context(&self) -> Context {
        let mut context = Context::default();
        let epoch = sigv4::seconds_between(SystemTime::UNIX_EPOCH, self.now);
        context.set("aws:CurrentTime", sigv4::iso8601(self.now));
        context.set("aws:EpochTime", epoch.to_string());
        context.set("aws:RequestedRegion", self.region);
        context.set("aws:SecureTransport", "true");
        if let Some(address) = self.source_ip {
            context.set("aws:SourceIp", address.to_canonical().to_string());
        }
        context
    }
}

impl Principal {
    /// A principal whose only policy allows `rds-db:connect` on these resources.
    fn that_may_connect(arn: &str, resources: &[String]) -> Self {
        Self {
            arn: arn.to_owned(),
            account: ACCOUNT.into(),
            id: "AIDARDSLOCALEXAMPLE0".into(),
            user_name: arn.rsplit_once('/').map(|(_, name)| name.to_owned()),
            policies: connect_policy(resources).into_iter().collect(),
            ..Self::default()
        }
    }
}

/// An identity policy that allows `rds-db:connect` on these resources; none without any.
pub(crate) fn connect_policy(resources: &[String]) -> Option<Policy> {
    allow("rds-db:connect", resources)
}

/// An identity policy that allows an action on these resources; none without any.
pub(crate) fn allow(action: &str, resources: &[String]) -> Option<Policy> {
    let document = serde_json::json!({
        "Version": "2008-10-17",
        "Statement": { "Effect": "Allow", "Action": action, "Resource": resources },
    });
    // Only an empty list of resources, or a text that is no ARN, allows nothing at all.
    Policy::parse(&document.to_string(), Kind::Identity).ok()
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("arn", &self.arn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iam::dbuser_arn;

    #[test]
    fn debug_masks_keys() {
        let identity = Identity::session("arn:x".into(), None, vec![dbuser_arn("u")]);
        let debug = format!("{identity:?}");
        assert!(debug.contains("arn:x") && !debug.contains(&identity.secret_access_key));
        assert!(!debug.contains(&identity.access_key_id));
    }
}
