//! The same binary answers under runtimes of others: AWS's runtime interface emulator, and
//! `cargo lambda watch` with `cargo lambda invoke`.

use crate::common;

use std::path::PathBuf;
use std::process::Stdio;

use common::root;
use rds_local::testing::emulator::Emulator;
use rds_local::testing::ports::{free_port, wait_for_port};
use serde_json::Value;
use tokio::process::Command;

/// A file of the tests' Python environment, which `make test` installs.
fn helper(path: &str) -> PathBuf {
    let path = root().join("target").join(path);
    assert!(
        path.exists(),
        "{} is missing: run make test, or local/setup.sh --tests",
        path.display()
    );
    path
}

fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

fn rows(response: &Value) -> usize {
    assert_eq!(response["query"], "customers", "{response}");
    response["rows"].as_array().unwrap().len()
}

#[tokio::test]
async fn awss_runtime_interface_emulator() {
    let world = common::start().await;
    let emulator = Emulator::start(&root(), common::BINARY.as_ref(), &world.variables).await;
    for name in ["customers.json", "scheduler.json"] {
        assert_eq!(rows(&emulator.invoke(&common::event(name)).await), 3, "{name}");
    }
    let error = emulator.invoke(&common::event("malformed.json")).await;
    assert_eq!(error["errorType"], "Event.Invalid");
    assert_eq!(world.logins(), (1, vec![]));
    drop(emulator);
    world.stop().await;
}

#[tokio::test]
async fn cargo_lambda_watch_and_invoke() {
    let world = common::start().await;
    let cargo_lambda = helper("venv/bin/cargo-lambda");
    let port = free_port();
    // Its Runtime API alone, for a function named `_`: the binary that is built already.
    let mut watch = quiet(&cargo_lambda)
        .args(["lambda", "watch", "--only-lambda-apis", "--invoke-address", "127.0.0.1"])
        .args(["--invoke-port", &port.to_string()])
        .current_dir(root())
        .spawn()
        .unwrap();
    wait_for_port(port, &mut watch).await;
    let mut function = quiet(common::BINARY)
        .env("AWS_LAMBDA_RUNTIME_API", format!("http://127.0.0.1:{port}/.rt"))
        .env("AWS_LAMBDA_FUNCTION_NAME", "_")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .envs(&world.variables)
        .spawn()
        .unwrap();
    for _ in 0..2 {
        let answer = Command::new(&cargo_lambda)
            .args(["lambda", "invoke", "_", "--invoke-address", "127.0.0.1"])
            .args(["--invoke-port", &port.to_string(), "--data-file"])
            .arg(root().join("events/scheduled-query/customers.json"))
            .current_dir(root())
            .output()
            .await
            .unwrap();
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        assert_eq!(rows(&serde_json::from_slice(&answer.stdout).unwrap()), 3);
    }
    assert_eq!(world.logins(), (1, vec![]));
    function.kill().await.unwrap();
    watch.kill().await.unwrap();
    world.stop().await;
}
