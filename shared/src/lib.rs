//! SQL on a private RDS PostgreSQL from AWS Lambda, with IAM authentication and no password.
//!
//! The way of the data, in one direction: [`Config`] from the environment, a [`Session`] that
//! resolves credentials, signs a token and logs in over verified TLS, a [`query::Query`] file with
//! its parameters, and rows as raw JSON. [`lambda::run`] puts that behind a Lambda function:
//!
//! ```no_run
//! use rds_iam::lambda::{Handler, Invocation};
//! use rds_iam::query::{Parameters, Query};
//! use rds_iam::{Config, Error, Session};
//! use serde_json::value::{RawValue, to_raw_value};
//!
//! struct OldestCustomer {
//!     session: Session,
//!     query: Query,
//! }
//!
//! impl OldestCustomer {
//!     fn from_env() -> Result<Self, Error> {
//!         let session = Session::new(Config::from_env()?)?;
//!         let sql = "SELECT name FROM customers ORDER BY age DESC LIMIT 1";
//!         Ok(Self { session, query: Query::parse("oldest", sql)? })
//!     }
//! }
//!
//! impl Handler for OldestCustomer {
//!     async fn handle(&self, _event: &str, invocation: &mut Invocation) -> Result<Box<RawValue>, Error> {
//!         let parameters = Parameters::bind(&self.query, &Default::default())?;
//!         let rows = self.session
//!             .read(&self.query, &parameters, invocation.deadline, &mut invocation.report)
//!             .await?;
//!         Ok(to_raw_value(&rows).expect("rows are JSON"))
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     rds_iam::lambda::run(OldestCustomer::from_env)
//! }
//! ```

pub mod config;
pub mod connect;
pub mod credentials;
pub mod deadline;
pub mod emf;
pub mod endpoint;
mod error;
pub mod lambda;
pub mod login_error;
pub mod query;
pub mod session;
pub mod tls;
pub mod token;

pub use config::Config;
pub use error::{Error, ErrorKind};
pub use session::Session;

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
