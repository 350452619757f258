//! Who may do what: users, roles, their access keys and their policies, evaluated as IAM does.

mod condition;
mod context;
mod evaluate;
mod file;
mod ids;
mod json;
mod keys;
mod pattern;
mod policy;
mod principal;
mod provider;
mod request;
mod simulate;
#[cfg(test)]
mod tests;
mod trusted;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::{ACCOUNT, REGION, RESOURCE_ID, Result};
pub(crate) use context::Context;
pub use evaluate::Denial;
pub(crate) use evaluate::Policies;
use file::{Contents, Entity, Principals};
use ids::id_of;
pub(crate) use ids::{check_account, random};
pub use policy::{Kind, Policy};
pub use principal::Identity;
pub(crate) use principal::Principal;
pub(crate) use principal::{Circumstances, Role, Session, Tags};
use principal::{allow, connect_policy};
use provider::Provider;
pub(crate) use provider::{Claims, Refused};
pub(crate) use request::{Caller, Request};
pub(crate) use simulate::{Decision, Simulated};

/// The user whose keys the environment file holds.
pub const DEFAULT_USER: &str = "developer";
/// The role that the environment file names as an example.
const EXAMPLE_ROLE: &str = "rds-local-example";
/// The identity provider whose token lets its bearer assume that role too.
const EXAMPLE_PROVIDER: &str = "oidc.rds-local.example";
/// How long the session of the environment file's credentials lasts.
const SESSION: Duration = Duration::from_secs(12 * 3600);

/// The directory of users, roles and keys.
pub struct Iam {
    keys: Mutex<HashMap<String, Identity>>,
    users: BTreeMap<String, Arc<Principal>>,
    roles: BTreeMap<String, Arc<Role>>,
    providers: Vec<Provider>,
    account: String,
    resource_id: String,
    /// The external id of the role that the environment file names as an example.
    pub example_external_id: String,
    /// A web identity token that lets its bearer assume that role too.
    pub web_identity_token: String,
}

impl Iam {
    /// A directory with one role, which may connect as `role_user`, and no user.
    pub fn new(role_user: &str) -> Self {
        Self::for_database(ACCOUNT, RESOURCE_ID, role_user)
    }

    /// The same for a database of this account and resource id.
    pub(crate) fn for_database(account: &str, resource_id: &str, role_user: &str) -> Self {
        let (providers, token) = match Provider::with_token(EXAMPLE_PROVIDER, "rds-local") {
            Some((provider, token)) => (vec![provider], token),
            None => (Vec::new(), String::new()),
        };
        let mut iam = Self {
            keys: Mutex::default(),
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            providers,
            account: account.to_owned(),
            resource_id: resource_id.to_owned(),
            example_external_id: format!("example-{}", random(8)),
            web_identity_token: token,
        };
        iam.add_example_role(role_user);
        iam
    }

    /// A directory for a Neptune cluster: the default user and the example role may do everything on
    /// it, and the user may assume the role without an external id.
    pub(crate) fn for_cluster(account: &str, resource_id: &str) -> Self {
        let mut iam = Self::for_database(account, resource_id, "");
        let trust = serde_json::json!({ "Version": "2012-10-17", "Statement": {
            "Effect": "Allow", "Principal": { "AWS": iam.arn(&format!("user/{DEFAULT_USER}")) },
            "Action": ["sts:AssumeRole", "sts:TagSession"] } });
        if let Ok(trust) = Policy::parse(&trust.to_string(), Kind::Trust) {
            let entity = iam.cluster_rights();
            iam.add_role(account, EXAMPLE_ROLE, entity, None, trust, 3600);
        }
        iam
    }

    fn cluster_rights(&self) -> Entity {
        let policies = allow("neptune-db:*", &[self.cluster_arn()]).into_iter().collect();
        Entity { policies, boundary: None, tags: Tags::new() }
    }

    /// The resource that Neptune's data-plane actions are asked for.
    pub(crate) fn cluster_arn(&self) -> String {
        format!("arn:aws:neptune-db:{REGION}:{}:{}/*", self.account, self.resource_id)
    }

    /// Like [`Iam::default_user`], for a Neptune cluster.
    pub(crate) fn default_cluster_user(&mut self, now: SystemTime) -> Identity {
        if !self.users.contains_key(&self.arn(&format!("user/{DEFAULT_USER}"))) {
            let entity = self.cluster_rights();
            self.add_user(&self.account.clone(), DEFAULT_USER, entity, None);
        }
        self.default_user(&[], now)
    }

