//! A server in a temporary folder, servers that answer otherwise, and the program that finds out why.

pub mod aws;
pub mod broken_setup;
pub mod front;
pub mod project;
pub mod staged;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rds_local::{Options, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
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

/// The doctor's report on these variables, and its text.
pub async fn doctor(variables: &BTreeMap<String, String>) -> (Value, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_rds-doctor"))
        .arg("--json")
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

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// As in the crate's `words.rs`.
pub const REVERSED: bool = option_env!("RDS_IAM_REVERSED_WORDS").is_some();

/// Whether a report holds this phrase; of reversed words, each of its words.
pub fn says(report: &Value, phrase: &str) -> bool {
    let text = report.to_string();
    text.contains(phrase) || REVERSED && phrase.split(' ').all(|word| text.contains(word))
}
