//! Lambda function: runs an openCypher or SPARQL query on Neptune, on a schedule or for each message of
//! a queue.

mod cluster;

use rds_iam::lambda::{QueryFunction, run};

fn main() -> std::process::ExitCode {
    run(async || cluster::Cluster::from_env().map(QueryFunction))
}
