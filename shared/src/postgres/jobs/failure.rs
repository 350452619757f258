//! What a failure of a statement on `job_runs`, or of a chunk, means, and what to do about it.

use super::super::execute::ends_session;
use super::super::outcome::Failure;
use super::super::statement_error::{condition, own_words, statement_error, takes_no_writes};
use super::{Holder, Undone};
use crate::error::{Error, ErrorKind};
use crate::query::Query;

impl Holder<'_> {
    /// The error of a statement on the table.
    pub(super) fn failed(&self, error: &tokio_postgres::Error) -> Failure {
        let what = format!("job {} could not read or write its run in job_runs", self.job);
        let error_of = |kind| Error::new(kind, what);
        let Some(db) = error.as_db_error() else {
            let error = error_of(ErrorKind::NetworkUnreachable)
                .because("the connection broke")
                .remedy("Run it again: it goes on after its last chunk that was committed");
            return Failure { error, usable: false, repeat: true };
        };
        let code = db.code().code();
        let safe = ["42", "53", "57"].iter().any(|class| code.starts_with(class));
        let why = match own_words(db).filter(|_| safe) {
            Some(message) => format!("{message} ({})", condition(code)),
            None => condition(code),
        };
        let explained = match code {
            "25006" => error_of(ErrorKind::DatabaseUnavailable)
                .because("the server takes no writes (25006): it is a reader or standby, or the old writer after a failover")
                .remedy("Use the cluster (writer) endpoint, with PGTARGETSESSIONATTRS=read-write"),
            "57014" | "55P03" => error_of(ErrorKind::QueryTimeout)
                .because(why)
                .remedy("Look in pg_stat_activity for what slows the database down"),
            code if code.starts_with("42") => error_of(ErrorKind::QueryDenied).because(why).remedy(
                "Run sql/jobs.sql in this database as an administrator, and grant SELECT, INSERT and UPDATE on the table to the function's user",
            ),
            code if code.starts_with("53") || code.starts_with("57P") => {
                error_of(ErrorKind::DatabaseUnavailable).because(why).remedy("Try again when the database has recovered")
            }
            _ => error_of(ErrorKind::QueryFailed).because(why).remedy("Look up the SQLSTATE in PostgreSQL's manual"),
        };
        let usable = !ends_session(db) && code != "25006";
        Failure { error: explained, usable, repeat: !usable }
    }

    pub(super) fn other_input(&self) -> Error {
        Error::new(ErrorKind::EventInvalid, format!("job {} cannot go on with this run", self.job))
            .because("the run began with other queries or other params than this event has")
            .remedy("Send the event that began it, or choose a new run id")
    }
}

/// The failure of a chunk's statement. Nothing of it was committed, or the row says so.
pub(super) fn chunk_failed(query: &Query, error: &tokio_postgres::Error, prefix: usize) -> Failure {
    let explained = match code(error) {
        "25006" => takes_no_writes(query),
        _ => statement_error(query, error, prefix),
    };
    let usable =
        error.as_db_error().is_some_and(|db| !ends_session(db) && db.code().code() != "25006");
    Failure { error: explained, usable, repeat: !usable }
}

pub(super) fn chunk_undone(query: &Query, error: &tokio_postgres::Error, prefix: usize) -> Undone {
    let failure = chunk_failed(query, error, prefix);
    if is_contention(error) { Undone::Contention(failure.error) } else { failure.into() }
}

pub(super) fn code(error: &tokio_postgres::Error) -> &str {
    error.as_db_error().map_or("", |db| db.code().code())
}

/// Serialization failure, deadlock, or a lock that was not granted in time.
pub(super) fn is_contention(error: &tokio_postgres::Error) -> bool {
    matches!(code(error), "40001" | "40P01" | "55P03")
}

/// Whether another run of the job has the lease.
pub(super) fn is_taken(error: &tokio_postgres::Error) -> bool {
    code(error) == "23505"
        && error.as_db_error().and_then(|db| db.constraint()) == Some("job_runs_one_running")
}
