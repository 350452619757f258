//! SQL on a private RDS PostgreSQL from AWS Lambda, with IAM authentication and no password.
//!
//! The data flows one way. Each layer uses the ones below it, and none above:
//!
//! ```text
//!  your handler ──────────────┐
//!    │                        │
//!  session                  lambda      event ─▶ Handler ─▶ response, log line, metrics
//!    │  one connection        │
//!    │  per sandbox           │
//!    │                        │
//!  postgres · mysql · neptune │         dial ─▶ TLS ─▶ log in ─▶ BEGIN · statement · COMMIT ─▶ rows as JSON
//!    │                        │
//!  config ──▶ token           │         the environment, checked at once
//!    │          │             │
//!  query    credentials     query       query files, parameters, rows
//!    │          │             │
//!  error · flaw · deadline · work · retry · roots · endpoint · emf · json
//! ```
//!
//! | feature | on by default | what it adds |
//! |---|---|---|
//! | `role` | yes | credentials of profiles, web identity and containers, and a role assumed through STS (`DB_ROLE_ARN`) |
//! | `postgres` | yes | query files, [`Config`] and [`Session`] |
//! | `mysql` | no | `MysqlConfig` and `MysqlSession`: the same for Aurora MySQL |
//! | `lambda` | yes | [`lambda::run`]: the run loop, logs and metrics |
//! | `neptune` | no | `NeptuneConfig` and `NeptuneSession`: signed openCypher and SPARQL queries |
//! | `query` | with `postgres`, `mysql`, `lambda`, `neptune` | query files, parameters and rows alone |
//! | `vendored-openssl` | no | builds OpenSSL in, for Lambda |
//! | `sso` | no | profiles of IAM Identity Center, for a laptop |
//!
//! With none of them the crate is a signer of tokens ([`token::TokenSigner`]) and a cache of credentials
//! ([`credentials::CachingProvider`]), for your own driver or pool.
//!
//! # Your own function
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use rds_iam::lambda::{Handler, Invocation, Response};
//! use rds_iam::query::{Parameters, Query};
//! use rds_iam::{Config, Error, Session};
//!
//! struct OldestCustomer {
//!     session: Session,
//!     query: Query,
//! }
//!
//! impl Handler for OldestCustomer {
//!     type Response = Response;
//!
//!     async fn handle(&self, _event: &str, invocation: &mut Invocation) -> Result<Response, Error> {
//!         let parameters = Parameters::none(&self.query)?;
//!         let answer = self.session.read(&self.query, &parameters, &mut invocation.work).await?;
//!         Ok(invocation.respond(&self.query, answer))
//!     }
//!
//!     async fn shut_down(&self) {
//!         self.session.close().await;
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     rds_iam::lambda::run(async || {
//!         let sql = "SELECT name FROM customers ORDER BY age DESC LIMIT 1";
//!         let query = Query::parse("oldest", sql)?;
//!         Ok(OldestCustomer { session: Session::new(Config::from_env()?)?, query })
//!     })
//! }
//! ```
//!
//! # Outside Lambda
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use rds_iam::deadline::Deadline;
//! use rds_iam::query::{Answer, Parameters, Query};
//! use rds_iam::{Config, Session, Work};
//!
//! #[derive(serde::Deserialize)]
//! struct Customer {
//!     name: String,
//!     age: Option<i32>,
//! }
//!
//! # async fn example() -> Result<(), rds_iam::Error> {
//! let session = Session::new(Config::from_env()?)?;
//! let query = Query::parse("customers", "SELECT name, age FROM customers")?;
//! let mut work = Work::new(Deadline::after(Duration::from_secs(10)));
//! if let Answer::Rows(rows) = session.read(&query, &Parameters::none(&query)?, &mut work).await? {
//!     let customers: Vec<Customer> = rows.deserialize()?;
//! }
//! session.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Cancel safety
//!
//! Every future of this crate can be dropped. A call that is dropped while a statement runs drops its
//! connection, and the next call logs in again; the server stops the statement by its own time-out, which
//! ends before the deadline. Whether a dropped write took effect is unknown, unless the ledger records it
//! ([`Session::run_batch`]). A dropped [`CachingProvider::get`](credentials::CachingProvider::get) leaves
//! the cache as it was.
//!
//! # Secrets
//!
//! No token, key, external id, parameter value or row is in an error, a log line or a `Debug` output of
//! this crate. The causes that libraries report are not kept as `source()`, because they quote values.

#![warn(clippy::missing_errors_doc)]

pub mod credentials;
pub mod endpoint;
mod error;
mod flaw;
pub mod token;
mod words;

#[cfg(feature = "query")]
pub mod deadline;
#[cfg(feature = "query")]
pub mod emf;
#[cfg(feature = "query")]
pub mod json;
#[cfg(feature = "query")]
pub mod mysql;
#[cfg(feature = "query")]
pub mod query;
#[cfg(feature = "query")]
mod work;

#[cfg(any(feature = "postgres", feature = "mysql", feature = "neptune"))]
pub mod config;
#[cfg(feature = "neptune")]
pub mod neptune;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub mod retry;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "neptune"))]
pub mod roots;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "neptune"))]
pub mod session;

#[cfg(feature = "lambda")]
pub mod lambda;

#[cfg(feature = "postgres")]
pub use config::Config;
#[cfg(feature = "mysql")]
pub use config::MysqlConfig;
#[cfg(feature = "neptune")]
pub use config::NeptuneConfig;
pub use error::{Error, ErrorKind};
pub use flaw::Flaw;
#[cfg(feature = "mysql")]
pub use session::MysqlSession;
#[cfg(feature = "neptune")]
pub use session::NeptuneSession;
#[cfg(feature = "postgres")]
pub use session::Session;
#[cfg(feature = "query")]
pub use work::{LoginSteps, Report, Work};

/// Compiles the Rust examples of README.md and docs/reference.md.
#[cfg(all(doctest, feature = "postgres", feature = "lambda"))]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/reference.md")]
struct Documents;
