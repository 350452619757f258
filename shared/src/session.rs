//! One connection for a sandbox, kept across warm invocations.
//!
//! IAM logins cost five round trips and are throttled, so a connection is used again until it
//! dies. Lambda freezes sandboxes: sockets die silently and timers do not run. So nothing here runs
//! in the background, and a connection that was idle for long is probed before it is trusted.
//!
//! `slot` keeps the connection between two calls. Where a token logs in, `keeper` is the session, `loan`
//! lends its connection to one call at a time, and `login` makes a new one. For PostgreSQL, `run` runs one
//! statement on it, `batch` many, `jobs` the chunks of a batch job, and `stream` one with a result of any size.
//! Neptune signs each request instead.

#[cfg(feature = "postgres")]
mod batch;
#[cfg(feature = "postgres")]
mod jobs;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod keeper;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod kept_token;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod loan;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod login;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "neptune")]
mod neptune;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod run;
mod slot;
#[cfg(feature = "postgres")]
mod stream;

#[cfg(feature = "postgres")]
pub use batch::{BatchItem, Outcome};
#[cfg(feature = "postgres")]
pub use jobs::{JobEnd, JobReport, JobRun, JobState, Overlap, Step};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub use loan::{PROBE_AFTER, PROBE_TIMEOUT};
#[cfg(feature = "mysql")]
pub use mysql::MysqlSession;
#[cfg(feature = "neptune")]
pub use neptune::NeptuneSession;
#[cfg(feature = "postgres")]
pub use postgres::Session;
#[cfg(feature = "postgres")]
pub use stream::RowStream;
