//! Aurora MySQL: connections that a token opens, and statements of query files on them.
//!
//! `connect` logs in over verified TLS, `login_error` explains a failed login, `execute` runs a statement in
//! a transaction of its own, `ledger` records a message together with its write, `json` renders rows,
//! `literal` writes parameters, and `error` says what a refusal means and whether the statement may run
//! again. [`MysqlSession`](crate::MysqlSession) keeps a connection across invocations.
//!
//! | what | round trips |
//! |---|---|
//! | a login | 5: TCP, greeting and TLS 1.3, login, token |
//! | a read | 1 |
//! | a write, with or without an entry in the ledger | 2 |

mod connect;
mod error;
pub(crate) mod execute;
mod json;
mod ledger;
mod literal;
mod login_error;

pub use connect::{Connection, Connector};
