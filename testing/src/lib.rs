//! Tests of a Lambda function of your own: its real binary, as Lambda runs it, on a real PostgreSQL that accepts IAM
//! tokens only.
//!
//! The program `rds-local` does the work: its path is in the environment variable `RDS_LOCAL`, or it is in `PATH`. An
//! error of the set-up panics, and so fails the test. Nothing outlives the test's process, even if that is killed.
//!
//! ```no_run
//! use rds_local_testing::Server;
//! use serde_json::json;
//!
//! let server = Server::start(&["--init", "tests/data.sql"]);
//! let function = server.function("target/debug/orders");
//! assert_eq!(function.invoke(&json!({ "customer": "Alice" })), Ok(json!({ "orders": 2 })));
//! let nobody = json!({ "customer": "Nobody" });
//! let error = function.invoke(&nobody).unwrap_err();
//! assert_eq!(error.error_type, "Orders.None");
//! ```

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The server's folder goes with it, however this process ends. `rds-local` ends with its standard input.
const SERVE: &str = r#"folder=$(mktemp -d) || exit
"$0" serve --json --dir "$folder" "$@"
code=$?
rm -rf "$folder"
exit $code"#;

/// A server starts in half a second, and in more on a busy machine.
const START: Duration = Duration::from_secs(120);
/// A server ends within a second.
const END: Duration = Duration::from_secs(30);

/// A database with IAM authentication. It ends when this value is dropped.
pub struct Server {
    program: OsString,
    process: Child,
    input: Option<ChildStdin>,
    variables: BTreeMap<String, String>,
}

impl Server {
    /// Starts a server with these options of `rds-local serve`, such as `--init tests/data.sql`. Without options it
    /// has the demo's data. Paths are relative to the folder of the crate under test.
    ///
    /// # Panics
    /// If `rds-local` is missing, or the server does not start.
    pub fn start(options: &[&str]) -> Self {
        let program = std::env::var_os("RDS_LOCAL").filter(|path| !path.is_empty());
        Self::start_with(program.unwrap_or_else(|| "rds-local".into()), options)
    }

    /// The same, with the program `rds-local` at this path.
    ///
    /// # Panics
    /// As [`Server::start`].
    pub fn start_with(program: impl Into<OsString>, options: &[&str]) -> Self {
        let program = program.into();
        let mut process = Command::new("/bin/sh")
            .args(["-c", SERVE])
            .arg(&program)
            .args(options)
            // Ctrl-C reaches the tests only, so that the shell lives to remove the folder.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start /bin/sh: {error}"));
        if let Some(log) = process.stderr.take() {
            show(log);
        }
        let (input, output) = (process.stdin.take(), process.stdout.take());
        let mut server = Self { program, process, input, variables: BTreeMap::new() };
        match output.and_then(first_line) {
            None => panic!("rds-local serve was not ready within {} s", START.as_secs()),
            Some(line) => server.variables = server.read(&line),
        }
        server
    }

    /// The variables of the ready line.
    fn read(&mut self, line: &str) -> BTreeMap<String, String> {
        // What it is not holds keys.
        let ready: Value = serde_json::from_str(line).unwrap_or_default();
        match ready["event"].as_str() {
            Some("ready") => {}
            Some(_) => panic!("rds-local serve failed: {}", text(&ready["reason"])),
            None => self.fail_without_line(),
        }
        let variables = ready["variables"].as_object().into_iter().flatten();
        variables.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    fn fail_without_line(&mut self) -> ! {
        let program = self.program.display();
        match self.process.wait().map(|status| status.code()) {
            Ok(Some(126 | 127)) => panic!(
                "cannot run {program}: build rds-local, and set RDS_LOCAL to its path or add its folder to PATH"
            ),
            ended => panic!(
                "{program} serve ended before it was ready: {ended:?}; its errors stand above"
            ),
        }
    }

    /// The variables that a client needs, as in `DIR/env`. They hold keys.
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    /// A function by the path of its binary: `env!("CARGO_BIN_EXE_…")` of the crate under test.
    pub fn function(&self, binary: impl AsRef<OsStr>) -> Function<'_> {
        Function { server: self, binary: binary.as_ref().to_owned(), variables: Vec::new() }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("process", &self.process.id()).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let pause = Duration::from_millis(20);
        for _ in 0..END.as_millis() / pause.as_millis() {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(pause);
        }
    }
}

/// A function's binary, with its environment.
#[derive(Clone, Debug)]
pub struct Function<'a> {
    server: &'a Server,
    binary: OsString,
    variables: Vec<String>,
}

/// What a failed invocation answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// Its `errorType`.
    pub error_type: String,
    /// Its `errorMessage`.
    pub message: String,
}

impl Function<'_> {
    /// Sets a variable of the function's environment. It overrides the server's.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.push(format!("{name}={value}"));
        self
    }

    /// Starts the function, sends it an event, and returns its answer. The function has 30 seconds. If the test fails,
    /// its output has the function's log.
    ///
    /// # Errors
    /// The function's own error.
    ///
    /// # Panics
    /// If the function does not start, or its answer is not JSON.
    pub fn invoke(&self, event: &Value) -> Result<Value, FunctionError> {
        let output = self.run(&event.to_string()).unwrap_or_else(|error| {
            panic!("cannot run {} invoke: {error}", self.server.program.display())
        });
        let log = String::from_utf8_lossy(&output.stderr);
        eprint!("{log}");
        match (output.status.code(), serde_json::from_slice::<Value>(&output.stdout)) {
            (Some(0), Ok(answer)) => Ok(answer),
            (Some(1), Ok(error)) => Err(FunctionError {
                error_type: text(&error["errorType"]),
                message: text(&error["errorMessage"]),
            }),
            _ => panic!("{} did not answer: {log}", self.binary.display()),
        }
    }

    fn run(&self, event: &str) -> std::io::Result<Output> {
        let mut command = Command::new(&self.server.program);
        command.arg("invoke").arg(&self.binary).args(["--event", "/dev/stdin", "--dir"]);
        command.arg(self.server.variables.get("RDS_LOCAL_DIR").map_or("", String::as_str));
        for variable in &self.variables {
            command.args(["--env", variable]);
        }
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        if let Some(mut input) = process.stdin.take() {
            // If it ended before it read the event, its errors say why.
            let _ = input.write_all(event.as_bytes());
        }
        process.wait_with_output()
    }
}

/// The first line; `None` if there is none in time.
fn first_line(output: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let (mut output, mut line) = (BufReader::new(output), String::new());
        let _ = output.read_line(&mut line);
        let _ = sender.send(line);
        let _ = std::io::copy(&mut output, &mut std::io::sink());
    });
    receiver.recv_timeout(START).ok()
}

/// Shows the server's log, which says why it refuses a login, with the test's output.
fn show(log: ChildStderr) {
    std::thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).for_each(|line| eprintln!("{line}"));
    });
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
