//! Runs many statements on one connection: an event's records, each in its own transaction.

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, timeout_at};

use super::Session;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::postgres::outcome::{Failure, Progress};
use crate::postgres::{Connection, Leaves, execute, ledger, query_text};
use crate::query::{
    Delivered, Mode, NO_TIME_LEFT, Parameters, Query, no_answer_in_time, server_timeout, timed_out,
};
use crate::work::Work;

/// How many statements are sent ahead of their answers. A statement that was sent before
/// the time ran out may still take effect, so a large batch is not sent at once.
const WINDOW: usize = 25;

/// One record's statement.
#[derive(Clone, Copy)]
pub struct BatchItem<'a> {
    /// The query.
    pub query: &'a Query,
    /// Its parameters.
    pub parameters: &'a Parameters,
    /// The id under which a write goes into the ledger.
    pub message_id: &'a str,
    /// Whether the caller uses the rows.
    pub keeps_rows: bool,
}

/// Shows no id: it may be a value of the message.
impl std::fmt::Debug for BatchItem<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BatchItem").field("query", &self.query.name).finish_non_exhaustive()
    }
}

/// How one item ended.
pub type Outcome = Result<Delivered, Error>;

impl Session {
    /// Runs the statements of a batch, each in its own transaction and with its own bounds, and
    /// returns one outcome for each, in order. Reads, and writes with `result = "rows"` whose rows
    /// are not used, are sent without waiting for those before; other writes run one by one. A write
    /// goes into the ledger in its own transaction, and is [`Delivered::Duplicate`] if it was there.
    ///
    /// If the connection breaks it is replaced, once, and unfinished statements run again: the ledger
    /// keeps a write from happening twice. A statement that there is no time for is
    /// [`QueryTimeout`](ErrorKind::QueryTimeout).
    ///
    /// # Errors
    /// Fails as a whole only if the first login fails, with its error; nothing was run then. A batch that
    /// has no statement to send needs no login.
    ///
    /// # Cancel safety
    /// As [`Session::run`].
    pub async fn run_batch(
        &self,
        items: &[BatchItem<'_>],
        work: &mut Work,
    ) -> Result<Vec<Outcome>, Error> {
        let mut entries: Vec<Entry<'_>> = items.iter().map(Entry::new).collect();
        if !entries.is_empty() && !entries.iter().any(Entry::is_open) {
            return Ok(entries
                .into_iter()
                .map(|entry| entry.into_outcome(work.deadline))
                .collect());
        }
        let mut loan = self.keeper.borrow(work).await?;
        let start = Instant::now();
        loop {
            let ended = self.attempt_batch(loan.connection(), &mut entries, work.deadline).await;
            let closed = loan.connection().is_closed();
            if ended == Ended::Usable && !closed {
                loan.keep();
                break;
            }
            let again =
                entries.iter().any(Entry::is_open) && work.deadline.statement_timeout().is_some();
            let new = match ended {
                _ if !again => break,
                Ended::Spent if !closed => loan.renew(work).await,
                _ if loan.can_be_replaced() => loan.replace(work).await,
                _ => break,
            };
            match new {
                Ok(new) => loan = new,
                // The first failure says more than this one.
                Err(_) => break,
            }
        }
        work.report.query = Some(start.elapsed());
        let violations = entries.iter().filter_map(|entry| entry.progress.violations);
        work.report.violations =
            work.report.violations.into_iter().chain(violations).reduce(|a, b| a + b);
        Ok(entries.into_iter().map(|entry| entry.into_outcome(work.deadline)).collect())
    }

    /// Runs the open items, as far as the connection can be used for them.
    async fn attempt_batch(
        &self,
        connection: &Connection,
        entries: &mut [Entry<'_>],
        deadline: Deadline,
    ) -> Ended {
        // Behind RDS Proxy nothing can be released: the next record needs another connection.
        let alone = |entry: &Entry<'_>| {
            connection.is_proxy() && Leaves::of(entry.item.query) == Leaves::State
        };
        let together = |a: &&mut Entry<'_>, b: &&mut Entry<'_>| {
            a.pipelines() && b.pipelines() && !alone(a) && !alone(b)
        };
        let mut open: Vec<&mut Entry<'_>> =
            entries.iter_mut().filter(|entry| entry.is_open()).collect();
        // A statement that is not pipelined must not share its transaction with others.
        for segment in open.chunk_by_mut(together) {
            if !self.attempt_segment(connection, segment, deadline).await {
                // The connection may be inside an abandoned transaction.
                return Ended::Lost;
            }
            if segment.first().is_some_and(|entry| entry.sent && alone(entry)) {
                return Ended::Spent;
            }
        }
        Ended::Usable
    }

    async fn attempt_segment(
        &self,
        connection: &Connection,
        segment: &mut [&mut Entry<'_>],
        deadline: Deadline,
    ) -> bool {
        let proxy = self.config().proxy;
        let all = stream::iter(segment.iter_mut())
            .map(|entry| entry.run(connection, deadline, proxy))
            .buffered(WINDOW)
            .fold(true, async |usable, still| usable && still);
        if let Ok(usable) = timeout_at(deadline.answer_by(), all).await {
            if connection.got_too_long_a_message() {
                // Answers arrive in order: the first that is missing is the one that was too long.
                let missing = segment.iter_mut().find(|entry| entry.is_lost());
                missing.into_iter().for_each(|entry| entry.end_as_too_long());
            }
            return usable;
        }
        self.cancel(connection, deadline).await;
        for entry in segment {
            entry.give_up();
        }
        false
    }
}

/// The state of a connection after its use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// It can be used on.
    Usable,
    /// It works, and holds what a record left.
    Spent,
    Lost,
}

/// An item, how far it has come, and how it ended.
struct Entry<'a> {
    item: &'a BatchItem<'a>,
    progress: Progress,
    sent: bool,
    /// A failure may be one that another attempt can change.
    result: Option<Result<Delivered, Failure>>,
}

