//! The real binary in a sandbox, against a real PostgreSQL behind the gate.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its part of this"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rds_local::invoke::Sandbox;
use rds_local::runtime_api::{FunctionError, Outcome};
use rds_local::{Options, Server};
use serde_json::Value;
use tempfile::TempDir;

pub const BINARY: &str = env!("CARGO_BIN_EXE_scheduled-query");

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A file of `events/scheduled-query`.
pub fn event(name: &str) -> Vec<u8> {
    std::fs::read(root().join("events/scheduled-query").join(name)).unwrap()
}

/// A server with its folder and the variables for a function.
pub struct World {
    pub server: Server,
    pub variables: BTreeMap<String, String>,
    folder: TempDir,
}

impl World {
    pub async fn start() -> Self {
        Self::with(|options| options).await
    }

    pub async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(change(Options::new(folder.path()))).await.unwrap();
        let mut variables = server.variables();
        variables.insert("QUERIES_DIR".into(), root().join("queries").display().to_string());
        Self { server, variables, folder }
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
    }

    /// A folder of query files for this test alone.
    pub fn queries(&mut self, files: &[(&str, &str)]) {
        let folder = self.folder.path().join("queries");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(format!("{name}.sql")), text).unwrap();
        }
        self.set("QUERIES_DIR", folder.display().to_string());
    }

    pub async fn function(&self) -> Function {
        self.function_with_timeout(Duration::from_secs(30)).await
    }

    pub async fn function_with_timeout(&self, timeout: Duration) -> Function {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let log = Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
        let sandbox =
            Sandbox::start(Path::new(BINARY), &self.variables, timeout, log).await.unwrap();
        Function { sandbox, lines }
    }

    /// Logins that the gate accepted, and reasons of those it refused.
    pub fn logins(&self) -> (usize, Vec<String>) {
        let records = self.server.gate.log().records();
        let refused = records.iter().filter_map(|record| record.outcome.clone().err()).collect();
        (records.iter().filter(|record| record.outcome.is_ok()).count(), refused)
    }

    pub async fn stop(self) {
        self.server.stop().await.unwrap();
    }
}

/// A sandbox, with what it logged.
pub struct Function {
    pub sandbox: Sandbox,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Function {
    pub async fn invoke(&mut self, event: impl Into<Vec<u8>>) -> Outcome {
        self.sandbox.invoke(event.into().into()).await
    }

    pub async fn ok(&mut self, event: impl Into<Vec<u8>>) -> Value {
        match self.invoke(event).await {
            Outcome::Response(body) => serde_json::from_slice(&body).unwrap(),
            Outcome::Error(body) => panic!("failed: {}", String::from_utf8_lossy(&body)),
        }
    }

    pub async fn error(&mut self, event: impl Into<Vec<u8>>) -> FunctionError {
        let outcome = self.invoke(event).await;
        outcome.error().unwrap_or_else(|| panic!("an error was expected, not {outcome:?}"))
    }

    /// Ends the sandbox, and gives back everything that it wrote.
    pub async fn stop(self) -> Vec<String> {
        self.sandbox.stop().await;
        let lines = self.lines.lock().unwrap();
        lines.clone()
    }
}

/// The summary lines in a log.
pub fn summaries(log: &[String]) -> Vec<Value> {
    log.iter()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|_| panic!("not JSON: {line}"))
        })
        .filter(|line| line["message"].as_str().is_some_and(|m| m.starts_with("invocation ")))
        .collect()
}
