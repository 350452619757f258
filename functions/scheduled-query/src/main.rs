//! Lambda function: runs a read-only query file on a schedule, and answers with its rows.

mod event;
mod handler;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::ScheduledQuery::from_env)
}
