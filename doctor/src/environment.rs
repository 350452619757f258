//! The variables of the process, as a snapshot that other variables can be laid over.

use std::collections::BTreeMap;
use std::ffi::OsString;

use rds_iam::config::sdk_roots_problem;
use rds_iam::credentials::{KEY_VARIABLES, KeyFlaw, key_flaws};

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
        let problem = sdk_roots_problem(|name| self.raw(name))?;
        Some(format!("AWS cannot be asked: {problem}"))
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

    /// The flaws of the credential variables, whose values never leave this function.
    pub(crate) fn key_flaws(&self) -> Vec<(&'static str, KeyFlaw)> {
        key_flaws(KEY_VARIABLES.map(|name| self.get(name)))
    }
}

/// Shows names only.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
