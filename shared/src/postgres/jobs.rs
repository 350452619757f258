//! Runs of batch jobs: the row of a run is its history and its lease, and says which chunk comes next.
//!
//! `sql/jobs.sql` makes the table. A chunk is a transaction of its own, which `BEGIN` has opened for
//! certain before anything of the chunk is sent; otherwise the statement would commit by itself.
//!
//! ```text
//! claim                          one round trip
//! BEGIN, first of all            one, and later together with the COMMIT before it
//! lease, statement               one for each chunk
//! counts, COMMIT (and BEGIN)     one for each chunk, when every answer was looked at
//! ```
//!
//! The lease is checked by locking the row in the chunk's own transaction, with the fencing token of the
//! invocation. The lock keeps a takeover out for as long as the chunk runs, however long that is; the
//! server's `idle_in_transaction_session_timeout` frees it from an owner that fell silent. All times are
//! the database's: the clock of a sandbox that was frozen says nothing.

mod failure;
mod holder;
mod row;
#[cfg(test)]
mod tests;

use std::time::Duration;

use futures_util::future::{join, join3, join4};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use self::failure::{chunk_failed, chunk_undone, code, is_contention, is_taken};
pub(crate) use self::holder::{Holder, Undone};
pub(crate) use self::row::{Position, Seen};
use self::row::{as_i64, as_u64, position};
use super::begin::{Limit, SessionLimits, Transaction};
use super::execute::Statement;
use super::leftovers::RELEASE;
use super::outcome::{Failure, NoAnswer};
use super::read_only::refuses_writes;
use crate::error::Error;
use crate::query::{Answer, Parameters, Query};

/// How long a parked run keeps its job to itself, in leases: its next invocation may be slow to come.
const PARKED_LEASES: f64 = 10.0;

/// Takes over what is free to take: a run that nobody has begun, that was parked or failed, whose lease
/// has ended, or that this very owner holds. Locked rows are in use, and are not waited for. A run of the
/// same job whose lease has ended gives way to this one. If another run has a lease, this violates
/// `job_runs_one_running`.
const CLAIM: &str = "
WITH silent AS (
    UPDATE job_runs SET status = 'abandoned', owner = NULL
    WHERE (job, run) IN (
        SELECT job, run FROM job_runs
        WHERE job = $1 AND run <> $2 AND status = 'running' AND lease_until < clock_timestamp()
        FOR UPDATE SKIP LOCKED)
    RETURNING 1
), taken AS (
    UPDATE job_runs SET
        status = 'running', owner = $3, lease_until = clock_timestamp() + make_interval(secs => $4),
        invocations = invocations + (owner IS DISTINCT FROM $3)::int,
        finished_at = NULL, error_type = NULL, message = NULL
    WHERE (SELECT count(*) FROM silent) >= 0 AND (job, run) IN (
        SELECT job, run FROM job_runs
        WHERE job = $1 AND run = $2 AND input = encode(sha256(convert_to($5, 'UTF8')), 'hex')
          AND (status IN ('failed', 'abandoned')
               OR status = 'running'
                  AND (owner IS NULL OR owner = $3 OR lease_until < clock_timestamp()))
        FOR UPDATE SKIP LOCKED)
    RETURNING step, step_chunks, chunks, rows
), begun AS (
    INSERT INTO job_runs (job, run, status, step, query, invocations, owner, lease_until, input)
    SELECT $1, $2, 'running', 1, $6, 1, $3, clock_timestamp() + make_interval(secs => $4),
        encode(sha256(convert_to($5, 'UTF8')), 'hex')
    WHERE NOT EXISTS (SELECT FROM taken)
    ON CONFLICT (job, run) DO NOTHING
    RETURNING step, step_chunks, chunks, rows
)
SELECT * FROM taken UNION ALL SELECT * FROM begun";

