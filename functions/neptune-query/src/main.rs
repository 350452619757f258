//! Lambda function: runs an openCypher or SPARQL query on Neptune, on a schedule or for each message of
//! a queue.

mod handler;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::NeptuneQuery::from_env)
}
