//! One connection for a sandbox, kept across warm invocations.
//!
//! IAM logins cost five round trips and are throttled, so a connection is used again until it
//! dies. Lambda freezes sandboxes: sockets die silently and timers do not run. So nothing here runs
//! in the background, and a connection that was idle for long is probed before it is trusted.
//!
//! `keeper` has what all engines share, `lease` lends the connection to one call at a time, and `login`
//! makes a new one. For PostgreSQL, `run` runs one statement on it, `batch` many, `jobs` the chunks of a
//! batch job, and `stream` one with a result of any size.

#[cfg(feature = "postgres")]
mod batch;
#[cfg(feature = "postgres")]
mod jobs;
mod keeper;
mod kept_token;
mod lease;
mod login;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod run;
#[cfg(feature = "postgres")]
mod stream;

#[cfg(feature = "postgres")]
pub use batch::{Job, Outcome};
#[cfg(feature = "postgres")]
pub use jobs::{JobEnd, JobReport, JobRun, JobState, Overlap, Step};
pub use lease::{PROBE_AFTER, PROBE_TIMEOUT};
#[cfg(feature = "mysql")]
pub use mysql::MysqlSession;
#[cfg(feature = "postgres")]
pub use postgres::Session;
#[cfg(feature = "postgres")]
pub use stream::RowStream;