/// The run itself, or else the one that runs: for a claim that found nothing to take.
const LOOK: &str = "
SELECT run, status, step, step_chunks, chunks, rows, owner, coalesce(message, ''),
    to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
    to_char(progressed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
    to_char(lease_until AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
    input = encode(sha256(convert_to($3, 'UTF8')), 'hex')
FROM job_runs WHERE job = $1 AND (run = $2 OR status = 'running')
ORDER BY (run = $2 AND status IN ('finished', 'skipped')) DESC, status = 'running' DESC, run = $2 DESC
LIMIT 1";

/// Locks the row for the chunk's transaction, or fails, so that the statement that follows cannot run.
const HOLD: &str = "
SELECT 1 / count(*) FROM (
    SELECT FROM job_runs WHERE job = $1 AND run = $2 AND owner = $3 AND status = 'running'
    FOR NO KEY UPDATE) AS held";

/// Extends the lease for a statement that holds no lock on the row; fails if the row is not this owner's.
const KEEP: &str = "
WITH kept AS (
    UPDATE job_runs SET lease_until = clock_timestamp() + make_interval(secs => $4)
    WHERE job = $1 AND run = $2 AND owner = $3 AND status = 'running'
    RETURNING 1)
SELECT 1 / count(*) FROM kept";

/// Counts a chunk and extends the lease, or ends the run. Fails if the row is not this owner's, or if
/// this chunk is counted already: a read's counts may arrive late, from a connection that was given up.
const RECORD: &str = "
WITH recorded AS (
    UPDATE job_runs SET
        step = $4, query = $5, step_chunks = $6, chunks = chunks + 1, rows = rows + $7,
        progressed_at = clock_timestamp(),
        status = CASE WHEN $8 THEN 'finished' ELSE 'running' END,
        finished_at = CASE WHEN $8 THEN clock_timestamp() END,
        owner = CASE WHEN $8 THEN NULL ELSE owner END,
        lease_until = clock_timestamp() + make_interval(secs => $9)
    WHERE job = $1 AND run = $2 AND owner = $3 AND status = 'running' AND chunks = $10
    RETURNING extract(epoch FROM clock_timestamp() - started_at)::bigint AS seconds)
SELECT 1 / count(*), max(seconds) FROM recorded";

const PARK: &str = "
UPDATE job_runs SET owner = NULL, lease_until = clock_timestamp() + make_interval(secs => $4)
WHERE job = $1 AND run = $2 AND owner = $3 AND status = 'running'";

const FAIL: &str = "
UPDATE job_runs SET status = 'failed', owner = NULL, error_type = $4, message = $5,
    finished_at = clock_timestamp()
WHERE job = $1 AND run = $2 AND owner = $3 AND status = 'running'";

const SKIP: &str = "
INSERT INTO job_runs (job, run, status, step, query, lease_until, finished_at, message, input)
VALUES ($1, $2, 'skipped', 1, $3, clock_timestamp(), clock_timestamp(), $4,
    encode(sha256(convert_to($5, 'UTF8')), 'hex'))
ON CONFLICT (job, run) DO NOTHING";

/// The result of a claim.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    /// The run is this owner's.
    Mine(Position),
    /// The run, or another run of its job, is someone else's; or the run has ended.
    Seen(Seen),
    /// It was about to become free: try again.
    Again,
}

/// The statements that end the transaction of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// There is none: the statement only read.
    Alone,
    /// `COMMIT`
    Commit,
    /// `COMMIT`, and `BEGIN` for the next, with the time that its statement may take.
    CommitAndBegin(Option<Duration>),
}

type Typed<'a> = (&'a (dyn ToSql + Sync), Type);

