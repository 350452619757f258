//! The variables of the process, as a snapshot that other variables can be laid over.

use std::collections::BTreeMap;
use std::ffi::OsString;

use rds_iam::config::sdk_roots_flaw;
use rds_iam::credentials::pasted_flaw;

use crate::credentials::evidence::Flaw;

/// The variables that hold secrets: their values never leave [`Environment::flaws`].
pub(crate) const SECRETS: [&str; 3] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// The environment to check. Credentials are read from the process itself by their providers.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The process's own.
    pub fn from_process() -> Self {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Self(std::env::vars_os().filter_map(text).collect())
    }

    pub(crate) fn raw(&self, name: &str) -> Option<OsString> {
        self.0.get(name).cloned()
    }

    /// A variable's value; empty counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().filter(|value| !value.is_empty())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Why AWS's SDK cannot be used here, if it cannot.
    pub(crate) fn without_sdk(&self) -> Option<String> {
        let (name, flaw) = sdk_roots_flaw(|name| self.raw(name))?;
        Some(format!("AWS cannot be asked: {name} {flaw}"))
    }

    /// Inside Lambda, so inside the database's network.
    pub(crate) fn is_lambda(&self) -> bool {
        self.has("AWS_LAMBDA_FUNCTION_NAME")
    }

    /// The same with variables set, or unset by an empty value.
    pub(crate) fn with(&self, changes: &[(String, String)]) -> Self {
        let mut all = self.0.clone();
        all.extend(changes.iter().map(|(name, value)| (name.clone(), value.into())));
        Self(all)
    }

    /// What is wrong with the credential variables, by name, without their values.
    pub(crate) fn flaws(&self) -> Vec<Flaw> {
        flaws(SECRETS.map(|name| self.get(name)))
    }
}

/// What an access key id and its secret show together.
pub(crate) const SWAPPED: &str = "and AWS_SECRET_ACCESS_KEY are swapped";

/// What is wrong with the parts of credentials, in the order of [`SECRETS`], without their values.
pub(crate) fn flaws(parts: [Option<&str>; 3]) -> Vec<Flaw> {
    let flaw =
        |(name, value): (&'static str, Option<&str>)| Some((name, pasted_flaw(name, value?)?));
    let found: Vec<Flaw> = SECRETS.into_iter().zip(parts).filter_map(flaw).collect();
    let [id_name, secret_name, _] = SECRETS;
    let secret_is_id =
        found.iter().any(|(name, flaw)| *name == secret_name && flaw.contains("key id"));
    // A secret has 40 characters; a key id has 20.
    if secret_is_id && parts[0].is_some_and(|id| id.len() == 40) {
        return vec![(id_name, SWAPPED)];
    }
    found
}

/// Shows names only.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
