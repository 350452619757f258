//! Decides what follows a chunk that did not happen.

use super::*;

/// The next step after a chunk that did not happen.
pub(super) enum After {
    /// Run it again.
    Again,
    /// Claim the run again.
    Claim,
    /// The invocation has ended.
    Ended(JobState),
}

impl<'a> Runner<'_, 'a> {
    /// `left` is the time that the invocation had when the chunk began.
    pub(super) async fn after(
        &mut self,
        undone: Undone,
        step: &Step,
        at: Position,
        left: Duration,
    ) -> Result<After, Error> {
        let failure = match undone {
            Undone::LeaseLost => {
                self.lose();
                return self.rolled_back(After::Claim).await;
            }
            Undone::Contention(error) => {
                // Fewer rows meet fewer of those that others change.
                self.shrink(&step.query);
                return match self.pause() {
                    Some(pause) => {
                        let after = self.rolled_back(After::Again).await;
                        sleep(pause).await;
                        after
                    }
                    None => self.fail(error).await,
                };
            }
            Undone::Failed(failure) => failure,
        };
        if failure.repeat {
            return self.recover(failure).await.map(|()| After::Claim);
        }
        let Failure { error, usable, .. } = failure;
        if !usable {
            self.loan = None;
        }
        if error.kind() == ErrorKind::QueryTimeout && usable {
            if self.shrink(&step.query) {
                return self.rolled_back(After::Again).await;
            }
            let short = left < self.budget.mul_f64(MOST_OF_THE_TIME);
            if short && step.query.timeout.is_none_or(|own| own > left) {
                return self.park(at).await.map(After::Ended);
            }
        }
        self.fail(error).await
    }

    async fn rolled_back(&mut self, after: After) -> Result<After, Error> {
        let by = self.work.deadline.answer_by();
        let Some(loan) = &self.loan else { return Ok(After::Claim) };
        let rolled_back = loan.connection().end("ROLLBACK", self.leaves);
        if !matches!(timeout_at(by, rolled_back).await, Ok(Ok(()))) {
            self.loan = None;
            return Ok(After::Claim);
        }
        Ok(after)
    }

    /// Notes the error in the run's row if the database can be reached, and returns it.
    pub(super) async fn fail<T>(&mut self, error: Error) -> Result<T, Error> {
        let (holder, by) = (self.holder(), self.work.deadline.answer_by());
        if self.loan.is_some() || self.connect().await.is_ok() {
            let Some(loan) = self.loan.take() else { return Err(error) };
            let noted = holder.fail(&loan.connection().client, &error);
            if matches!(timeout_at(by, noted).await, Ok(Ok(()))) {
                loan.keep();
            }
        }
        Err(error)
    }

    pub(super) async fn park(&mut self, at: Position) -> Result<JobState, Error> {
        let (holder, by) = (self.holder(), self.work.deadline.answer_by());
        if let Some(loan) = &self.loan {
            let parked = holder.park(&loan.connection().client);
            // A run that could not be parked is free when its lease ends.
            if !matches!(timeout_at(by, parked).await, Ok(Ok(()))) {
                self.loan = None;
            }
        }
        Ok(state(JobEnd::Unfinished, at))
    }

    /// Goes on with a new connection after a pause, or fails.
    pub(super) async fn recover(&mut self, failure: Failure) -> Result<(), Error> {
        if !failure.repeat {
            if failure.usable
                && let Some(loan) = self.loan.take()
            {
                loan.keep();
            }
            return Err(failure.error);
        }
        self.loan = None;
        match self.pause() {
            Some(pause) => {
                sleep(pause).await;
                Ok(())
            }
            None => Err(failure.error),
        }
    }

    pub(super) fn pause(&mut self) -> Option<Duration> {
        self.failures += 1;
        self.attempts.next_pause(self.failures)
    }

    pub(super) fn lose(&mut self) {
        self.report.lease_lost += 1;
        tracing::warn!(job = self.run.job, "another invocation has taken the run over");
        (self.owner, self.claimed) = (new_owner(), false);
    }
}
