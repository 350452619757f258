//! A run of a batch job: its steps in order, chunk by chunk, as far as the time of one invocation goes.
//!
//! The run's row in `job_runs` is the truth. Whatever breaks, the run is claimed again, and goes on after
//! the last chunk that was committed: a lost answer of COMMIT needs no other care.

mod chunks;
mod failures;
mod rivals;

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Session;
use super::postgres::Loan;
use crate::error::{Error, ErrorKind};
use crate::postgres::jobs::{Claim, Ending, Entry, Holder, Position, Seen, Undone};
use crate::postgres::outcome::{Failure, Progress, Stage};
use crate::postgres::{Leaves, execute, query_text};
use crate::query::{
    Answer, Metrics, Mode, NO_TIME_LEFT, Parameters, Query, no_answer_in_time, server_timeout,
    timed_out,
};
use crate::retry::{Attempts, RetryPolicy};
use crate::work::Work;

/// The pause before a run that someone else has is looked at again; drawn at random up to twice this.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A statement that had less of the invocation's time, and took too long, has a whole invocation next.
const MOST_OF_THE_TIME: f64 = 0.8;
/// How much the size of a chunk changes at once, and how large it gets.
const GROWTH: (f64, f64) = (0.25, 2.0);
const LARGEST_CHUNK: u64 = 1_000_000;

/// One query of a job, with its parameters.
#[derive(Clone, Debug)]
pub struct Step {
    /// The query.
    pub query: Query,
    /// Its parameters.
    pub parameters: Parameters,
}

/// The behaviour if another run of the job is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// This run does not take place.
    #[default]
    Skip,
    /// The invocation fails, and may be repeated.
    Fail,
    /// This run waits, within the invocation's time.
    Wait,
}

/// A run of a job.
#[derive(Clone, Copy, Debug)]
pub struct JobRun<'a> {
    /// The job's name: one run of it at a time.
    pub job: &'a str,
    /// The id that distinguishes its runs.
    pub run: &'a str,
    /// Its queries, in order; at least one.
    pub steps: &'a [Step],
    /// The input of the run, as text: another one under the same run id is refused.
    pub input: &'a str,
    /// The behaviour if another run of the job is running.
    pub overlap: Overlap,
    /// How long the run stays with an invocation that gives no sign of life between two chunks.
    pub lease: Duration,
}

/// One invocation's work on a run, whether it succeeded or not.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct JobReport {
    /// Statements that were committed.
    pub chunks: u64,
    /// Rows that they affected.
    pub rows: u64,
    /// How often another invocation had taken the run over.
    pub lease_lost: u64,
    /// Seconds from the start of the run to its end, if it ended in this invocation.
    pub run_seconds: Option<u64>,
    /// The answers of queries with `result = "metric"`.
    pub metrics: Vec<Metrics>,
}

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobState {
    /// How the invocation ended.
    pub end: JobEnd,
    /// The step that runs, or ran last, from 1.
    pub step: usize,
    /// Statements of the whole run that were committed.
    pub chunks: u64,
    /// Rows that they affected.
    pub rows: u64,
}

/// How an invocation ended that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// The run is finished, now or before.
    Finished,
    /// There was no time left: another invocation goes on.
    Unfinished,
    /// Someone else runs: a sentence that says who.
    Skipped(String),
}

impl Session {
    /// Takes a run up where it stopped, and carries it on until it is finished or the time ends. A run
    /// that is finished is not run again. `report` also tells what was done before a failure.
    ///
    /// A statement that met a deadlock, a serialization failure or a lock is run again, as
    /// [`RetryPolicy::chunk`] says; a connection that broke is replaced in the same way.
    ///
    /// # Errors
    /// - [`JobOverlap`](ErrorKind::JobOverlap) if another run of the job is running;
    /// - [`EventInvalid`](ErrorKind::EventInvalid) if the run began with another input;
    /// - [`QueryInvalid`](ErrorKind::QueryInvalid) or [`QueryBadParameter`](ErrorKind::QueryBadParameter),
    ///   before anything is run, if a step would be repeated for ever or has chunks of no rows;
    /// - as [`Session::run`], for the login and for the statements. The row then has the status
    ///   `failed`, with the error, unless the database could not be reached.
    ///
    /// # Cancel safety
    /// Dropping the future drops its connection. What was committed is in the run's row, and the run can
    /// be taken over when its lease ends.
    pub async fn run_job(
        &self,
        run: &JobRun<'_>,
        work: &mut Work,
        report: &mut JobReport,
    ) -> Result<JobState, Error> {
        if run.steps.is_empty() {
            return Err(Error::new(ErrorKind::EventInvalid, "the job has no query"));
        }
        for step in run.steps {
            query_text::refuse_step(&step.query, &step.parameters)?;
        }
        let start = Instant::now();
        let budget = work.deadline.remaining();
        let mut runner = Runner {
            session: self,
            run,
            leaves: Leaves::of_any(run.steps.iter().map(|step| &step.query)),
            owner: new_owner(),
            claimed: false,
            loan: None,
            budget,
            longest: Duration::ZERO,
            attempts: RetryPolicy::chunk().start(budget),
            failures: 0,
            rival: None,
            told: false,
            current: (0, Parameters::default()),
            work,
            report,
        };
        let ended = runner.drive().await;
        if let Some(loan) = runner.loan.take().filter(|_| ended.is_ok()) {
            loan.keep();
        }
        work.report.query = Some(start.elapsed());
        ended
    }
}

