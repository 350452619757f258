//! A Neptune cluster in a temporary folder, and what its gate's log says.

use std::path::Path;

use rds_local::neptune::Cluster;
use rds_local::{CLUSTER_RESOURCE_ID, Options};
use tempfile::TempDir;

pub const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

/// An openCypher query as the body of a form; its answer is `{"results":[{"one":1}]}`.
pub const QUERY: &str = "query=RETURN%201%20AS%20one";

pub async fn start(change: impl FnOnce(Options) -> Options) -> (Cluster, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    let options = Options { resource_id: CLUSTER_RESOURCE_ID.into(), ..options };
    (Cluster::start(change(options)).await.unwrap(), folder)
}

pub fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("gate.log")).unwrap()
}

/// The last reason in the gate's log.
pub fn last_reason(folder: &Path) -> String {
    let log = log(folder);
    let line = log.lines().rfind(|line| line.contains("reason=")).unwrap_or_default();
    line.split_once("reason=").map(|(_, reason)| reason.to_owned()).unwrap_or_default()
}
