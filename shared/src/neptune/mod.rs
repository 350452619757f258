//! Graph queries on Amazon Neptune: openCypher and SPARQL over HTTPS, each request signed with the
//! function's credentials (Signature Version 4, service `neptune-db`).
//!
//! Query files are `NAME.cypher` and `NAME.rq`, with the front matter of SQL's. openCypher's parameters
//! travel beside the statement; SPARQL has none over HTTP, so that `parameters` writes them as
//! terms.

mod answer;
mod ask;
mod clauses;
mod execute;
mod http;
mod language;
mod neptune_error;
mod parameters;
mod sign;
mod statement;
mod tokens;

pub(crate) use answer::answer;
pub use ask::{Answered, Client, Request};
pub(crate) use execute::{Cluster, Execution, Failed};
pub(crate) use http::Connection;
pub use language::Language;
pub use neptune_error::Denial;
pub(crate) use neptune_error::refused;
pub(crate) use parameters::Values;
pub use statement::Statement;
