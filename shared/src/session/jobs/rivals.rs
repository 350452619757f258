//! Someone else has the run, or runs the job.

use super::*;

impl Runner<'_, '_> {
    /// The run, or its job, is someone else's: answers, or waits a moment and returns `None`.
    pub(super) async fn stand_back(&mut self, seen: Seen) -> Result<Option<JobState>, Error> {
        let at = seen.position;
        let own_transaction = seen.run == self.run.run && seen.owner == Some(self.owner);
        if self.claimed && !own_transaction && seen.status != "finished" {
            self.lose();
        }
        if seen.run != self.run.run {
            return self.overlap(&seen).await;
        }
        match seen.status.as_str() {
            "finished" => return Ok(Some(state(JobEnd::Finished, at))),
            "skipped" => return Ok(Some(state(JobEnd::Skipped(seen.message), at))),
            // A connection that broke left its transaction behind: the server ends it.
            "running" if own_transaction => {}
            "running" => {
                let now = (seen.owner, at.chunks);
                if *self.rival.get_or_insert(now) != now {
                    return Ok(Some(state(JobEnd::Skipped(who(&seen)), at)));
                }
                self.tell_of_wait(&seen);
            }
            // It was let go in between.
            _ => {}
        }
        if self.work.deadline.statement_timeout().is_none_or(|left| left < LOOK_EVERY * 2) {
            return Ok(Some(state(JobEnd::Unfinished, at)));
        }
        self.wait().await.map(|()| None)
    }

    /// Another run of the job is running.
    async fn overlap(&mut self, other: &Seen) -> Result<Option<JobState>, Error> {
        let error = || {
            Error::new(ErrorKind::JobOverlap, format!("job {} is running", self.run.job))
                .because(who(other))
                .remedy("Send the event again when that run has ended, or let it skip (overlap = \"skip\")")
        };
        match self.run.overlap {
            Overlap::Fail => Err(error()),
            Overlap::Wait if self.has_time(LOOK_EVERY * 2) => {
                self.tell_of_wait(other);
                self.wait().await.map(|()| None)
            }
            Overlap::Wait => Err(error()),
            Overlap::Skip => {
                let (message, by) = (who(other), self.work.deadline.answer_by());
                let first = &self.run.steps[0].query;
                if let Some(loan) = &self.loan {
                    let client = &loan.connection().client;
                    let holder = self.holder();
                    let skipped = timeout_at(by, holder.skip(client, first, &message)).await;
                    skipped
                        .unwrap_or_else(|_| Err(Failure::lost(timed_out(first, NO_TIME_LEFT))))
                        .map_err(|failure| failure.error)?;
                }
                let at = Position { step: 1, ..Position::default() };
                Ok(Some(state(JobEnd::Skipped(message), at)))
            }
        }
    }

    /// One line at the start of a wait, which may take as long as the lease, or the whole invocation.
    fn tell_of_wait(&mut self, seen: &Seen) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        let Seen { run, started_at, progressed_at, lease_until, position, .. } = seen;
        tracing::info!(
            job = self.run.job,
            run,
            started_at,
            progressed_at,
            lease_until,
            chunks = position.chunks,
            rows = position.rows,
            "waiting: another invocation has the run, and keeps it until lease_until, or longer while it works"
        );
    }

    pub(super) async fn wait(&mut self) -> Result<(), Error> {
        if self.work.deadline.statement_timeout().is_none() {
            return Err(timed_out(&self.run.steps[0].query, NO_TIME_LEFT));
        }
        sleep(LOOK_EVERY.mul_f64(2.0 * fastrand::f64())).await;
        Ok(())
    }
}

fn who(seen: &Seen) -> String {
    let Seen { run, started_at, progressed_at, position, .. } = seen;
    let Position { chunks, rows, .. } = position;
    format!(
        "run {run} has been running since {started_at}; {chunks} chunks and {rows} rows by {progressed_at}"
    )
}
