//! Who may do what: access keys, the identities behind them, policies and one role.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use crate::{ACCOUNT, REGION, RESOURCE_ID};

/// An access key with everything that stands behind it.
#[derive(Clone)]
pub struct Identity {
    /// `AKIA…` for a user's key, `ASIA…` for a session's.
    pub access_key_id: String,
    /// The secret that signatures are made with.
    pub secret_access_key: String,
    /// What a session's requests must carry too.
    pub session_token: Option<String>,
    /// When a session's key dies.
    pub expires_at: Option<SystemTime>,
    /// The principal, as CloudTrail would name it.
    pub arn: String,
    /// Resources that its policy allows `rds-db:connect` on, `*` and `?` being wildcards.
    pub may_connect: Vec<String>,
    /// Roles that it may assume.
    pub may_assume: Vec<String>,
}

/// A role with its trust policy's condition.
#[derive(Clone, Debug)]
pub struct Role {
    /// The role's name.
    pub name: String,
    /// `sts:ExternalId` must equal this.
    pub external_id: String,
    /// The longest session, in seconds.
    pub max_session_seconds: u32,
    /// Resources that its policy allows `rds-db:connect` on.
    pub may_connect: Vec<String>,
}

impl Role {
    /// The role's ARN.
    pub fn arn(&self) -> String {
        format!("arn:aws:iam::{ACCOUNT}:role/{}", self.name)
    }
}

/// The directory of identities and roles.
pub struct Iam {
    identities: Mutex<HashMap<String, Identity>>,
    /// The role that the environment file names as an example.
    pub role: Role,
    /// The one web identity token that lets its bearer assume that role too.
    pub web_identity_token: String,
}

impl Iam {
    /// A directory with one role, which may connect as `role_user`.
    pub fn new(role_user: &str) -> Self {
        let role = Role {
            name: "rds-local-example".into(),
            external_id: format!("example-{}", random(8)),
            max_session_seconds: 3600,
            may_connect: vec![dbuser_arn(role_user)],
        };
        Self { identities: Mutex::default(), role, web_identity_token: random(64) }
    }

    /// Adds an identity.
    pub fn add(&self, identity: Identity) {
        self.lock().insert(identity.access_key_id.clone(), identity);
    }

    /// The identity behind an access key.
    pub fn find(&self, access_key_id: &str) -> Option<Identity> {
        self.lock().get(access_key_id).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Identity>> {
        self.identities.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Iam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Iam").field("role", &self.role).finish_non_exhaustive()
    }
}

impl Identity {
    /// A session: fresh keys for a principal.
    pub fn session(arn: String, expires_at: Option<SystemTime>, may_connect: Vec<String>) -> Self {
        Self {
            access_key_id: format!("ASIA{}", random(16).to_ascii_uppercase()),
            secret_access_key: random(40),
            session_token: Some(random(120)),
            expires_at,
            arn,
            may_connect,
            may_assume: Vec::new(),
        }
    }

    /// Whether its policy allows `rds-db:connect` as a database user.
    pub fn may_connect_as(&self, user: &str) -> bool {
        let resource = dbuser_arn(user);
        self.may_connect.iter().any(|pattern| wildcard(pattern.as_bytes(), resource.as_bytes()))
    }

    /// Whether its key is dead.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("arn", &self.arn).finish_non_exhaustive()
    }
}

/// The resource that a policy names for a database user.
pub fn dbuser_arn(user: &str) -> String {
    format!("arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:{RESOURCE_ID}/{user}")
}

/// IAM's wildcards: `*` for any text, `?` for one character.
fn wildcard(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            wildcard(rest, text)
                || text.split_first().is_some_and(|(_, tail)| wildcard(pattern, tail))
        }
        (Some((b'?', rest)), Some((_, tail))) => wildcard(rest, tail),
        (Some((p, rest)), Some((t, tail))) => p == t && wildcard(rest, tail),
        _ => false,
    }
}

/// Letters and digits that nobody can guess.
pub(crate) fn random(length: usize) -> String {
    // fastrand is seeded from the OS; these secrets guard demo data on one's own machine.
    (0..length).map(|_| fastrand::alphanumeric()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_exact_but_for_wildcards() {
        let identity = |pattern: String| Identity::session("arn".into(), None, vec![pattern]);
        assert!(identity(dbuser_arn("app")).may_connect_as("app"));
        assert!(!identity(dbuser_arn("app")).may_connect_as("App"));
        assert!(!identity(dbuser_arn("app")).may_connect_as("app2"));
        assert!(identity(dbuser_arn("app_*")).may_connect_as("app_reader"));
        assert!(identity(dbuser_arn("app?")).may_connect_as("app2"));
        assert!(!identity(dbuser_arn("*").replace("db-", "cluster-")).may_connect_as("app"));
    }

    #[test]
    fn debug_masks_keys() {
        let identity = Identity::session("arn:x".into(), None, vec![]);
        let debug = format!("{identity:?}");
        assert!(debug.contains("arn:x") && !debug.contains(&identity.secret_access_key));
        assert!(!debug.contains(&identity.access_key_id));
    }
}
