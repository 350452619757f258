//! The place of the session's one connection between two calls, and the credentials of every call.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};

use crate::credentials::{self, CachingProvider};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::work::Work;

/// A connection between two calls.
pub(super) struct Idle<C> {
    pub(super) connection: C,
    /// By the wall clock: no other clock runs while a sandbox is frozen.
    pub(super) since: SystemTime,
}

/// One connection, kept across warm invocations, and a cache of credentials.
pub(super) struct Slot<C> {
    pub(super) credentials: CachingProvider<SharedCredentialsProvider>,
    pub(super) clock: SharedTimeSource,
    idle: Mutex<Option<Idle<C>>>,
}

impl<C> Slot<C> {
    /// Nothing kept yet. Puts a cache in front of the provider of credentials.
    pub(super) fn new(provider: SharedCredentialsProvider, clock: SharedTimeSource) -> Self {
        let credentials = CachingProvider::new(provider, clock.clone());
        Self { credentials, clock, idle: Mutex::default() }
    }

    /// Waits until no other call uses the connection. A call holds the lock to its end.
    pub(super) async fn lock(
        &self,
        deadline: Deadline,
    ) -> Result<MutexGuard<'_, Option<Idle<C>>>, Error> {
        timeout_at(deadline.answer_by(), self.idle.lock()).await.map_err(|_| {
            Error::new(ErrorKind::QueryTimeout, "no connection was free in time")
                .because("other calls used the session's one connection")
                .remedy("Run them one after another, or in one batch")
        })
    }

    /// A connection that is idle from now on.
    pub(super) fn idle(&self, connection: C) -> Idle<C> {
        Idle { connection, since: self.clock.now() }
    }

    /// Takes the kept connection, to close it; `None` while a call uses it.
    pub(super) fn take(&self) -> Option<C> {
        let idle = self.idle.try_lock().ok().and_then(|mut idle| idle.take());
        idle.map(|idle| idle.connection)
    }

    /// The credentials to sign with, before the deadline.
    pub(super) async fn credentials(&self, work: &mut Work) -> Result<Credentials, Error> {
        let start = Instant::now();
        let loaded = timeout_at(work.deadline.answer_by(), self.credentials.get())
            .await
            .map_err(|_| no_credentials_in_time())?
            .map_err(|error| credentials::unavailable(&error))?;
        work.report.resolve = Some(start.elapsed());
        Ok(loaded)
    }
}

fn no_credentials_in_time() -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials found")
        .caused_by(credentials::Failure::SourceSilent)
        .remedy("A role is assumed through STS: in a private subnet that needs the interface endpoint com.amazonaws.<region>.sts")
}
