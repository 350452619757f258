//! Lambda function: streams a query's rows into an object in S3.

mod compress;
mod csv;
mod destination;
mod encode;
mod event;
mod format;
mod handler;
mod objects;
mod parquet;
mod rounded;
mod s3_error;
mod upload;

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(handler::ExportQuery::from_env)
}
