//! Lambda function: sums up a customer's orders.

mod handler;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::CustomerOrders::from_env)
}
