//! Lambda function: runs a query on Aurora MySQL, on a schedule or for each message of a queue,
//! effectively once.

mod handler;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::MysqlQuery::from_env)
}
