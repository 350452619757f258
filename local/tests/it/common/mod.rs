//! A server in a temporary folder, and the programs of others that talk to it.

pub mod cluster;
pub mod https;
pub mod recipe;
pub mod wire;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rds_local::{Options, Server};
use tempfile::TempDir;

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