impl<'a> Entry<'a> {
    fn new(item: &'a BatchItem<'a>) -> Self {
        // A statement that the connection cannot take ends here: the others are not to fail with it.
        let refused =
            query_text::refuse(item.query).err().map(|error| Err(Failure::refused(error)));
        Self { item, progress: Progress::new(), sent: false, result: refused }
    }

    /// Whether it may still run.
    fn is_open(&self) -> bool {
        match &self.result {
            None => true,
            Some(result) => result.as_ref().is_err_and(|failure| failure.repeat),
        }
    }

    fn in_one_statement(&self) -> bool {
        !self.item.keeps_rows && ledger::fits_one_statement(self.item.query)
    }

    /// Whether it can be sent without waiting for the answer of the one before.
    fn pipelines(&self) -> bool {
        self.item.query.mode == Mode::Read || self.in_one_statement()
    }

    /// Runs the item, and returns whether the connection is still usable. Without time left it is
    /// not sent.
    async fn run(&mut self, connection: &Connection, deadline: Deadline, proxy: bool) -> bool {
        let one_statement = self.in_one_statement();
        let BatchItem { query, parameters, message_id, keeps_rows } = *self.item;
        let Some(timeout) = server_timeout(query, deadline) else { return true };
        let timeout = (!proxy).then_some(timeout);
        (self.sent, self.result) = (true, None);
        self.progress = Progress::new();
        let progress = &mut self.progress;
        let result = match query.mode {
            Mode::Read => {
                execute::run(connection, query, parameters, timeout, keeps_rows, progress)
                    .await
                    .map(Delivered::Answered)
            }
            Mode::Write if one_statement => {
                ledger::in_one_statement(
                    connection, query, parameters, message_id, timeout, progress,
                )
                .await
            }
            Mode::Write => {
                ledger::step_by_step(connection, query, parameters, message_id, timeout, progress)
                    .await
            }
        };
        let usable = result.as_ref().map_or_else(|failure| failure.usable, |_| true);
        self.result = Some(result);
        usable
    }

    /// Whether its answer was lost with the connection.
    fn is_lost(&self) -> bool {
        matches!(&self.result, Some(Err(failure)) if !failure.usable)
    }

    fn end_as_too_long(&mut self) {
        if let Some(failure) = Failure::too_long(self.item.query, self.progress.stage) {
            self.result = Some(Err(failure));
        }
    }

    /// Ends an item that was sent and got no answer in time.
    fn give_up(&mut self) {
        if self.sent && self.result.is_none() {
            let error = no_answer_in_time(self.item.query, self.progress.stage);
            self.result = Some(Err(Failure::lost(error)));
        }
    }

    fn into_outcome(self, deadline: Deadline) -> Outcome {
        match self.result {
            Some(result) => result.map_err(|failure| failure.error),
            None if deadline.statement_timeout().is_none() => {
                Err(timed_out(self.item.query, NO_TIME_LEFT))
            }
            None => Err(not_sent(self.item.query)),
        }
    }
}

fn not_sent(query: &Query) -> Error {
    Error::new(ErrorKind::NetworkUnreachable, format!("query {} was not run", query.name))
        .because("the connection broke before it was sent, and so did the one that replaced it")
        .remedy("Nothing was changed: run it again")
}
