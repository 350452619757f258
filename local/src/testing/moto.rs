//! moto, someone else's imitation of AWS's services, over HTTP.

use std::path::Path;
use std::process::Stdio;

use tokio::process::{Child, Command};

use super::ports::{free_port, wait_for_port};

/// moto on a free port. Dropping it ends it.
#[derive(Debug)]
pub struct Moto {
    /// The endpoint of every service.
    pub url: String,
    _process: Child,
}

impl Moto {
    /// Starts it from the Python environment that `make test` installs below the root.
    pub async fn start(root: &Path) -> Self {
        let program = root.join("target/venv-sam/bin/moto_server");
        assert!(
            program.exists(),
            "{} is missing: run make test, or local/setup.sh --tests",
            program.display()
        );
        let port = free_port();
        let mut process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        wait_for_port(port, &mut process).await;
        Self { url: format!("http://127.0.0.1:{port}"), _process: process }
    }
}
