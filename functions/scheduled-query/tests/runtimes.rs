//! The same binary answers under runtimes of others: AWS's runtime interface emulator, and
//! `cargo lambda watch` with `cargo lambda invoke`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::root;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::process::{Child, Command};

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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    command
}

async fn wait_for_port(port: u16, child: &mut Child) {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended instead of listening");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing listens on port {port}");
}

fn rows(body: &[u8]) -> usize {
    let response: Value = serde_json::from_slice(body)
        .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(body)));
    assert_eq!(response["query"], "customers", "{response}");
    response["rows"].as_array().unwrap().len()
}

/// AWS's runtime interface emulator, from the SAM CLI.
async fn emulator(folder: &Path) -> PathBuf {
    let site = helper("venv-sam/lib");
    let emulator = Command::new("find")
        .arg(site)
        .args([
            "-name",
            if cfg!(target_arch = "aarch64") {
                "aws-lambda-rie-arm64"
            } else {
                "aws-lambda-rie-x86_64"
            },
        ])
        .output()
        .await
        .unwrap();
    let emulator = String::from_utf8(emulator.stdout).unwrap();
    // The wheel does not mark it executable.
    let executable = folder.join("aws-lambda-rie");
    std::fs::copy(emulator.lines().next().unwrap(), &executable).unwrap();
    std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o700)).unwrap();
    executable
}

#[tokio::test]
async fn awss_runtime_interface_emulator() {
    let world = common::start().await;
    let (port, api) = (free_port(), free_port());
    let folder = tempfile::tempdir().unwrap();
    let executable = emulator(folder.path()).await;
    let mut child = quiet(&executable)
        .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
        .args(["--runtime-api-address", &format!("127.0.0.1:{api}")])
        .arg(common::BINARY)
        .env("AWS_LAMBDA_FUNCTION_NAME", "scheduled-query")
        .envs(&world.variables)
        .process_group(0)
        .spawn()
        .unwrap();
    wait_for_port(port, &mut child).await;
    let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/function/invocations");
    for (file, expected) in
        [("customers.json", Some(3)), ("scheduler.json", Some(3)), ("malformed.json", None)]
    {
        let answer = Command::new("curl")
            .args(["-sS", "--max-time", "30", "--data-binary"])
            .arg(format!("@{}", root().join("events/scheduled-query").join(file).display()))
            .arg(&url)
            .output()
            .await
            .unwrap();
        assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
        match expected {
            Some(count) => assert_eq!(rows(&answer.stdout), count, "{file}"),
            None => {
                let error: Value = serde_json::from_slice(&answer.stdout).unwrap();
                assert_eq!(error["errorType"], "Event.Invalid", "{file}");
            }
        }
    }
    assert_eq!(world.logins(), (1, vec![]));
    // The emulator starts the function as a child of its own: end the whole group.
    let group = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    killpg(group, Signal::SIGKILL).unwrap();
    child.wait().await.unwrap();
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
        assert_eq!(rows(&answer.stdout), 3);
    }
    assert_eq!(world.logins(), (1, vec![]));
    function.kill().await.unwrap();
    watch.kill().await.unwrap();
    world.stop().await;
}
