//! A cold start with one query on Neptune, beside a Python program that runs the same query with boto3.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::Path;

use rds_local::neptune::Cluster;
use rds_local::testing::{beside, root};
use rds_local::{CLUSTER_RESOURCE_ID, Options};

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
    let function = Path::new(env!("CARGO_BIN_EXE_neptune-query"));
    let event = r#"{"query":"people"}"#;
    beside::cold_starts(&root, (function, event), ("boto3", PYTHON), &variables).await;
    cluster.stop().await.unwrap();
}
