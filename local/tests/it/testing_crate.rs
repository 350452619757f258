//! The crate `rds-local-testing`, which users' tests call.

use std::io::{BufRead, BufReader};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rds_local_testing::{FunctionError, Server};
use serde_json::json;

use crate::common::root;
use crate::killed::wait_until;

/// Makes this test the runner that is killed.
const RUNNER: &str = "RDS_LOCAL_TESTING_RUNNER";

fn start(options: &[&str]) -> Server {
    Server::start_with(env!("CARGO_BIN_EXE_rds-local"), options)
}

fn folder(server: &Server) -> PathBuf {
    PathBuf::from(&server.variables()["RDS_LOCAL_DIR"])
}

/// What it panics with.
fn refusal(start: impl FnOnce() -> Server) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| drop(start()))).unwrap_err();
    panic.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_function_answers_and_its_server_leaves_nothing() {
    let server = start(&[]);
    let folder = folder(&server);
    let binary = Path::new(env!("CARGO_BIN_EXE_rds-local")).with_file_name("scheduled-query");
    let queries = root().join("queries").display().to_string();
    let function = server.function(binary).env("QUERIES_DIR", &queries);
    let answer = function.invoke(&json!({ "query": "customers", "params": { "min_age": 30 } }));
    assert_eq!(answer.unwrap()["row_count"], 2);
    let error = function.invoke(&json!({ "query": "customer" })).unwrap_err();
    assert_eq!(error.error_type, "Query.NotFound");
    let error = function.env("PGUSER", "nobody").invoke(&json!({ "query": "customers" }));
    assert!(
        matches!(error, Err(FunctionError { error_type, .. }) if error_type == "Auth.Rejected")
    );
    assert!(folder.join("env").is_file());
    drop(server);
    assert!(!folder.exists());
}

#[test]
fn a_failed_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("wrong.sql");
    std::fs::write(&script, "CREATE TABLE t (a nonsense);").unwrap();
    let told = refusal(|| start(&["--init", script.to_str().unwrap()]));
    assert!(told.contains("serve failed: ") && told.contains("nonsense"), "{told}");
    let told = refusal(|| Server::start_with(folder.path().join("rds-local"), &[]));
    assert!(told.contains("build rds-local, and set RDS_LOCAL"), "{told}");
    let told = refusal(|| start(&["--no-such-option"]));
    assert!(told.contains("ended before it was ready"), "{told}");
    let server = start(&[]);
    let told = refusal(|| {
        let _ = server.function("/no/such/function").invoke(&json!({}));
        start(&[])
    });
    assert!(told.contains("cannot find /no/such/function"), "{told}");
}

/// The test starts itself as a runner of tests, which starts a server and is then killed.
#[test]
fn a_killed_runner_leaves_nothing() {
    if std::env::var_os(RUNNER).is_some() {
        let server = start(&[]);
        eprintln!("folder {}", folder(&server).display());
        // Should this test itself be killed.
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let mut runner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "testing_crate::a_killed_runner_leaves_nothing", "--nocapture"])
        .env(RUNNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(runner.stderr.take().unwrap()).lines();
    let folder = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("folder ").map(PathBuf::from))
        .unwrap();
    let existed = folder.join("env").is_file();
    runner.kill().unwrap();
    runner.wait().unwrap();
    assert!(existed);
    assert!(wait_until(|| !folder.exists()), "{} is still there", folder.display());
}
