//! The chunks of a run, one after another, while there is time.

use futures_util::future::join;

use super::failures::After;
use super::*;

const NO_ANSWER_TO_COMMIT: &str = "the database did not answer COMMIT in time; job_runs says whether \
     the chunk was committed, and the same run goes on from there";

/// The next step after a chunk.
enum Next {
    /// The run goes on from here; `open` if the next transaction has begun.
    GoOn { at: Position, open: bool },
    /// It was the last.
    Finished(Position),
}

impl<'a> Runner<'_, 'a> {
    /// Runs chunks until the run is finished or the time ends; `None` if it must be claimed again.
    pub(super) async fn go_on(&mut self, mut at: Position) -> Result<Option<JobState>, Error> {
        let mut open = false;
        loop {
            let Some(step) = self.run.steps.get(at.step - 1) else {
                return Ok(Some(state(JobEnd::Finished, at)));
            };
            if self.current.0 != at.step {
                self.current = (at.step, step.parameters.clone());
            }
            let start = Instant::now();
            let left = self.work.deadline.remaining();
            if !self.has_time(Duration::ZERO) {
                return self.park(at).await.map(Some);
            }
            let undone = match self.chunk(step, at, open).await {
                Ok(Next::Finished(at)) => return Ok(Some(state(JobEnd::Finished, at))),
                Ok(Next::GoOn { at: next, open: begun }) => {
                    self.longest = self.longest.max(start.elapsed());
                    (at, open) = (next, begun);
                    let pause = step.query.repeat.as_ref().map(|repeat| repeat.pause);
                    let pause = pause.unwrap_or_default();
                    if !pause.is_zero() {
                        let fits = self.has_time(pause);
                        sleep(pause.min(self.spare_time())).await;
                        if !fits {
                            return self.park(at).await.map(Some);
                        }
                    }
                    continue;
                }
                Err(undone) => undone,
            };
            open = false;
            match self.after(undone, step, at, left).await? {
                After::Again => {}
                After::Claim => return Ok(None),
                After::Ended(state) => return Ok(Some(state)),
            }
        }
    }

    /// Executes one statement, and commits it together with the run's new position.
    async fn chunk(&mut self, step: &'a Step, at: Position, open: bool) -> Result<Next, Undone> {
        let query = &step.query;
        let (holder, deadline) = (self.holder(), self.work.deadline);
        let timeout = self.timeout(query)?;
        let Some(loan) = &self.loan else { return Err(Undone::LeaseLost) };
        let (connection, parameters) = (loan.connection(), &self.current.1);
        let (client, limits) = (&connection.client, &connection.limits);
        let by = deadline.answer_by();
        let start = Instant::now();
        let answer = match query.mode {
            Mode::Read => {
                let mut progress = Progress::new();
                let longest = timeout.unwrap_or_else(|| deadline.remaining());
                let read =
                    execute::run(connection, query, parameters, timeout, false, &mut progress);
                // Both travel together; the lease goes first.
                let both = async {
                    let (kept, answer) = join(holder.keep(client, longest), read).await;
                    kept?;
                    Ok(answer?)
                };
                in_time(by, query, both).await
            }
            Mode::Write => {
                in_time(by, query, async {
                    if !open {
                        holder.begin(client, limits, timeout).await?;
                    }
                    let chunk = || holder.chunk(client, query, parameters, limits.limit(timeout));
                    let answer = chunk().await?;
                    if query.repeat.is_none() || !matches!(answer, Answer::Affected(0)) {
                        return Ok(answer);
                    }
                    // It may have waited for rows that another session then changed: those count as gone, and a new
                    // snapshot of the same transaction has them.
                    chunk().await
                })
                .await
            }
        };
        let took = start.elapsed();
        let rows = match answer {
            Ok(Answer::Affected(rows)) if query.mode == Mode::Write => rows,
            Ok(Answer::Metrics(metrics)) => {
                self.report.metrics.push(metrics);
                0
            }
            Ok(Answer::One(_)) if query.mode == Mode::Write => 1,
            Ok(_) => 0,
            Err(undone) => {
                // It came before COMMIT, so nothing was written.
                let too_long = connection.got_too_long_a_message();
                let too_long = too_long.then(|| Failure::too_long(query, Stage::Begun)).flatten();
                return Err(too_long.map_or(undone, Undone::Failed));
            }
        };
        self.record(step, at, rows, took).await
    }

    async fn record(
        &mut self,
        step: &'a Step,
        at: Position,
        rows: u64,
        took: Duration,
    ) -> Result<Next, Undone> {
        let query = &step.query;
        let next = self.position_after(query, at, rows);
        let finished = next.step > self.run.steps.len();
        let last = next.step.min(self.run.steps.len());
        let following = &self.run.steps[last - 1].query;
        let pause = query.repeat.as_ref().map(|repeat| repeat.pause).unwrap_or_default();
        let entry = Entry {
            done: query,
            before: at.chunks,
            step: last,
            query: following,
            step_chunks: next.step_chunks,
            rows,
            finished,
            pause,
        };
        let ending = match query.mode {
            Mode::Read => Ending::Alone,
            Mode::Write if finished || following.mode == Mode::Read || !pause.is_zero() => {
                Ending::Commit
            }
            // Without time for another there is no transaction to open for it.
            Mode::Write if !self.has_time(Duration::ZERO) => Ending::Commit,
            Mode::Write => Ending::CommitAndBegin(self.timeout(following)?),
        };
        let (holder, deadline) = (self.holder(), self.work.deadline);
        let Some(loan) = &self.loan else { return Err(Undone::LeaseLost) };
        let connection = loan.connection();
        let recorded = holder.record(&connection.client, &connection.limits, entry, ending);
        let late = |_| Err(Failure::lost(timed_out(query, NO_ANSWER_TO_COMMIT)).into());
        let recorded = timeout_at(deadline.answer_by(), recorded).await;
        let seconds = recorded.unwrap_or_else(late)?;
        self.report.chunks += 1;
        self.report.rows += rows;
        (self.failures, self.attempts) = (0, RetryPolicy::chunk().start(deadline.remaining()));
        let next = Position { step: last, ..next };
        if finished {
            self.report.run_seconds = Some(seconds);
            return Ok(Next::Finished(next));
        }
        self.adapt(query, rows, took);
        Ok(Next::GoOn { at: next, open: matches!(ending, Ending::CommitAndBegin(_)) })
    }

    /// Where the run stands after a statement that affected so many rows.
    fn position_after(&self, query: &Query, at: Position, rows: u64) -> Position {
        let (step_chunks, chunks) = (at.step_chunks + 1, at.chunks + 1);
        let most = query.repeat.as_ref().and_then(|repeat| repeat.max_chunks);
        let at_most = most.is_some_and(|most| step_chunks >= most);
        let rows_left = query.repeat.is_some() && rows > 0;
        if at_most && rows_left {
            tracing::warn!(
                query = query.name,
                chunks = step_chunks,
                "a step ended at its max_chunks"
            );
        }
        let goes_on = rows_left && !at_most;
        Position {
            step: if goes_on { at.step } else { at.step + 1 },
            step_chunks: if goes_on { step_chunks } else { 0 },
            chunks,
            rows: at.rows + rows,
        }
    }

    /// Sets the size of the next chunk by the time that this one took.
    fn adapt(&mut self, query: &Query, rows: u64, took: Duration) {
        let adapt = query.repeat.as_ref().and_then(|repeat| repeat.adapt.as_ref());
        let Some(adapt) = adapt.filter(|_| rows > 0) else { return };
        let Some(size) = self.current.1.number(adapt.param) else { return };
        let ratio = adapt.target.as_secs_f64() / took.as_secs_f64().max(1e-6);
        let size = (size as f64 * ratio.clamp(GROWTH.0, GROWTH.1)).round();
        self.current.1.set_number(adapt.param, (size as u64).clamp(1, LARGEST_CHUNK));
    }

    /// Makes the next chunk smaller, if that is for the function to decide.
    pub(super) fn shrink(&mut self, query: &Query) -> bool {
        let adapt = query.repeat.as_ref().and_then(|repeat| repeat.adapt.as_ref());
        let Some(adapt) = adapt else { return false };
        match self.current.1.number(adapt.param) {
            Some(size @ 2..) => {
                self.current.1.set_number(adapt.param, (size / 4).max(1));
                true
            }
            _ => false,
        }
    }
}
