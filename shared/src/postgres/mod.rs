//! PostgreSQL: everything that knows its protocol, its SQL or its errors.
//!
//! The files are the steps of a statement's life: [`tls`](self) and `connect` make a connection,
//! `refusal` classes a refused login and `login_error` explains it, `begin` opens a transaction
//! with its time-outs, `execute` runs a statement in its own, `ledger`
//! records a message together with its write, `jobs` the chunks of a batch job, `message_limit` keeps a
//! huge row out of memory, `outcome`, `statement_error`, `sqlstates`, `nearest` and
//! `read_only` describe how a statement ended, and `leftovers` releases what it left in the session. `stream` hands
//! on the rows of a large result, with the types that `columns` and `output` know. `describe` asks PostgreSQL about a
//! query without running it, and `query_text` reads its text for what no connection should get.

mod begin;
mod columns;
mod connect;
mod describe;
pub(crate) mod execute;
pub(crate) mod jobs;
pub(crate) mod ledger;
mod leftovers;
mod login_error;
mod message_limit;
mod nearest;
pub(crate) mod outcome;
mod output;
pub(crate) mod query_text;
mod read_only;
mod refusal;
mod sqlstates;
pub(crate) mod statement_error;
pub(crate) mod stream;
mod text;
mod tls;

pub use crate::retry::LoginError;
pub use columns::{Column, ColumnKind, Value};
pub use connect::{Connection, Connector, login_settings};
pub use describe::{Description, describe};
pub(crate) use leftovers::Leaves;
pub use output::Output;
pub use query_text::check;
pub use refusal::Refusal;
pub use stream::{RowForm, StreamedRow};
pub use tls::tls_connector;
