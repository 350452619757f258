//! A sandbox: a function's real binary behind a Runtime API, with an environment like Lambda's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::Result;
use crate::lifeline::Group;
use crate::runtime_api::{Outcome, RuntimeApi};

/// Lambda stops a function at its time-out; here it may still finish its log.
const GRACE: Duration = Duration::from_millis(200);

/// How long Lambda waits after its SIGTERM, for a function with an internal extension
/// (<https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html>).
const SHUTDOWN: Duration = Duration::from_millis(500);

/// Takes the function's log, line by line.
pub type LogSink = Arc<dyn Fn(&str) + Send + Sync>;

/// A running function. Dropping it kills the process and its children, and so does the end of this process.
pub struct Sandbox {
    api: RuntimeApi,
    child: Child,
    _group: Group,
    log_readers: JoinSet<()>,
    timeout: Duration,
    grace: Duration,
}

impl Sandbox {
    /// Starts a function's binary with `variables`, the variables that Lambda sets, and those of this
    /// process that the loader and the log level need.
    pub async fn start(
        binary: &Path,
        variables: &BTreeMap<String, String>,
        timeout: Duration,
        log: LogSink,
    ) -> Result<Self> {
        let function = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let api = RuntimeApi::start(&function).await?;
        let group = Group::start()?;
        let mut command = Command::new(binary);
        command.env_clear();
        for name in [
            "PATH",
            "HOME",
            "LD_LIBRARY_PATH",
            "RUST_LOG",
            "RUST_BACKTRACE",
            "AWS_LAMBDA_LOG_LEVEL",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command
            .env("AWS_LAMBDA_RUNTIME_API", api.address.to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", &function)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_LOG_FORMAT", "JSON")
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches this process, which then stops the function in order.
            .process_group(group.id())
            .spawn()
            .map_err(|error| {
                format!("cannot run {}: {error}; build it with cargo build", binary.display())
            })?;
        let mut log_readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            log_readers.spawn(read_lines(stdout, log.clone()));
        }
        if let Some(stderr) = child.stderr.take() {
            log_readers.spawn(read_lines(stderr, log));
        }
        Ok(Self { api, child, _group: group, log_readers, timeout, grace: GRACE })
    }

    /// Runs one invocation, with its own request id. Lambda's error is the outcome if the
    /// function crashes or exceeds its time-out.
    pub async fn invoke(&mut self, event: Bytes) -> Outcome {
        self.invoke_as(&Uuid::new_v4().to_string(), event).await
    }

    /// Changes the time-out of the invocations that follow.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Waits this much longer than the time-out before it stops the function: for tests, where a busy machine may
    /// not have run the function in time.
    pub fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Runs one invocation with this request id: Lambda repeats an asynchronous invocation that
    /// failed with the id that it had.
    pub async fn invoke_as(&mut self, request_id: &str, event: Bytes) -> Outcome {
        let error = |kind: &str, message: String| {
            let body = serde_json::json!({ "errorType": kind, "errorMessage": message });
            Outcome::Error(body.to_string().into())
        };
        tokio::select! {
            outcome = timeout(self.timeout + self.grace, self.api.invoke(request_id, event, self.timeout)) => match outcome {
                Ok(Some(outcome)) => outcome,
                Ok(None) => error("Runtime.ExitError", "the runtime ended without a response".into()),
                Err(_) => {
                    let _ = self.child.start_kill();
                    let seconds = self.timeout.as_secs_f64();
                    error("Sandbox.Timedout", format!("Task timed out after {seconds:.2} seconds"))
                }
            },
            status = self.child.wait() => {
                let status = status.map(|status| status.to_string()).unwrap_or_default();
                error("Runtime.ExitError", format!("the function's process ended: {status}"))
            }
        }
    }

    /// Freezes the process, as Lambda does with a sandbox between invocations.
    pub fn freeze(&self) -> bool {
        self.signal(Signal::SIGSTOP)
    }

    /// Ends a freeze.
    pub fn thaw(&self) -> bool {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> bool {
        let pid = self.process_id().and_then(|pid| i32::try_from(pid).ok());
        pid.is_some_and(|pid| nix::sys::signal::kill(Pid::from_raw(pid), signal).is_ok())
    }

    /// The process, while it runs.
    pub fn process_id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends the process as Lambda does: with SIGTERM first if it registered an extension. Returns when
    /// its last log lines are read.
    pub async fn stop(mut self) {
        if self.api.has_extension() && self.signal(Signal::SIGTERM) {
            let _ = timeout(SHUTDOWN, self.child.wait()).await;
        }
        let _ = self.child.kill().await;
        while self.log_readers.join_next().await.is_some() {}
    }
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("api", &self.api).finish_non_exhaustive()
    }
}

async fn read_lines(from: impl AsyncRead + Unpin, log: LogSink) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log(&line);
    }
}

/// Finds a function's binary: by its name beside this binary, where cargo puts both, or by its path.
pub fn find_function(name: &str) -> Result<PathBuf> {
    if name.contains('/') {
        let path = PathBuf::from(name);
        let missing = || format!("cannot find {name}; build the function first");
        return if path.is_file() { Ok(path) } else { Err(missing()) };
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(legal) {
        return Err(format!(
            "{name:?} is not a function's name; functions/ has one folder for each function"
        ));
    }
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = this.parent().unwrap_or(Path::new("."));
    let binary = folder.join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    Err(format!(
        "cannot find the function {name} ({}); functions/ has one folder for each function: cargo build --package {name}",
        binary.display()
    ))
}