/// A fencing token: no two invocations have the same.
fn new_owner() -> i64 {
    fastrand::i64(..)
}

/// One invocation at work on a run.
struct Runner<'s, 'a> {
    session: &'s Session,
    run: &'a JobRun<'a>,
    /// The state that its statements may leave in the session.
    leaves: Leaves,
    owner: i64,
    /// Whether this owner has had the run.
    claimed: bool,
    /// The connection. Without one, the next step logs in.
    loan: Option<Loan<'s>>,
    /// The invocation's time.
    budget: Duration,
    /// The slowest chunk so far: the next may be as slow.
    longest: Duration,
    /// Failures since the last chunk that was committed.
    attempts: Attempts,
    failures: u32,
    /// Who has the run, and how far that owner had come when first seen.
    rival: Option<(Option<i64>, u64)>,
    /// Whether the log says already that it waits.
    told: bool,
    /// The step that runs, and its parameters with the size of the next chunk.
    current: (usize, Parameters),
    work: &'a mut Work,
    report: &'a mut JobReport,
}

impl<'a> Runner<'_, 'a> {
    async fn drive(&mut self) -> Result<JobState, Error> {
        loop {
            match self.claim().await {
                Ok(Claim::Mine(at)) => {
                    self.claimed = true;
                    if let Some(state) = self.go_on(at).await? {
                        return Ok(state);
                    }
                }
                Ok(Claim::Seen(seen)) => {
                    if let Some(state) = self.stand_back(seen).await? {
                        return Ok(state);
                    }
                }
                Ok(Claim::Again) => self.wait().await?,
                Err(failure) => self.recover(failure).await?,
            }
        }
    }

    async fn claim(&mut self) -> Result<Claim, Failure> {
        let first = &self.run.steps[0].query;
        self.connect().await.map_err(Failure::lost)?;
        let (holder, deadline) = (self.holder(), self.work.deadline);
        let Some(loan) = &self.loan else { return Ok(Claim::Again) };
        let claim = holder.claim(&loan.connection().client, first);
        timeout_at(deadline.answer_by(), claim)
            .await
            .unwrap_or_else(|_| Err(Failure::lost(no_answer_in_time(first, Stage::Begun))))
    }

    /// Whether another chunk fits into the time after a pause.
    fn has_time(&self, pause: Duration) -> bool {
        self.spare_time() > pause
    }

    /// The time until the last moment at which another chunk, as slow as the slowest so far, may begin.
    fn spare_time(&self) -> Duration {
        let reserve = (self.budget / 20).min(Duration::from_secs(1)).max(self.longest * 2);
        self.work.deadline.statement_timeout().unwrap_or_default().saturating_sub(reserve)
    }

    /// The server's time-out for a query; RDS Proxy gets none.
    fn timeout(&self, query: &Query) -> Result<Option<Duration>, Undone> {
        let timeout = server_timeout(query, self.work.deadline)
            .ok_or_else(|| Failure::refused(timed_out(query, NO_TIME_LEFT)))?;
        Ok((!self.session.config().proxy).then_some(timeout))
    }

    async fn connect(&mut self) -> Result<(), Error> {
        if self.loan.as_ref().is_none_or(|loan| loan.connection().is_closed()) {
            // The old one first: the session has one connection.
            self.loan = None;
            self.loan = Some(self.session.keeper.borrow(self.work).await?);
        }
        Ok(())
    }

    fn holder(&self) -> Holder<'a> {
        let JobRun { job, run, lease, input, .. } = *self.run;
        let loan = self.loan.as_ref();
        let release = loan.is_some_and(|loan| loan.connection().sends_release(self.leaves));
        Holder { job, run, owner: self.owner, lease, input, release }
    }
}

async fn in_time<T>(
    by: Instant,
    query: &Query,
    work: impl Future<Output = Result<T, Undone>>,
) -> Result<T, Undone> {
    let late = |_| Err(Failure::lost(no_answer_in_time(query, Stage::Begun)).into());
    timeout_at(by, work).await.unwrap_or_else(late)
}

fn state(end: JobEnd, at: Position) -> JobState {
    JobState { end, step: at.step, chunks: at.chunks, rows: at.rows }
}
