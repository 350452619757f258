//! The environment of a function, read once into a configuration.
//!
//! Variables have the names of libpq (<https://www.postgresql.org/docs/current/libpq-envars.html>) or
//! of MySQL's programs where those have one. Everything that is missing or wrong is reported at once, by
//! name, with what to set. An empty variable counts as unset.

mod common;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod dial;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "neptune")]
mod neptune;
#[cfg(feature = "postgres")]
mod postgres;
mod problem;
mod vars;

pub use common::{Common, sdk_roots_problem};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub use dial::Dial;
#[cfg(feature = "mysql")]
pub use mysql::MysqlConfig;
#[cfg(feature = "neptune")]
pub use neptune::NeptuneConfig;
#[cfg(feature = "postgres")]
pub use postgres::{Config, SslMode, SslNegotiation, TargetSessionAttrs};
pub use problem::Problem;
