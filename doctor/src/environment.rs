//! The variables of the process, as a snapshot that other variables can be laid over.

use std::collections::BTreeMap;
use std::ffi::OsString;

use rds_iam::config::sdk_roots_problem;
use rds_iam::credentials::{KEY_VARIABLES, KeyFlaw, key_flaws};

use crate::engine::Engine;

/// The environment to check. Credentials are read from the process itself by their providers.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>, Engine);

impl Environment {
    /// The process's own.
    pub fn from_process() -> Self {
        let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value));
        Self(std::env::vars_os().filter_map(text).collect(), Engine::default())
    }

    /// The engines whose endpoint is set; else the one of which another variable is set, or PostgreSQL.
    pub fn engines(&self) -> Vec<Engine> {
        let named = |engine: &Engine| self.has(engine.host_variable());
        let named: Vec<Engine> = Engine::ALL.into_iter().filter(named).collect();
        if !named.is_empty() {
            return named;
        }
        let any = |engine: &Engine| self.0.keys().any(|name| name.starts_with(engine.prefix()));
        vec![Engine::ALL.into_iter().find(any).unwrap_or_default()]
    }

    /// The engine that this environment is for.
    pub(crate) fn engine(&self) -> Engine {
        self.1
    }

    /// The same for an engine: its variables under libpq's names, which the shared stages read, and no other
    /// variables of libpq's.
    pub(crate) fn for_engine(&self, engine: Engine) -> Self {
        let mut all = self.0.clone();
        if engine == Engine::Postgres {
            return Self(all, engine);
        }
        all.retain(|name, _| !name.starts_with("PG") && name != "DB_PROXY");
        for (libpq, own) in engine.names() {
            if let Some(value) = self.raw(own).filter(|value| !value.is_empty()) {
                all.insert((*libpq).to_owned(), value);
            }
        }
        // libpq's default would be PostgreSQL's.
        if !all.contains_key("PGPORT") {
            all.insert("PGPORT".into(), engine.usual_port().to_string().into());
        }
        if engine == Engine::Neptune {
            for name in ["PGUSER", "PGDATABASE"] {
                all.insert(name.into(), "none".into());
            }
        }
        Self(all, engine)
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
        Self(all, self.1)
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
