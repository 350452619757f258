//! Lambda function: runs a query on Aurora MySQL, on a schedule or for each message of a queue,
//! effectively once.

mod database;

use rds_iam::lambda::{QueryFunction, run};

fn main() -> std::process::ExitCode {
    run(async || database::Database::from_env().map(QueryFunction))
}
