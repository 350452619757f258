//! Explains the failure of a statement on `job_runs`, or of a chunk, and says what to do about it.

use tokio_postgres::Client;

use super::super::execute::{Statement, TRANSACTION_TIMEOUT, ends_session};
use super::super::outcome::Failure;
use super::super::read_only::{self, Cause, refuses_writes};
use super::super::statement_error::{condition, own_words};
use super::holder::{Holder, Undone};
use crate::error::{Error, ErrorKind};

impl Holder<'_> {
    fn what(&self) -> String {
        format!("job {} could not read or write its run in job_runs", self.job)
    }

    /// The connection cannot be used on. The run is claimed again, on a new one.
    pub(super) fn broken(&self) -> Failure {
        let error = Error::new(ErrorKind::NetworkUnreachable, self.what())
            .because("the connection broke")
            .remedy("Run it again: it goes on after its last chunk that was committed");
        Failure { error, usable: false, repeat: true }
    }

    /// The failure of a claim that was refused because its transaction is read-only (25006).
    pub(super) async fn refused(&self, client: &Client) -> Failure {
        match read_only::ask(client).await {
            Some(cause @ (Cause::Altered(_) | Cause::Session)) => {
                Failure::lost(cause.error(self.what()))
            }
            Some(cause) if cause.passes() => {
                Failure { error: cause.error(self.what()), usable: false, repeat: true }
            }
            // It was promoted in between, or did not answer.
            _ => Failure { error: self.takes_no_writes(), usable: false, repeat: true },
        }
    }

    fn takes_no_writes(&self) -> Error {
        Cause::Standby.error(self.what())
    }

    /// The error of a statement on the table.
    pub(super) fn failed(&self, error: &tokio_postgres::Error) -> Failure {
        let error_of = |kind| Error::new(kind, self.what());
        let Some(db) = error.as_db_error() else { return self.broken() };
        let code = db.code().code();
        let safe = ["42", "53", "57"].iter().any(|class| code.starts_with(class));
        let why = match own_words(db).filter(|_| safe) {
            Some(message) => format!("{message} ({})", condition(code)),
            None => condition(code),
        };
        let explained = match code {
            "25006" => self.takes_no_writes(),
            "57014" | "55P03" | TRANSACTION_TIMEOUT => error_of(ErrorKind::QueryTimeout)
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
pub(super) fn chunk_failed(statement: &Statement<'_>, error: &tokio_postgres::Error) -> Failure {
    if refuses_writes(error) {
        // The lease was locked in the same transaction, which takes one that writes.
        let what = format!("query {} could not write", statement.query.name);
        return Failure::refused(Cause::Transaction.error(what));
    }
    let usable = error.as_db_error().is_some_and(|db| !ends_session(db));
    // transaction_timeout: another connection would meet it again.
    let repeat = !usable && code(error) != TRANSACTION_TIMEOUT;
    Failure { error: statement.explained(error), usable, repeat }
}

pub(super) fn chunk_undone(statement: &Statement<'_>, error: &tokio_postgres::Error) -> Undone {
    let failure = chunk_failed(statement, error);
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
