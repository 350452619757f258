//! Lambda function: says why the database cannot be reached, from inside its network.

mod handler;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::start)
}
