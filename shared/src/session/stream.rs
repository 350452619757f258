//! A read whose rows are handed on as they arrive.

use futures_util::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::Session;
use super::postgres::Loan;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::postgres::query_text;
use crate::postgres::stream::{self, Running};
use crate::postgres::{Column, Leaves, RowForm, StreamedRow};
use crate::query::{Failure, Mode, NO_TIME_LEFT, Parameters, Query, server_timeout, timed_out};
use crate::work::Work;

/// The rows of a query that runs. It holds the session's connection until the last row was taken, or
/// until it is dropped, which closes the connection.
pub struct RowStream<'s> {
    session: &'s Session,
    loan: Option<Loan<'s>>,
    running: Running,
    deadline: Deadline,
    bound: Instant,
    timed_out: bool,
}

impl Session {
    /// Runs a query that may not write in a read-only transaction of isolation level REPEATABLE READ,
    /// and hands on its rows as they arrive. While the caller takes no row, the server waits, so memory
    /// does not grow with the result.
    ///
    /// A dead connection is replaced once, before the first row. The server stops the statement before
    /// `work.deadline`, except behind RDS Proxy, where a SET would pin the session; there only
    /// [`RowStream::next`] is bounded. The forms [`Fields`](RowForm::Fields) and
    /// [`Values`](RowForm::Values) prepare the statement by a name, which pins a session of RDS Proxy:
    /// behind it, the connection is not kept.
    ///
    /// # Errors
    /// As [`Session::read`].
    ///
    /// # Cancel safety
    /// As [`Session::run`].
    pub async fn stream(
        &self,
        query: &Query,
        parameters: &Parameters,
        form: RowForm,
        work: &mut Work,
    ) -> Result<RowStream<'_>, Error> {
        if query.mode == Mode::Write {
            return Err(super::run::only_reads(query));
        }
        query_text::refuse(query)?;
        let form = match form {
            // Not described, it pins nothing.
            RowForm::Members if self.config().proxy => RowForm::Json,
            form => form,
        };
        let mut loan = self.keeper.borrow(work).await?;
        loop {
            let deadline = work.deadline;
            let Some(limit) = server_timeout(query, deadline) else {
                return Err(timed_out(query, NO_TIME_LEFT));
            };
            let bound = self.answer_bound(query, deadline);
            let limit = (!self.config().proxy).then_some(limit);
            let start = stream::start(loan.connection(), query, parameters, form, limit);
            match timeout_at(bound, start).await {
                Ok(Ok(running)) => {
                    let loan = Some(loan);
                    let (session, timed_out) = (self, false);
                    return Ok(RowStream { session, loan, running, deadline, bound, timed_out });
                }
                Ok(Err(failure)) => {
                    // The transaction is still open.
                    let failure = Failure { usable: false, ..failure };
                    loan = loan.recover(failure, work).await?;
                }
                Err(_) => {
                    self.cancel(loan.connection(), deadline).await;
                    return Err(timed_out(query, "the database did not answer in time"));
                }
            }
        }
    }
}

impl RowStream<'_> {
    /// The columns; empty if the rows have the form [`RowForm::Json`].
    pub fn columns(&self) -> &[Column] {
        &self.running.columns
    }

    /// The next row; `None` after the last, when the transaction has ended and the session has its
    /// connection back.
    ///
    /// # Errors
    /// As [`Session::read`]; [`ResultTooLarge`](ErrorKind::ResultTooLarge) if one row is longer than
    /// 6 MB. After an error there are no more rows.
    ///
    /// # Cancel safety
    /// Dropping the future loses no row.
    pub async fn next(&mut self) -> Result<Option<StreamedRow>, Error> {
        let Some(loan) = self.loan.as_ref().filter(|_| !self.timed_out) else { return Ok(None) };
        // Most rows are here already, and need no timer.
        let next = match self.running.next().now_or_never() {
            Some(next) => Ok(next),
            None => timeout_at(self.bound, self.running.next()).await,
        };
        let error = match next {
            Ok(Ok(Some(row))) => return Ok(Some(row)),
            Ok(Ok(None)) => return self.end().await.map(|()| None),
            Ok(Err(_)) if loan.connection().got_too_long_a_message() => {
                too_long(self.running.query())
            }
            Ok(Err(failure)) => failure.error,
            Err(_) => {
                // Whether to spend time on a cancel request is for the caller to say.
                self.timed_out = true;
                return Err(timed_out(self.running.query(), "its rows were not read in time"));
            }
        };
        self.loan = None;
        Err(error)
    }

    /// Ends the transaction, and gives the connection back.
    async fn end(&mut self) -> Result<(), Error> {
        let Some(loan) = self.loan.take() else { return Ok(()) };
        let connection = loan.connection();
        let commit = connection.end("COMMIT", Leaves::of(self.running.query()));
        // Nothing was written: a lost answer costs the connection, and no row.
        let committed = matches!(timeout_at(self.bound, commit).await, Ok(Ok(())));
        let pinned = self.session.config().proxy && !self.columns().is_empty();
        if committed && !pinned {
            loan.keep();
        }
        Ok(())
    }

    /// Asks the server to stop the statement, and closes the connection: for a caller that wants no
    /// more rows, or got none in time. Without it, the server stops when its own time-out ends.
    pub async fn stop(&mut self) {
        if let Some(loan) = self.loan.take() {
            self.session.cancel(loan.connection(), self.deadline).await;
        }
    }
}

impl std::fmt::Debug for RowStream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowStream").field("columns", &self.columns()).finish_non_exhaustive()
    }
}

fn too_long(query: &Query) -> Error {
    Error::new(ErrorKind::ResultTooLarge, format!("a row of query {} is too long", query.name))
        .because("a row may have 6 MB, so that memory stays bounded")
        .remedy("Select fewer or shorter columns, or split the value over several rows")
}
