//! One statement on the session's connection.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::Session;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::postgres::Connection;
use crate::postgres::execute;
use crate::postgres::outcome::{Failure, Progress};
use crate::postgres::query_text;
use crate::query::{
    Answer, Mode, NO_TIME_LEFT, OWN_TIMEOUT_GRACE, Parameters, Query, answer_bound,
    no_answer_in_time, server_timeout, timed_out,
};
use crate::work::Work;

/// A cancel request takes four round trips.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

impl Session {
    /// Runs a query that may not write, in a read-only transaction: one round trip on a warm
    /// connection.
    ///
    /// # Errors
    /// [`QueryDenied`](ErrorKind::QueryDenied) for a query with `mode = "write"`; otherwise as
    /// [`Session::run`].
    ///
    /// # Cancel safety
    /// As [`Session::run`].
    pub async fn read(
        &self,
        query: &Query,
        parameters: &Parameters,
        work: &mut Work,
    ) -> Result<Answer, Error> {
        if query.mode == Mode::Write {
            return Err(only_reads(query));
        }
        self.run(query, parameters, work).await
    }

    /// Runs a query by its mode, in its own transaction: one round trip on a warm connection
    /// for a read, two for a write.
    ///
    /// If the connection turns out dead, it is replaced, once. The statement is then repeated if it
    /// is a read, or if the server refused it because it takes no writes (after a failover).
    ///
    /// # Errors
    /// - of the login: [`CredentialsUnavailable`](ErrorKind::CredentialsUnavailable),
    ///   [`CredentialsExpired`](ErrorKind::CredentialsExpired),
    ///   [`NetworkUnreachable`](ErrorKind::NetworkUnreachable),
    ///   [`NetworkTimeout`](ErrorKind::NetworkTimeout), [`TlsUntrusted`](ErrorKind::TlsUntrusted),
    ///   [`AuthRejected`](ErrorKind::AuthRejected) and
    ///   [`DatabaseUnavailable`](ErrorKind::DatabaseUnavailable);
    /// - of the statement: the kinds that begin with `Query`, `Result` and `Check`. A write whose
    ///   answer was lost is [`QueryOutcomeUnknown`](ErrorKind::QueryOutcomeUnknown).
    ///
    /// # Cancel safety
    /// A dropped future drops the connection it was using, and the next call logs in again. The
    /// server stops the statement when its `statement_timeout` ends, before the deadline. A write
    /// may or may not have happened.
    pub async fn run(
        &self,
        query: &Query,
        parameters: &Parameters,
        work: &mut Work,
    ) -> Result<Answer, Error> {
        query_text::refuse(query)?;
        let mut loan = self.keeper.borrow(work).await?;
        loop {
            match self.attempt(loan.connection(), query, parameters, work).await {
                Ok(answer) => {
                    loan.keep();
                    return Ok(answer);
                }
                Err(failure) => loan = loan.recover(failure, work).await?,
            }
        }
    }

    async fn attempt(
        &self,
        connection: &Connection,
        query: &Query,
        parameters: &Parameters,
        work: &mut Work,
    ) -> Result<Answer, Failure> {
        let deadline = work.deadline;
        let Some(server_timeout) = server_timeout(query, deadline) else {
            return Err(Failure::refused(timed_out(query, NO_TIME_LEFT)));
        };
        let proxy = self.config().proxy;
        let start = Instant::now();
        let bound = self.answer_bound(query, deadline);
        let server_timeout = (!proxy).then_some(server_timeout);
        let mut progress = Progress::new();
        let run = execute::run(connection, query, parameters, server_timeout, true, &mut progress);
        let result = timeout_at(bound, run).await;
        work.report.query = Some(start.elapsed());
        work.report.violations = progress.violations;
        if let Ok(result) = result {
            return result.map_err(|failure| {
                let too_long = connection.got_too_long_a_message();
                let too_long = too_long.then(|| Failure::too_long(query, progress.stage)).flatten();
                too_long.unwrap_or(failure)
            });
        }
        self.cancel(connection, deadline).await;
        Err(Failure::lost(no_answer_in_time(query, progress.stage)))
    }

    /// When a statement that starts now must have answered. The server enforces a query's own time-out,
    /// except behind RDS Proxy.
    pub(super) fn answer_bound(&self, query: &Query, deadline: Deadline) -> Instant {
        let proxy = self.config().proxy;
        let grace = if proxy { Duration::ZERO } else { OWN_TIMEOUT_GRACE };
        answer_bound(query, deadline, grace)
    }

    /// Sends a cancel request, because the server's own time-out did not arrive. RDS Proxy takes none.
    pub(super) async fn cancel(&self, connection: &Connection, deadline: Deadline) {
        if !self.config().proxy {
            let bound = deadline.cancel_by().min(Instant::now() + CANCEL_TIMEOUT);
            self.keeper.engine.cancel(connection, bound).await;
        }
    }
}

pub(super) fn only_reads(query: &Query) -> Error {
    let what = format!("query {} does not run here", query.name);
    Error::new(ErrorKind::QueryDenied, what)
        .because("its mode is \"write\", and this function only reads")
        .remedy("Name a query with mode = \"read\", or use a function that writes")
}
