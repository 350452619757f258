//! AWS's runtime interface emulator, from the SAM CLI: it starts a function's binary and serves the
//! Runtime API, as Lambda's container images do.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::ports::{free_port, wait_for_port};
use crate::lifeline::Group;

/// The emulator with one function. Dropping it ends both.
#[derive(Debug)]
pub struct Emulator {
    url: String,
    _group: Group,
    _folder: TempDir,
}

/// The emulator's binary, in the Python environment that `make test` installs below the root.
fn binary(root: &Path) -> PathBuf {
    let name = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let name = format!("site-packages/samcli/local/rapid/aws-lambda-rie-{name}");
    let lib = root.join("target/venv-sam/lib");
    let pythons = std::fs::read_dir(&lib).into_iter().flatten().flatten();
    let mut binaries = pythons.map(|python| python.path().join(&name)).filter(|path| path.exists());
    binaries.next().unwrap_or_else(|| {
        panic!("{} has no emulator: run make test, or local/setup.sh --tests", lib.display())
    })
}

impl Emulator {
    /// Starts it for a function's binary.
    pub async fn start(root: &Path, function: &Path, variables: &BTreeMap<String, String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The wheel does not mark it executable.
        let executable = folder.path().join("aws-lambda-rie");
        std::fs::copy(binary(root), &executable).unwrap();
        std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o700)).unwrap();
        let (port, api) = (free_port(), free_port());
        // The emulator starts the function as a child of its own.
        let group = Group::start().unwrap();
        let mut process = Command::new(&executable)
            .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
            .args(["--runtime-api-address", &format!("127.0.0.1:{api}")])
            .arg(function)
            .env("AWS_LAMBDA_FUNCTION_NAME", function.file_name().unwrap())
            .envs(variables)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(group.id())
            .spawn()
            .unwrap();
        wait_for_port(port, &mut process).await;
        let url = format!("http://127.0.0.1:{port}/2015-03-31/functions/function/invocations");
        Self { url, _group: group, _folder: folder }
    }

    /// Invokes the function: its response, or its error.
    pub async fn invoke(&self, event: &[u8]) -> Value {
        let mut curl = Command::new("curl")
            .args(["-sS", "--max-time", "30", "--data-binary", "@-", &self.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        curl.stdin.take().unwrap().write_all(event).await.unwrap();
        let answer = curl.wait_with_output().await.unwrap();
        assert!(answer.status.success(), "curl failed");
        serde_json::from_slice(&answer.stdout)
            .unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(&answer.stdout)))
    }
}