impl Holder<'_> {
    fn key(&self) -> [Typed<'_>; 3] {
        [(&self.job, Type::TEXT), (&self.run, Type::TEXT), (&self.owner, Type::INT8)]
    }

    fn with<'b>(&'b self, more: &[Typed<'b>]) -> Vec<Typed<'b>> {
        self.key().into_iter().chain(more.iter().cloned()).collect()
    }

    /// Claims the run, which begins with `query`.
    pub(crate) async fn claim(&self, client: &Client, query: &Query) -> Result<Claim, Failure> {
        let lease = self.lease.as_secs_f64();
        let claim = self.with(&[
            (&lease, Type::FLOAT8),
            (&self.input, Type::TEXT),
            (&query.name, Type::TEXT),
        ]);
        let look = [
            (&self.job as _, Type::TEXT),
            (&self.run as _, Type::TEXT),
            (&self.input as _, Type::TEXT),
        ];
        // Each is a transaction of its own; both travel together.
        let (claimed, seen) =
            join(client.query_typed(CLAIM, &claim), client.query_typed(LOOK, &look)).await;
        match claimed {
            Ok(rows) => {
                if let Some(row) = rows.first() {
                    return position(row, 0).map(Claim::Mine).map_err(|error| self.failed(&error));
                }
            }
            Err(error) if is_taken(&error) => {}
            Err(error) if is_contention(&error) => return Ok(Claim::Again),
            Err(error) if refuses_writes(&error) => return Err(self.refused(client).await),
            Err(error) => return Err(self.failed(&error)),
        }
        let rows = seen.map_err(|error| self.failed(&error))?;
        let seen = rows.first().map(Seen::read).transpose().map_err(|error| self.failed(&error))?;
        // The run that had the lease ended in between.
        let Some(seen) = seen else { return Ok(Claim::Again) };
        if seen.run == self.run && !seen.same_input {
            return Err(Failure::refused(self.other_input()));
        }
        Ok(Claim::Seen(seen))
    }

    /// Opens the transaction of a chunk.
    pub(crate) async fn begin(
        &self,
        client: &Client,
        limits: &SessionLimits,
        timeout: Option<Duration>,
    ) -> Result<(), Failure> {
        let begun = limits.begin(client, Transaction::Write, timeout, self.lease).await;
        begun.map_err(|error| self.failed(&error))
    }

    /// Keeps the run for a statement that takes up to so long and only reads, outside of a chunk's
    /// transaction.
    pub(crate) async fn keep(&self, client: &Client, reading: Duration) -> Result<(), Undone> {
        let lease = (self.lease + reading).as_secs_f64();
        let values = self.with(&[(&lease, Type::FLOAT8)]);
        let kept = client.query_typed(KEEP, &values).await;
        kept.map(|_| ()).map_err(|error| self.undone(&error))
    }

    /// Runs a statement in the transaction that is open, if the run is still this owner's. After any
    /// failure the transaction must be rolled back.
    pub(crate) async fn chunk(
        &self,
        client: &Client,
        query: &Query,
        parameters: &Parameters,
        limit: Limit,
    ) -> Result<Answer, Undone> {
        let statement = Statement::counting(query).within(limit);
        let (mut violations, key) = (None, self.key());
        let hold = client.query_typed(HOLD, &key);
        let work = statement.run(client, parameters, &mut violations);
        let (held, answer) = join(hold, work).await;
        held.map_err(|error| self.undone(&error))?;
        answer.map_err(|why| match why {
            NoAnswer::Postgres(error) => chunk_undone(&statement, &error),
            other => other.or(|error| chunk_failed(&statement, &error)).into(),
        })
    }

    /// Notes a statement that was executed, and where the run goes on. Returns the age of the run in
    /// seconds.
    pub(crate) async fn record(
        &self,
        client: &Client,
        limits: &SessionLimits,
        entry: Entry<'_>,
        ending: Ending,
    ) -> Result<u64, Undone> {
        let step = i32::try_from(entry.step).unwrap_or(i32::MAX);
        let [step_chunks, rows, before] = [entry.step_chunks, entry.rows, entry.before].map(as_i64);
        let lease = (self.lease + entry.pause).as_secs_f64();
        let values = self.with(&[
            (&step, Type::INT4),
            (&entry.query.name, Type::TEXT),
            (&step_chunks, Type::INT8),
            (&rows, Type::INT8),
            (&entry.finished, Type::BOOL),
            (&lease, Type::FLOAT8),
            (&before, Type::INT8),
        ]);
        let (commit, begin) = match ending {
            Ending::Alone => (None, None),
            Ending::Commit => (Some("COMMIT"), None),
            Ending::CommitAndBegin(timeout) => {
                (Some("COMMIT"), Some(limits.text(Transaction::Write, timeout, self.lease)))
            }
        };
        let run = async |text: Option<&str>| match text {
            Some(text) => client.batch_execute(text).await,
            None => Ok(()),
        };
        // Polled in this order, and each queues its message when first polled. If recording the
        // counts fails, the COMMIT behind it rolls back. So if neither fails, both are committed.
        let counts = client.query_typed(RECORD, &values);
        let release = commit.filter(|_| self.release).map(|_| RELEASE);
        let (counted, committed, released, begun) =
            join4(counts, run(commit), run(release), run(begin.as_deref())).await;
        let counted = counted.map_err(|error| self.undone(&error))?;
        for result in [committed, begun] {
            // What is checked at COMMIT is the statement's: deferred constraints, serializability.
            result.map_err(|error| chunk_undone(&Statement::new(entry.done), &error))?;
        }
        released.map_err(|_| Failure { usable: false, repeat: true, ..self.broken() })?;
        let seconds = counted.first().and_then(|row| row.try_get::<_, Option<i64>>(1).ok());
        Ok(as_u64(seconds.flatten().unwrap_or(0)))
    }

    /// The failure of a statement on the row that divides by the number of rows that are this owner's.
    fn undone(&self, error: &tokio_postgres::Error) -> Undone {
        if code(error) == "22012" {
            return Undone::LeaseLost;
        }
        let failure = self.failed(error);
        if is_contention(error) { Undone::Contention(failure.error) } else { failure.into() }
    }

    /// Leaves the run to its next invocation. Whatever was open is rolled back.
    pub(crate) async fn park(&self, client: &Client) -> Result<(), Failure> {
        let parked = self.lease.as_secs_f64() * PARKED_LEASES;
        let values = self.with(&[(&parked, Type::FLOAT8)]);
        self.let_go(client, PARK, &values).await
    }

    /// Notes why the run has stopped. Whatever was open is rolled back.
    pub(crate) async fn fail(&self, client: &Client, error: &Error) -> Result<(), Failure> {
        let (kind, message) = (error.kind().error_type(), error.to_string());
        let values = self.with(&[(&kind, Type::TEXT), (&message, Type::TEXT)]);
        self.let_go(client, FAIL, &values).await
    }

    async fn let_go(
        &self,
        client: &Client,
        sql: &str,
        values: &[Typed<'_>],
    ) -> Result<(), Failure> {
        let rollback = client.batch_execute("ROLLBACK");
        let release = client.batch_execute(if self.release { RELEASE } else { "" });
        let noted = client.execute_typed(sql, values);
        let (rolled_back, released, noted) = join3(rollback, release, noted).await;
        rolled_back.and(released).and(noted).map(|_| ()).map_err(|error| self.failed(&error))
    }

    /// Notes that the run did not take place, unless it has a row already.
    pub(crate) async fn skip(
        &self,
        client: &Client,
        query: &Query,
        message: &str,
    ) -> Result<(), Failure> {
        let values = [
            (&self.job as _, Type::TEXT),
            (&self.run as _, Type::TEXT),
            (&query.name as _, Type::TEXT),
            (&message as _, Type::TEXT),
            (&self.input as _, Type::TEXT),
        ];
        let skipped = client.execute_typed(SKIP, &values).await;
        skipped.map(|_| ()).map_err(|error| self.failed(&error))
    }
}

/// The counts that a chunk adds to the row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    /// The query that was executed.
    pub(crate) done: &'a Query,
    /// How many chunks of the run were counted before it.
    pub(crate) before: u64,
    /// The step that comes next, its query, and how many of its chunks are done.
    pub(crate) step: usize,
    pub(crate) query: &'a Query,
    pub(crate) step_chunks: u64,
    /// The rows that the statement affected.
    pub(crate) rows: u64,
    /// Whether it was the last of the run.
    pub(crate) finished: bool,
    /// The pause that the lease must outlive.
    pub(crate) pause: Duration,
}
