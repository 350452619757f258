//! For a function's own tests: its real binary in a sandbox, against a real PostgreSQL behind the
//! gate. An error panics, and so fails the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

pub mod emulator;
pub mod imitations;
pub mod matrix;
pub mod ports;
mod postgres_17;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::invoke::Sandbox;
use crate::lifeline::Removal;
use crate::runtime_api::{FunctionError, Outcome};
use crate::s3::S3;
use crate::{Options, Server};
pub use postgres_17::postgres_17;

/// A function that answers after its time-out by less than this was late because the machine was busy.
const GRACE: Duration = Duration::from_secs(10);

/// A server with its folder, and a function's binary with its variables. Nothing of it outlives this process.
#[derive(Debug)]
pub struct World {
    /// PostgreSQL, gate and STS.
    pub server: Server,
    /// The function's environment.
    pub variables: BTreeMap<String, String>,
    binary: PathBuf,
    folder: TempDir,
    _removal: Removal,
}

impl World {
    /// Starts a server with the demo's data, for a function's binary.
    pub async fn start(binary: impl Into<PathBuf>) -> Self {
        Self::with(binary, |options| options).await
    }

    /// Like [`World::start`], with changed options for the server.
    pub async fn with(binary: impl Into<PathBuf>, change: impl FnOnce(Options) -> Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let removal = Removal::of(&[folder.path().to_owned()]).unwrap();
        let server = Server::start(change(Options::new(folder.path()))).await.unwrap();
        let variables = server.variables();
        Self { server, variables, binary: binary.into(), folder, _removal: removal }
    }

    /// Like [`World::start`], with an S3 and its bucket [`crate::s3::BUCKET`].
    pub async fn with_s3(binary: impl Into<PathBuf>) -> Self {
        Self::with(binary, |options| Options { s3: true, ..options }).await
    }

    /// The S3 of [`World::with_s3`].
    pub fn s3(&self) -> &S3 {
        self.server.s3.as_ref().unwrap()
    }

    /// Sets a variable of the function's environment.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Replaces the function's queries by these: names without `.sql`, and texts.
    pub fn queries(&mut self, files: &[(&str, &str)]) {
        let folder = self.folder.path().join("queries");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(format!("{name}.sql")), text).unwrap();
        }
        self.set("QUERIES_DIR", folder.display().to_string());
    }

    /// Starts the function, with a time-out of 30 s.
    pub async fn function(&self) -> Function {
        self.function_with_timeout(Duration::from_secs(30)).await
    }

    /// Starts the function.
    pub async fn function_with_timeout(&self, timeout: Duration) -> Function {
        Function::start(&self.binary, &self.variables, timeout).await
    }

    /// The number of logins that the gate accepted, and the reason of each refusal.
    pub fn logins(&self) -> (usize, Vec<String>) {
        let records = self.server.gate.log().records();
        let refused = records.iter().filter_map(|record| record.outcome.clone().err()).collect();
        (records.iter().filter(|record| record.outcome.is_ok()).count(), refused)
    }

    /// Rows that the superuser reads.
    pub async fn rows(&self, sql: &str) -> Vec<tokio_postgres::Row> {
        let admin = self.server.database.superuser(crate::DATABASE).await.unwrap();
        admin.query(sql, &[]).await.unwrap()
    }

    /// Runs statements as the superuser.
    pub async fn run(&self, sql: &str) {
        let admin = self.server.database.superuser(crate::DATABASE).await.unwrap();
        admin.batch_execute(sql).await.unwrap();
    }

    /// The folder of the server's files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops the server.
    pub async fn stop(self) {
        self.server.stop().await.unwrap();
    }
}

/// A sandbox and its log.
#[derive(Debug)]
pub struct Function {
    /// The process.
    pub sandbox: Sandbox,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Function {
    /// Starts a function's binary, as [`World::function`] does.
    pub async fn start(
        binary: impl AsRef<Path>,
        variables: &BTreeMap<String, String>,
        timeout: Duration,
    ) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let log = Arc::new(move |line: &str| sink.lock().unwrap().push(line.to_owned()));
        let sandbox = Sandbox::start(binary.as_ref(), variables, timeout, log).await.unwrap();
        let sandbox = sandbox.with_grace(GRACE);
        Self { sandbox, lines }
    }

    /// Invokes the function.
    pub async fn invoke(&mut self, event: impl Into<Vec<u8>>) -> Outcome {
        self.sandbox.invoke(event.into().into()).await
    }

    /// Invokes the function, which must succeed, and returns its response.
    pub async fn ok(&mut self, event: impl Into<Vec<u8>>) -> Value {
        match self.invoke(event).await {
            Outcome::Response(body) => serde_json::from_slice(&body).unwrap(),
            Outcome::Error(body) => panic!("failed: {}", String::from_utf8_lossy(&body)),
        }
    }

    /// Invokes the function, which must fail, and returns its error.
    pub async fn error(&mut self, event: impl Into<Vec<u8>>) -> FunctionError {
        let outcome = self.invoke(event).await;
        outcome.error().unwrap_or_else(|| panic!("the invocation did not fail: {outcome:?}"))
    }

    /// The process's memory in KiB. `field` is one of Linux's `/proc/PID/status`: `VmRSS` for the
    /// current size, `VmHWM` for the peak.
    pub fn memory_kib(&self, field: &str) -> u64 {
        let process = self.sandbox.process_id().unwrap();
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Ends the sandbox, and returns its log lines.
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

/// An example's binary, which cargo builds for its package's tests.
pub fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).unwrap().join("examples").join(name)
}

/// The repository's root, from the folder of one of its functions.
pub fn root(manifest_dir: &str) -> PathBuf {
    Path::new(manifest_dir).join("../..").canonicalize().unwrap()
}

/// A random byte index at which a character of the text begins.
fn place(text: &str, random: &mut fastrand::Rng) -> usize {
    let mut at = random.usize(0..=text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Changes a text at random, for fuzzing: deletes a range, inserts a character or one of `pieces`,
/// repeats a range, or replaces the end by that of another of the `seeds`.
pub fn mutate(text: &mut String, seeds: &[String], pieces: &[&str], random: &mut fastrand::Rng) {
    for _ in 0..random.usize(1..5) {
        let (a, b) = (place(text, random), place(text, random));
        let (from, to) = (a.min(b), a.max(b));
        match random.u32(0..5) {
            0 => text.replace_range(from..to, ""),
            1 => text.insert(from, random.char(..)),
            2 => text.insert_str(from, pieces[random.usize(0..pieces.len())]),
            3 => {
                let copy = text[from..to].to_owned();
                text.insert_str(to, &copy);
            }
            _ => {
                let other = &seeds[random.usize(0..seeds.len())];
                let cut = place(other, random);
                text.replace_range(from.., &other[cut..]);
            }
        }
        if text.len() > 16 * 1024 {
            text.truncate(place(text, random).min(16_000));
        }
    }
}
