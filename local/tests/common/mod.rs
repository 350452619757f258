//! A server in a temporary folder, and the programs of others that talk to it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its part of this"
)]

pub mod aws;
pub mod clinic;
pub mod cluster;
pub mod https;
pub mod recipe;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rds_local::{Options, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A program of the tests' Python environment, which `make test` installs.
pub fn helper(name: &str) -> PathBuf {
    let path = root().join("target/venv/bin").join(name);
    assert!(
        path.exists(),
        "{} is missing: run make test, or local/setup.sh --tests",
        path.display()
    );
    path
}

/// A shell's command that runs a program of tests/node with the packages that `make test` installs.
pub fn node(program: &str) -> String {
    let packages = root().join("target/node/node_modules");
    assert!(
        packages.exists(),
        "{} is missing: run make test, or local/setup.sh --tests",
        packages.display()
    );
    let program = root().join("local/tests/node").join(program);
    format!("NODE_PATH='{}' node '{}'", packages.display(), program.display())
}

/// Forwards a free port of the loopback interface to an address.
pub async fn forward(to: SocketAddr) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    port
}

/// Serves each connection with this, on a free port.
pub async fn serving<F: Future<Output = ()> + Send + 'static>(
    serve: impl Fn(TcpStream) -> F + Send + 'static,
) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port.to_string()
}

/// Answers the request for TLS with the first bytes, and what comes then with the second.
pub async fn saying(first: &'static [u8], second: &'static [u8]) -> String {
    serving(move |mut stream| async move {
        let mut buffer = [0; 16_384];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(first).await;
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(second).await;
        let _ = stream.read(&mut buffer).await;
    })
    .await
}

/// What doctor says of these variables, and the text of it.
pub async fn doctor(variables: &BTreeMap<String, String>) -> (Value, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_rds-local"))
        .args(["doctor", "--json"])
        .env_clear()
        .envs(variables)
        .output()
        .await
        .unwrap();
    let out = text(&output.stdout);
    let report: Value =
        serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{}", text(&output.stderr)));
    assert_eq!(output.status.success(), report["ok"] == true, "{out}");
    (report, out)
}

pub async fn start(change: impl FnOnce(Options) -> Options) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(change(Options::new(folder.path()))).await.unwrap();
    (server, folder)
}

/// A server with MariaDB behind the gate.
pub async fn start_mysql(change: impl FnOnce(Options) -> Options) -> (Server, TempDir) {
    start(|options| change(Options { engine: rds_local::database::Engine::Mysql, ..options })).await
}

/// Runs a shell script with the environment file sourced, and the helpers first in the path.
pub async fn with_env_sourced(folder: &Path, script: &str) -> Output {
    let script = format!("set -e; . '{}'; {script}", folder.join("env").display());
    let helpers = helper("python").parent().unwrap().to_owned();
    let path = format!("{}:{}", helpers.display(), std::env::var("PATH").unwrap());
    let run = move || {
        Command::new("bash")
            .args(["-c", &script])
            .env("PATH", path)
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
