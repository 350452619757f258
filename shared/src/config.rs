//! The environment of a function, read once into a configuration.
//!
//! Variables have the names of libpq (<https://www.postgresql.org/docs/current/libpq-envars.html>) or
//! of MySQL's programs where those have one. Everything that is missing or wrong is reported at once, by
//! name, with what to set. An empty variable counts as unset.

mod common;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod problem;
pub(crate) mod vars;

#[cfg(feature = "neptune")]
pub(crate) use common::host_and_port;
pub(crate) use common::{Common, provider, queries_beside_the_binary, wrong_environment};
pub use common::{Dial, sdk_roots_problem};
#[cfg(feature = "mysql")]
pub use mysql::MysqlConfig;
#[cfg(feature = "postgres")]
pub use postgres::{Config, SslMode, SslNegotiation, TargetSessionAttrs};
pub use problem::Problem;
