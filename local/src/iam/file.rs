//! The files of `serve --policy`: a bare policy document for the default user, or a file of
//! principals. docs/iam.md describes both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ids::check_account;
use super::json::Json;
use super::policy::{Kind, Policy};
use super::principal::{Organization, Tags};
use super::provider::Provider;

/// The content of a file.
pub(super) enum Contents {
    /// A policy document of its own: the default user's.
    Document(Policy),
    /// Users and roles of one account.
    Principals(Box<Principals>),
}

pub(super) struct Principals {
    pub(super) account: Option<String>,
    pub(super) organization: Option<Organization>,
    pub(super) users: BTreeMap<String, Entity>,
    pub(super) roles: BTreeMap<String, (Entity, Policy, u32)>,
    pub(super) providers: Vec<Provider>,
}

/// The properties that users and roles have in common.
pub(super) struct Entity {
    pub(super) policies: Vec<Policy>,
    pub(super) boundary: Option<Policy>,
    pub(super) tags: Tags,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    account: Option<String>,
    organization: Option<Organization>,
    #[serde(default)]
    users: BTreeMap<String, UserEntry>,
    #[serde(default)]
    roles: BTreeMap<String, RoleEntry>,
    #[serde(default)]
    identity_providers: BTreeMap<String, ProviderEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserEntry {
    #[serde(default)]
    policies: Vec<Json>,
    boundary: Option<Json>,
    #[serde(default)]
    tags: Tags,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RoleEntry {
    trust: Json,
    #[serde(default)]
    policies: Vec<Json>,
    boundary: Option<Json>,
    #[serde(default)]
    tags: Tags,
    #[serde(default = "one_hour")]
    max_session_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderEntry {
    audiences: Vec<String>,
    /// A JSON Web Key Set, or its file.
    keys: serde_json::Value,
}

fn one_hour() -> u32 {
    3600
}

/// Reads one file of `--policy`.
pub(super) fn read(path: &Path) -> Result<Contents, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the policy {}: {error}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    parse(&text, &folder).map_err(|why| format!("the policy {}: {why}", path.display()))
}

/// Parses such a file's text; documents that it names by path lie in this folder.
pub(super) fn parse(text: &str, folder: &Path) -> Result<Contents, String> {
    let json = Json::parse(text)?;
    let Json::Object(entries) = &json else {
        return Err(format!("it is {}, not an object", json.kind()));
    };
    if entries.iter().any(|(name, _)| name == "Statement") {
        return Policy::from_json(&json, Kind::Identity).map(Contents::Document);
    }
    let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let documents = Documents { folder: folder.to_owned() };
    let mut principals = Principals {
        account: file.account,
        organization: file.organization,
        users: BTreeMap::new(),
        roles: BTreeMap::new(),
        providers: Vec::new(),
    };
    if let Some(account) = &principals.account {
        check_account(account)?;
    }
    for (name, user) in file.users {
        let context = |why| format!("user {name:?}: {why}");
        check_name(&name).map_err(context)?;
        let entity = documents.entity(user.policies, user.boundary, user.tags).map_err(context)?;
        principals.users.insert(name, entity);
    }
    for (name, role) in file.roles {
        let context = |why| format!("role {name:?}: {why}");
        check_name(&name).map_err(context)?;
        if !(3600..=43_200).contains(&role.max_session_seconds) {
            return Err(context("max_session_seconds must be between 3600 and 43200".into()));
        }
        let trust = documents.policy("trust", &role.trust, Kind::Trust).map_err(context)?;
        let entity = documents.entity(role.policies, role.boundary, role.tags).map_err(context)?;
        principals.roles.insert(name, (entity, trust, role.max_session_seconds));
    }
    for (issuer, entry) in file.identity_providers {
        let keys = documents.keys(entry.keys);
        let provider = keys.and_then(|keys| Provider::new(&issuer, entry.audiences, &keys));
        let context = |why| format!("identity provider {issuer:?}: {why}");
        principals.providers.push(provider.map_err(context)?);
    }
    Ok(Contents::Principals(Box::new(principals)))
}

/// IAM's rule, with a path before the name allowed.
fn check_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-/".contains(c);
    if name.is_empty() || name.starts_with('/') || name.ends_with('/') || !name.chars().all(legal) {
        return Err("a name holds letters, digits and _+=,.@- only".into());
    }
    Ok(())
}

struct Documents {
    folder: PathBuf,
}

impl Documents {
    fn entity(
        &self,
        policies: Vec<Json>,
        boundary: Option<Json>,
        tags: Tags,
    ) -> Result<Entity, String> {
        let policies = policies
            .iter()
            .enumerate()
            .map(|(index, policy)| {
                self.policy(&format!("policy {}", index + 1), policy, Kind::Identity)
            })
            .collect::<Result<_, _>>()?;
        let boundary = boundary
            .map(|boundary| self.policy("boundary", &boundary, Kind::Identity))
            .transpose()?;
        Ok(Entity { policies, boundary, tags })
    }

    /// A document that stands in the file, or in a file that it names.
    fn policy(&self, what: &str, document: &Json, kind: Kind) -> Result<Policy, String> {
        let parsed = match document.text() {
            None => Policy::from_json(document, kind),
            Some(path) => self.read(path).and_then(|text| Policy::parse(&text, kind)),
        };
        parsed.map_err(|why| format!("{what}: {why}"))
    }

    fn keys(&self, keys: serde_json::Value) -> Result<serde_json::Value, String> {
        match keys.as_str() {
            None => Ok(keys),
            Some(path) => serde_json::from_str(&self.read(path)?)
                .map_err(|_| format!("{path} is not a JSON Web Key Set")),
        }
    }

    fn read(&self, path: &str) -> Result<String, String> {
        let path = self.folder.join(path);
        std::fs::read_to_string(&path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    }
}
