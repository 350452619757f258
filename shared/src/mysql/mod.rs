//! Aurora MySQL: one connection that a token opens, and statements of query files on it.
//!
//! `connect` logs in over verified TLS, `execute` runs a statement in a transaction of its own, `json`
//! renders rows, `literal` writes parameters, `error` says what a refusal means. [`crate::Session`], which
//! keeps a connection across invocations, is PostgreSQL's.
//!
//! | what | round trips |
//! |---|---|
//! | a login | 5: TCP, greeting and TLS 1.3, login, token |
//! | a read | 1 |
//! | a write | 2 |

mod connect;
mod error;
mod execute;
mod json;
mod literal;

pub use connect::{Connection, Connector, Target};
