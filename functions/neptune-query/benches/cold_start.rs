//! A cold start with one query on Neptune, beside a Python program that runs the same query with boto3:
//! from the start of the process to the answer. Medians.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rds_local::neptune::Cluster;
use rds_local::testing::{Function, root};
use rds_local::{CLUSTER_RESOURCE_ID, Options};
use tokio::time::Instant;

const RUNS: usize = 9;
const PYTHON: &str = r#"
import boto3
client = boto3.client("neptunedata")
answer = client.execute_open_cypher_query(
    openCypherQuery="MATCH (p:Person) WHERE p.age >= $min_age RETURN p.name AS name",
    parameters='{"min_age": 18}')
assert answer["results"] == [], answer
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    let options = Options { resource_id: CLUSTER_RESOURCE_ID.into(), ..options };
    let cluster = Cluster::start(options).await.unwrap();
    let root = root(env!("CARGO_MANIFEST_DIR"));
    let mut variables = cluster.variables();
    variables.insert("QUERIES_DIR".into(), root.join("queries/neptune").display().to_string());
    // As in the template: the SDK reads no other roots.
    variables.insert("SSL_CERT_FILE".into(), variables["NEPTUNE_SSLROOTCERT"].clone());
    let python = root.join("target/venv/bin/python");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        let binary = Path::new(env!("CARGO_BIN_EXE_neptune-query"));
        let mut function = Function::start(binary, &variables, Duration::from_secs(30)).await;
        function.ok(r#"{"query":"people"}"#).await;
        ours.push(start.elapsed());
        function.stop().await;

        let start = Instant::now();
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON]).env_clear().envs(&variables).env("PATH", "/usr/bin:/bin");
        let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        theirs.push(start.elapsed());
    }
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1000.0
    };
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("cold start with one query on Neptune, {RUNS} runs, medians");
    println!("  neptune-query  {ours:8.1} ms");
    println!("  boto3          {theirs:8.1} ms  ({:.1} times as long)", theirs / ours);
    cluster.stop().await.unwrap();
}