    /// Its trust policy names the user, so that it needs no policy of the user's.
    fn add_example_role(&mut self, role_user: &str) {
        let provider = self.arn(&format!("oidc-provider/{EXAMPLE_PROVIDER}"));
        let trust = serde_json::json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": { "AWS": self.arn(&format!("user/{DEFAULT_USER}")) },
              "Action": ["sts:AssumeRole", "sts:TagSession"],
              "Condition": { "StringEquals": { "sts:ExternalId": self.example_external_id } } },
            { "Effect": "Allow", "Principal": { "Federated": provider },
              "Action": "sts:AssumeRoleWithWebIdentity" },
        ]});
        let Ok(trust) = Policy::parse(&trust.to_string(), Kind::Trust) else { return };
        let policies = connect_policy(&[self.dbuser_arn(role_user)]).into_iter().collect();
        let entity = Entity { policies, boundary: None, tags: Tags::new() };
        self.add_role(&self.account.clone(), EXAMPLE_ROLE, entity, None, trust, 3600);
    }

    /// Adds the default user, whose policy allows `rds-db:connect` as these database users unless
    /// a file has given it others, and makes a session of its.
    pub(crate) fn default_user(&mut self, users: &[&str], now: SystemTime) -> Identity {
        let arn = self.arn(&format!("user/{DEFAULT_USER}"));
        if !self.users.contains_key(&arn) {
            let resources: Vec<String> = users.iter().map(|user| self.dbuser_arn(user)).collect();
            // doctor may ask what its policies say, and how RDS describes the database.
            let own = allow("iam:SimulatePrincipalPolicy", std::slice::from_ref(&arn));
            let instances = format!("arn:aws:rds:{REGION}:{}:db:*", self.account);
            let describe = allow("rds:DescribeDBInstances", &[instances]);
            let policies = connect_policy(&resources).into_iter().chain(own).chain(describe);
            let policies = policies.collect();
            let entity = Entity { policies, boundary: None, tags: Tags::new() };
            self.add_user(&self.account.clone(), DEFAULT_USER, entity, None);
        }
        let principal = self.users[&arn].clone();
        let session = Session { issued_at: Some(now), ..Session::default() };
        let developer = Identity::fresh_session(arn, principal, Some(now + SESSION), session);
        self.add(developer.clone());
        developer
    }

    /// Loads files of `--policy`.
    pub(crate) fn load(&mut self, paths: &[impl AsRef<Path>]) -> Result<()> {
        let mut documents = Vec::new();
        for path in paths {
            match file::read(path.as_ref())? {
                Contents::Document(policy) => documents.push(policy),
                Contents::Principals(principals) => self
                    .add_principals(*principals)
                    .map_err(|why| format!("the policy {}: {why}", path.as_ref().display()))?,
            }
        }
        if !documents.is_empty() {
            if self.users.contains_key(&self.arn(&format!("user/{DEFAULT_USER}"))) {
                return Err(format!(
                    "--policy names the user {DEFAULT_USER} and also holds a bare document, which is that user's: give one of them"
                ));
            }
            let entity = Entity { policies: documents, boundary: None, tags: Tags::new() };
            self.add_user(&self.account.clone(), DEFAULT_USER, entity, None);
        }
        Ok(())
    }

    fn add_principals(&mut self, file: Principals) -> Result<()> {
        let account = file.account.unwrap_or_else(|| self.account.clone());
        for (name, entity) in file.users {
            if !self.add_user(&account, &name, entity, file.organization.clone()) {
                return Err(format!("the user {name:?} of account {account} stands in two files"));
            }
        }
        for (name, (entity, trust, seconds)) in file.roles {
            let organization = file.organization.clone();
            if !self.add_role(&account, &name, entity, organization, trust, seconds) {
                return Err(format!("the role {name:?} of account {account} stands twice"));
            }
        }
        self.providers.extend(file.providers);
        Ok(())
    }

    fn add_user(
        &mut self,
        account: &str,
        name: &str,
        entity: Entity,
        organization: Option<principal::Organization>,
    ) -> bool {
        let user_name = name.rsplit('/').next().map(str::to_owned);
        let arn = format!("arn:aws:iam::{account}:user/{name}");
        let id = format!("AIDA{}", id_of(&arn));
        let Entity { policies, boundary, tags } = entity;
        let account = account.to_owned();
        let user =
            Principal { arn, account, id, user_name, organization, tags, policies, boundary };
        let user = Arc::new(user);
        self.add(Identity::fresh_user_key(user.clone()));
        self.users.insert(user.arn.clone(), user).is_none()
    }

    fn add_role(
        &mut self,
        account: &str,
        name: &str,
        entity: Entity,
        organization: Option<principal::Organization>,
        trust: Policy,
        max_session_seconds: u32,
    ) -> bool {
        let arn = format!("arn:aws:iam::{account}:role/{name}");
        let id = format!("AROA{}", id_of(&arn));
        let Entity { policies, boundary, tags } = entity;
        let account = account.to_owned();
        let principal = Principal {
            arn: arn.clone(),
            account,
            id,
            user_name: None,
            organization,
            tags,
            policies,
            boundary,
        };
        let role = Role { principal: Arc::new(principal), trust, max_session_seconds };
        self.roles.insert(arn, Arc::new(role)).is_none()
    }

    /// Adds an identity.
    pub fn add(&self, identity: Identity) {
        self.lock().insert(identity.access_key_id.clone(), identity);
    }

    /// The identity behind an access key.
    pub fn find(&self, access_key_id: &str) -> Option<Identity> {
        self.lock().get(access_key_id).cloned()
    }

    /// The ARN of the role that the environment file names as an example.
    pub fn example_role_arn(&self) -> String {
        self.arn(&format!("role/{EXAMPLE_ROLE}"))
    }

    /// The user or role of this ARN.
    pub(crate) fn principal(&self, arn: &str) -> Option<Arc<Principal>> {
        let role = || self.roles.get(arn).map(|role| role.principal.clone());
        self.users.get(arn).cloned().or_else(role)
    }

    /// The role of this name, whatever its path.
    pub(crate) fn role_named(&self, account: &str, name: &str) -> Option<Arc<Role>> {
        let has_name = |role: &&Arc<Role>| {
            let Principal { account: owner, arn, .. } = &*role.principal;
            owner == account && arn.rsplit('/').next() == Some(name)
        };
        self.roles.values().find(has_name).cloned()
    }

    pub(crate) fn role(&self, arn: &str) -> Option<Arc<Role>> {
        self.roles.get(arn).cloned()
    }

    /// Checks a web identity token.
    pub(crate) fn check_web_identity(
        &self,
        token: &str,
        now: SystemTime,
    ) -> Result<Claims, Refused> {
        provider::check(token, &self.providers, now)
    }

    /// Whether an identity may log in as a database user, or why not.
    pub(crate) fn may_connect(
        &self,
        identity: &Identity,
        user: &str,
        region: &str,
        source_ip: Option<IpAddr>,
        now: SystemTime,
    ) -> Result<()> {
        let resource = self.dbuser_arn(user);
        let refused = |why: String| {
            format!(
                "User: {} is not authorized to perform: rds-db:connect on resource: {resource} {why}",
                identity.arn
            )
        };
        let account = &identity.principal.account;
        if *account != self.account {
            return Err(refused(format!(
                "because it belongs to another account, {account}: assume a role of account {}",
                self.account
            )));
        }
        let mut context = identity.context(&Circumstances { now, region, source_ip });
        context.set("aws:ResourceAccount", self.account.as_str());
        identity
            .may("rds-db:connect", &resource, &self.account, None, &context)
            .map_err(|denial| refused(denial.to_string()))
    }

    fn arn(&self, rest: &str) -> String {
        format!("arn:aws:iam::{}:{rest}", self.account)
    }

    fn dbuser_arn(&self, user: &str) -> String {
        format!("arn:aws:rds-db:{REGION}:{}:dbuser:{}/{user}", self.account, self.resource_id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Identity>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Iam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (users, roles) = (self.users.keys(), self.roles.keys());
        f.debug_struct("Iam")
            .field("users", &users.collect::<Vec<_>>())
            .field("roles", &roles.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The resource that a policy names for a database user.
pub fn dbuser_arn(user: &str) -> String {
    format!("arn:aws:rds-db:{REGION}:{ACCOUNT}:dbuser:{RESOURCE_ID}/{user}")
}
