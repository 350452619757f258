//! Lambda function: runs the queries of a batch job in chunks, one run at a time.

mod event;
mod handler;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::BatchJob::from_env)
}
