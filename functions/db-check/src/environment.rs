//! The variables of the process, as a snapshot that other variables can be laid over.

use std::collections::BTreeMap;
use std::ffi::OsString;

use rds_iam::credentials::pasted_flaw;

/// The variables that hold secrets: their values never leave [`Environment::flaws`].
pub(crate) const SECRETS: [&str; 3] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// The environment to check. Credentials are read from the process itself by their providers.
#[derive(Clone)]
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
    pub(crate) fn flaws(&self) -> Vec<(&'static str, &'static str)> {
        let flaw = |name: &'static str| Some((name, pasted_flaw(name, self.get(name)?)?));
        SECRETS.into_iter().filter_map(flaw).collect()
    }
}

/// Shows names only.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
