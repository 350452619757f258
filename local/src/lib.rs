//! A look-alike of RDS IAM authentication in front of a real PostgreSQL or MariaDB, on one machine and with
//! no AWS account: for development and tests, never for deployment.
//!
//! [`Server::start`] brings up a private PostgreSQL, the [`gate`] that checks tokens as RDS does,
//! and the [`apis`], an STS that issues role credentials among them. [`invoke::Sandbox`] runs a function's real binary
//! against it, through Lambda's [`runtime_api`].

pub mod apis;
pub mod certificates;
pub mod check;
pub mod credentials;
pub mod database;
pub mod demo;
mod drain;
pub mod dump;
pub mod environment;
pub mod explain;
pub mod gate;
mod http;
pub mod iam;
pub mod invoke;
pub mod lifeline;
pub mod mariadb;
pub mod neptune;
pub mod new;
mod options;
mod ports;
pub mod postgres;
mod process;
pub mod ready;
pub mod runtime_api;
pub mod s3;
mod server;
mod sigv4;
mod template;
pub mod testing;
mod token_text;
pub mod until_done;

use nix::sys::signal::Signal;
pub use options::Options;
pub use server::Server;

/// An error is a sentence for the developer: what failed, why, and what to do.
pub type Result<T, E = String> = std::result::Result<T, E>;

/// The AWS account of all principals, as in AWS's documentation.
pub const ACCOUNT: &str = "123456789012";
/// The database's region.
pub const REGION: &str = "us-east-1";
/// The endpoint's name. It has RDS's form, so that production code takes its usual path.
pub const HOST: &str = "rds-local.c0example1234.us-east-1.rds.amazonaws.com";
/// The endpoint's name as an RDS Proxy.
pub const PROXY_HOST: &str = "rds-local.proxy-c0example1234.us-east-1.rds.amazonaws.com";
/// The database's resource id, as IAM policies name it.
pub const RESOURCE_ID: &str = "db-RDSLOCALEXAMPLE00000000000";
/// The name of a Neptune cluster's endpoint, in AWS's form.
pub const NEPTUNE_HOST: &str = "rds-local.cluster-c0example1234.us-east-1.neptune.amazonaws.com";
/// A Neptune cluster's resource id, as IAM policies name it.
pub const CLUSTER_RESOURCE_ID: &str = "cluster-RDSLOCALEXAMPLE00000000000";
/// The database's name.
pub const DATABASE: &str = "sample_db";
/// The database user that may only read.
pub const READ_ONLY_USER: &str = "iam_ro_user";
/// The database user that may write.
pub const READ_WRITE_USER: &str = "iam_rw_user";

/// The exit code of a command that a signal interrupted, as shells count it.
pub fn exit_code(signal: Signal) -> std::process::ExitCode {
    std::process::ExitCode::from(128 + signal as u8)
}

/// Waits for SIGINT (Ctrl-C), SIGTERM or SIGHUP, and returns which it was. Signals count from this call on,
/// also before the future is polled.
///
/// # Errors
///
/// If the process cannot listen for signals.
pub fn interrupted() -> Result<impl Future<Output = Signal>> {
    use tokio::signal::unix::{SignalKind, signal};
    let listen = |kind| signal(kind).map_err(|error| format!("cannot listen for signals: {error}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Signal::SIGINT,
            _ = terminate.recv() => Signal::SIGTERM,
            _ = hang_up.recv() => Signal::SIGHUP,
        }
    })
}
