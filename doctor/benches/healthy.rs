//! How long rds-doctor takes where all is well, beside psql's login through the same gate: medians of nine runs in
//! turn.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::process::Command;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::token::TokenSigner;
use rds_local::testing::beside::median;
use rds_local::{HOST, Options, READ_ONLY_USER, REGION, Server};
use tokio::time::Instant;

const RUNS: usize = 9;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Options::new(folder.path())).await.unwrap();
    let variables = server.variables();
    let credentials = Credentials::new(
        &variables["AWS_ACCESS_KEY_ID"],
        &variables["AWS_SECRET_ACCESS_KEY"],
        Some(variables["AWS_SESSION_TOKEN"].clone()),
        None,
        "bench",
    );
    let signer = TokenSigner {
        host: HOST.into(),
        port: server.address.port(),
        region: REGION.into(),
        user: READ_ONLY_USER.into(),
    };
    let token = signer.sign(&credentials, SharedTimeSource::default().now()).unwrap();
    let doctor = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rds-doctor"));
        // As the template sets it, to a short file: OpenSSL reads the system's roots otherwise.
        command.arg("--json").env_clear().envs(&variables);
        command.env("SSL_CERT_FILE", folder.path().join("ca.pem"));
        command
    };
    let psql = || {
        let mut command = Command::new("psql");
        command.args(["-XAtc", "SELECT 1"]).envs(&variables).env("PGPASSWORD", token.as_str());
        command
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        ours.push(timed(doctor()).await);
        theirs.push(timed(psql()).await);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!("a healthy database, {RUNS} runs, medians");
    println!("  psql, one login     {theirs:8.1} ms");
    println!("  rds-doctor, all     {ours:8.1} ms  ({:.1} times as long)", ours / theirs);
    server.stop().await.unwrap();
}

async fn timed(mut command: Command) -> Duration {
    let start = Instant::now();
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    start.elapsed()
}
