//! moto and ministack, other people's imitations of AWS's services, over HTTP.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

use super::ports::{free_port, wait_for_port};
use crate::lifeline::Group;

/// moto on a free port. Dropping it ends it.
#[derive(Debug)]
pub struct Moto {
    /// The endpoint of every service.
    pub url: String,
    _group: Group,
}

impl Moto {
    /// Starts it from the Python environment that `make test` installs below the root.
    pub async fn start(root: &Path) -> Self {
        let port = free_port();
        let mut command = installed(root, "venv-sam/bin/moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self { url: format!("http://127.0.0.1:{port}"), _group: running(command, port).await }
    }
}

/// ministack on a free port. Dropping it ends it.
#[derive(Debug)]
pub struct Ministack {
    /// The endpoint of every service.
    pub url: String,
    _group: Group,
}

impl Ministack {
    /// Starts it from the Python environment that `make test` installs below the root; it keeps what it
    /// writes in the folder.
    pub async fn start(root: &Path, folder: &Path) -> Self {
        let port = free_port();
        let mut command = installed(root, "venv-cloud/bin/ministack");
        command
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs([("HOME", folder), ("TMPDIR", folder)])
            .envs([("BIND_HOST", "127.0.0.1"), ("GATEWAY_PORT", &port.to_string())])
            // Listeners that nothing here uses.
            .envs([("IOT_MTLS_ENABLED", "0"), ("SFTP_ENABLED", "0")]);
        Self { url: format!("http://127.0.0.1:{port}"), _group: running(command, port).await }
    }
}

fn installed(root: &Path, program: &str) -> Command {
    let program = root.join("target").join(program);
    assert!(
        program.exists(),
        "{} is missing: run make test, or local/setup.sh --tests",
        program.display()
    );
    Command::new(program)
}

async fn running(mut command: Command, port: u16) -> Group {
    let group = Group::start().unwrap();
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(group.id());
    let mut process = command.spawn().unwrap();
    wait_for_port(port, &mut process).await;
    group
}
