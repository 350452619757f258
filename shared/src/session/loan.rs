//! The session's one connection, lent to one call at a time.

use std::time::Duration;

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};

use super::keeper::{Engine, Keeper};
use super::slot::Idle;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::query::Failure;
use crate::work::Work;

/// A connection that was idle for longer, by wall clock, is probed first: it may have died silently
/// while the sandbox was frozen. For a function that runs so rarely, the extra round trip does not matter.
pub const PROBE_AFTER: Duration = Duration::from_secs(5);
/// A probe is one round trip inside a VPC; no answer within this means that the connection is dead.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// The connection in use. Dropping the loan drops the connection; [`Loan::keep`] keeps it for the
/// next call.
pub(super) struct Loan<'s, E: Engine> {
    keeper: &'s Keeper<E>,
    slot: MutexGuard<'s, Option<Idle<E::Connection>>>,
    connection: E::Connection,
    /// Whether it replaced a dead one, which happens once in an invocation.
    replaced: bool,
}

impl<E: Engine> Keeper<E> {
    /// The kept connection if it still works, else a new one.
    pub(super) async fn borrow(&self, work: &mut Work) -> Result<Loan<'_, E>, Error> {
        let mut slot = self.slot.lock(work.deadline).await?;
        let before = slot.take();
        let had_one = before.is_some();
        if let Some(connection) = self.reusable(before, work.deadline).await {
            work.report.reused = true;
            return Ok(Loan { keeper: self, slot, connection, replaced: false });
        }
        let connection = self.login(work).await?;
        Ok(Loan { keeper: self, slot, connection, replaced: had_one })
    }

    async fn reusable(
        &self,
        idle: Option<Idle<E::Connection>>,
        deadline: Deadline,
    ) -> Option<E::Connection> {
        let Idle { mut connection, since } = idle?;
        if E::is_closed(&connection) {
            return None;
        }
        // If the clock went backwards, the age is unknown: probe the connection.
        let idle_for = self.slot.clock.now().duration_since(since).unwrap_or(PROBE_AFTER);
        if idle_for < PROBE_AFTER {
            return Some(connection);
        }
        let bound = deadline.answer_by().min(Instant::now() + PROBE_TIMEOUT);
        let answers = timeout_at(bound, E::answers(&mut connection)).await;
        answers.unwrap_or(false).then_some(connection)
    }
}

impl<E: Engine> Loan<'_, E> {
    #[cfg(feature = "postgres")]
    pub(super) fn connection(&self) -> &E::Connection {
        &self.connection
    }

    #[cfg(feature = "mysql")]
    pub(super) fn connection_mut(&mut self) -> &mut E::Connection {
        &mut self.connection
    }

    /// Keeps the connection for the next call, unless it is known to be of no more use.
    pub(super) fn keep(mut self) {
        if E::may_be_kept(&self.connection) {
            *self.slot = Some(self.keeper.slot.idle(self.connection));
        }
    }

    /// Whether the one replacement is still available.
    pub(super) fn can_be_replaced(&self) -> bool {
        !self.replaced
    }

    /// Drops the connection and logs in again.
    pub(super) async fn replace(self, work: &mut Work) -> Result<Self, Error> {
        let new = self.renew(work).await?;
        Ok(Self { replaced: true, ..new })
    }

    /// The same for a connection that is not dead, which does not count.
    pub(super) async fn renew(self, work: &mut Work) -> Result<Self, Error> {
        let Self { keeper, slot, connection, replaced } = self;
        drop(connection);
        work.report.reused = false;
        let connection = keeper.login(work).await?;
        Ok(Self { keeper, slot, connection, replaced })
    }

    /// After a failure: a new connection if the statement may run again on one, or else its error.
    pub(super) async fn recover(self, failure: Failure, work: &mut Work) -> Result<Self, Error> {
        let Failure { error, usable, repeat } = failure;
        if repeat && self.can_be_replaced() {
            // Report the unknown outcome rather than the failed reconnect: it matters more to the caller.
            let unknown = error.kind() == ErrorKind::QueryOutcomeUnknown;
            return self.replace(work).await.map_err(|login| if unknown { error } else { login });
        }
        if usable {
            self.keep();
        }
        Err(error)
    }
}
