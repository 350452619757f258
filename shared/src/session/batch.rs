//! Many statements over the one connection: an event's records, each in a transaction of its own.

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::{Instant, timeout_at};

use super::{CANCEL_TIMEOUT, Idle, Report, Session, out_of_time};
use crate::connect::Connection;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::query::execute::{self, Failure, Progress, Stage};
use crate::query::ledger::{self, Delivered};
use crate::query::{Mode, Parameters, Query};

/// How many statements are under way at once. What is under way when time runs out may still
/// happen, so it is not all of a large batch.
const WINDOW: usize = 25;

/// One record's statement.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The query.
    pub query: &'a Query,
    /// Its parameters.
    pub parameters: &'a Parameters,
    /// What a write is entered into the ledger by.
    pub message_id: &'a str,
    /// Whether the rows are of use to anyone.
    pub wants_answer: bool,
}

/// What one job came to.
pub type Outcome = Result<Delivered, Error>;

/// Outcomes so far: final, or the failure of what may be tried again.
type Slots = Vec<Option<Result<Delivered, (Error, bool)>>>;

impl Session {
    /// Runs the statements of a batch, each in a transaction of its own, and answers for each in
    /// order. Reads, and writes with `result = "rows"`, are sent without waiting for those before;
    /// other writes go one by one. A write is entered into the ledger with what it does, and is
    /// [`Delivered::Duplicate`] if it was there.
    ///
    /// If the connection breaks it is replaced, once, and what was under way runs again: the ledger
    /// keeps a write from happening twice. What there is no time for is
    /// [`crate::ErrorKind::QueryTimeout`]. Fails as a whole only if there is no connection to begin
    /// with.
    ///
    /// # Cancel safety
    /// As [`Session::run`].
    pub async fn run_batch(
        &self,
        jobs: &[Job<'_>],
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Vec<Outcome>, Error> {
        let mut idle = self.lock(deadline).await?;
        let (mut connection, mut replaced) = self.acquire(idle.take(), deadline, report).await?;
        let mut slots: Slots = jobs.iter().map(|_| None).collect();
        let start = Instant::now();
        loop {
            let mut violations = None;
            let usable =
                self.attempt_batch(&connection, jobs, &mut slots, deadline, &mut violations).await;
            report.violations = add(report.violations, violations);
            if usable && !connection.is_closed() {
                *idle = Some(Idle { connection, since: self.clock.now() });
                break;
            }
            let again =
                slots.iter().any(|slot| !is_final(slot)) && deadline.statement_timeout().is_some();
            if replaced || !again {
                break;
            }
            drop(connection);
            replaced = true;
            report.reused = false;
            match self.login(deadline, report).await {
                Ok(new) => connection = new,
                // The first failure says more than this one.
                Err(_) => break,
            }
        }
        report.query = Some(start.elapsed());
        let outcomes = slots.into_iter().zip(jobs).map(|(slot, job)| match slot {
            Some(Ok(delivered)) => Ok(delivered),
            Some(Err((error, _))) => Err(error),
            None if deadline.statement_timeout().is_none() => {
                Err(out_of_time(job.query, "no time was left to run it"))
            }
            None => Err(not_sent(job.query)),
        });
        Ok(outcomes.collect())
    }

    /// Runs what is not final yet; whether the connection can be used on.
    async fn attempt_batch(
        &self,
        connection: &Connection,
        jobs: &[Job<'_>],
        slots: &mut Slots,
        deadline: Deadline,
        violations: &mut Option<u64>,
    ) -> bool {
        let todo: Vec<usize> = (0..jobs.len()).filter(|index| !is_final(&slots[*index])).collect();
        let mut usable = true;
        // What goes one by one must not meet others inside its transaction.
        for segment in todo.chunk_by(|a, b| pipelines(&jobs[*a]) && pipelines(&jobs[*b])) {
            usable &=
                self.attempt_segment(connection, jobs, segment, slots, deadline, violations).await;
            // It may be inside a transaction that was given up: what follows needs another.
            if !usable {
                break;
            }
        }
        usable
    }

    async fn attempt_segment(
        &self,
        connection: &Connection,
        jobs: &[Job<'_>],
        segment: &[usize],
        slots: &mut Slots,
        deadline: Deadline,
        violations: &mut Option<u64>,
    ) -> bool {
        let Some(left) = deadline.statement_timeout() else { return true };
        let proxy = self.connector.config().proxy;
        let client = &connection.client;
        // A statement without a transaction around it has its bounds from the session: one for all
        // of the segment, the shortest that any of them has.
        let alone = segment.iter().map(|index| &jobs[*index]).filter(|job| in_one_statement(job));
        let bound = alone.map(|job| job.query.timeout.map_or(left, |own| own.min(left))).min();
        let bounds = async {
            if let Some(bound) = bound.filter(|_| !proxy) {
                let timeout = bound.as_millis().max(2);
                let set = format!(
                    "SET statement_timeout = {timeout}; SET lock_timeout = {}",
                    timeout / 2
                );
                let _ = client.batch_execute(&set).await;
            }
        };
        let run = async |index: usize| {
            let job = &jobs[index];
            let timeout = job.query.timeout.map_or(left, |own| own.min(left));
            let timeout = (!proxy).then_some(timeout);
            let mut progress = Progress { stage: Stage::Sent, violations: None };
            let result = match job.query.mode {
                Mode::Read => execute::run(
                    client,
                    job.query,
                    job.parameters,
                    timeout,
                    job.wants_answer,
                    &mut progress,
                )
                .await
                .map(Delivered::Answered),
                Mode::Write if in_one_statement(job) => {
                    ledger::in_one_statement(client, job.query, job.parameters, job.message_id)
                        .await
                }
                Mode::Write => {
                    let id = job.message_id;
                    ledger::step_by_step(
                        client,
                        job.query,
                        job.parameters,
                        id,
                        timeout,
                        &mut progress,
                    )
                    .await
                }
            };
            (index, result, progress.violations)
        };
        let mut usable = true;
        let consume = async {
            let mut results =
                std::pin::pin!(stream::iter(segment.iter().copied()).map(run).buffered(WINDOW));
            while let Some((index, result, found)) = results.next().await {
                *violations = add(*violations, found);
                slots[index] = Some(result.map_err(|Failure { error, usable: on, repeat }| {
                    usable &= on;
                    (error, repeat)
                }));
            }
        };
        let both = async { tokio::join!(biased; bounds, consume) };
        if timeout_at(deadline.answer_by(), both).await.is_ok() {
            return usable;
        }
        if !proxy {
            let bound = deadline.cancel_by().min(Instant::now() + CANCEL_TIMEOUT);
            self.connector.cancel(&client.cancel_token(), bound).await;
        }
        for index in segment {
            let query = jobs[*index].query;
            slots[*index].get_or_insert_with(|| {
                Err((out_of_time(query, "the database did not answer in time"), false))
            });
        }
        false
    }
}

fn not_sent(query: &Query) -> Error {
    Error::new(ErrorKind::NetworkUnreachable, format!("query {} was not run", query.name))
        .because("the connection broke before it was sent, and once more after it was replaced")
        .remedy("Nothing has happened: it may run again")
}

fn add(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn is_final(slot: &Option<Result<Delivered, (Error, bool)>>) -> bool {
    match slot {
        None | Some(Err((_, true))) => false,
        Some(_) => true,
    }
}

fn in_one_statement(job: &Job<'_>) -> bool {
    !job.wants_answer && ledger::fits_one_statement(job.query)
}

fn pipelines(job: &Job<'_>) -> bool {
    job.query.mode == Mode::Read || in_one_statement(job)
}
