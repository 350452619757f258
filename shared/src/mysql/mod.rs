//! Aurora MySQL: connections that a token opens, and statements of query files on them.
//!
//! `connect` logs in over verified TLS, and `login_error` explains a failed login. `lexer` finds the words of a
//! statement: by them `statement` and `effects` tell a read from a write, and `leftovers` what stays in the session.
//! `script` writes the packet of a run with the parameters of `literal` and the entry of `ledger`; `execute`
//! sends it, `collect` takes its results, and `json` renders rows. `error` says what a refusal means and
//! whether the statement may run again, and `warning` logs values that the server changed.
//! `MysqlSession` keeps a connection across invocations. Without the feature `mysql`, there is only [`check`].
//!
//! | what | round trips |
//! |---|---|
//! | a login | 5: TCP, greeting and TLS 1.3, login, token |
//! | a read | 1 |
//! | a write, with or without an entry in the ledger | 2 |
//! | a statement that only a reset of the session undoes: CALL, a stored function | 1 more, and for the first of a connection 2 |

#[cfg(feature = "mysql")]
mod built_in;
#[cfg(feature = "mysql")]
mod collect;
#[cfg(feature = "mysql")]
mod connect;
mod effects;
#[cfg(feature = "mysql")]
mod error;
#[cfg(feature = "mysql")]
pub(crate) mod execute;
#[cfg(feature = "mysql")]
mod json;
#[cfg(feature = "mysql")]
mod ledger;
#[cfg(feature = "mysql")]
mod leftovers;
mod lexer;
#[cfg(feature = "mysql")]
mod literal;
#[cfg(feature = "mysql")]
mod login_error;
#[cfg(feature = "mysql")]
mod script;
mod statement;
#[cfg(feature = "mysql")]
mod warning;

#[cfg(feature = "mysql")]
pub use connect::{Connection, Connector, login_settings};
pub use statement::check;
#[cfg(feature = "mysql")]
pub(crate) use statement::check_read;
