//! The session's one connection, lent to one call at a time.

use std::time::{Duration, SystemTime};

use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout_at};

use super::Session;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::postgres::Connection;
use crate::work::Work;

/// A connection that was idle for longer, by wall clock, is probed first: it may have died silently
/// while the sandbox was frozen. For a function that runs so rarely, the extra round trip does not matter.
pub const PROBE_AFTER: Duration = Duration::from_secs(5);
/// A probe is one round trip inside a VPC; no answer within this means that the connection is dead.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection between two calls.
pub(super) struct Idle {
    pub(super) connection: Connection,
    since: SystemTime,
}

/// The connection in use. Dropping the lease drops the connection; [`Lease::keep`] keeps it for the
/// next call.
pub(super) struct Lease<'s> {
    session: &'s Session,
    slot: MutexGuard<'s, Option<Idle>>,
    connection: Connection,
    /// Whether it replaced a dead one, which happens once in an invocation.
    replaced: bool,
}

impl Session {
    /// The kept connection if it still works, else a new one.
    pub(super) async fn lease(&self, work: &mut Work) -> Result<Lease<'_>, Error> {
        let mut slot = self.lock(work.deadline).await?;
        let before = slot.take();
        let had_one = before.is_some();
        if let Some(connection) = self.reusable(before, work.deadline).await {
            work.report.reused = true;
            return Ok(Lease { session: self, slot, connection, replaced: false });
        }
        let connection = self.login(work).await?;
        Ok(Lease { session: self, slot, connection, replaced: had_one })
    }

    async fn lock(&self, deadline: Deadline) -> Result<MutexGuard<'_, Option<Idle>>, Error> {
        timeout_at(deadline.answer_by(), self.idle.lock()).await.map_err(|_| {
            Error::new(ErrorKind::QueryTimeout, "no connection was free in time")
                .because("other calls used the session's one connection")
                .remedy("Run them one after another, or in one batch")
        })
    }

    async fn reusable(&self, idle: Option<Idle>, deadline: Deadline) -> Option<Connection> {
        let Idle { connection, since } = idle?;
        if connection.is_closed() {
            return None;
        }
        // If the clock went backwards, the age is unknown: probe the connection.
        let idle_for = self.clock.now().duration_since(since).unwrap_or(PROBE_AFTER);
        if idle_for < PROBE_AFTER {
            return Some(connection);
        }
        let bound = deadline.answer_by().min(Instant::now() + PROBE_TIMEOUT);
        let probe = timeout_at(bound, connection.client.check_connection()).await;
        matches!(probe, Ok(Ok(()))).then_some(connection)
    }
}

impl Lease<'_> {
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Keeps the connection for the next call, unless it is known to be closed.
    pub(super) fn keep(mut self) {
        if !self.connection.is_closed() {
            let since = self.session.clock.now();
            *self.slot = Some(Idle { connection: self.connection, since });
        }
    }

    /// Whether the one replacement is still available.
    pub(super) fn can_be_replaced(&self) -> bool {
        !self.replaced
    }

    /// Drops the connection and logs in again.
    pub(super) async fn replace(self, work: &mut Work) -> Result<Self, Error> {
        let Self { session, slot, connection, .. } = self;
        drop(connection);
        work.report.reused = false;
        let connection = session.login(work).await?;
        Ok(Self { session, slot, connection, replaced: true })
    }
}
