//! Lambda function: streams a query's rows into an object in S3.

mod compress;
mod csv;
mod destination;
mod encode;
mod event;
mod format;
mod handler;
mod json;
mod objects;
mod output;
mod parquet;
mod rounded;
mod s3_error;
mod upload;
mod worker;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::ExportQuery::from_env)
}
