//! Lambda function: runs a query for each record of an event, effectively once.

mod deliver;
mod delivery;
mod envelopes;
mod event;
#[cfg(test)]
mod fuzz;
mod handler;
mod message;
mod streams;
mod url;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::EventQuery::from_env)
}
