//! Neptune's session. A connection takes no login: each request is signed.

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use tokio::time::Duration;

use super::slot::{Idle, Slot};
use crate::config::NeptuneConfig;
use crate::error::Error;
use crate::neptune::{Cluster, Connection, Execution, Failed, Statement, Values, answer, refused};
use crate::query::Answer;
use crate::work::Work;

/// After this idle time, the load balancers and firewalls on the way may have forgotten a connection.
/// A frozen sandbox does not notice: it then makes a new one, which costs two round trips.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// A Neptune cluster, ready for queries. It connects when it has no usable connection.
///
/// It holds one connection, so calls run one after another. Each call takes the invocation's
/// [`Work`]: the deadline that bounds it, and the report that it fills in.
pub struct NeptuneSession {
    cluster: Cluster,
    slot: Slot<Connection>,
}

impl NeptuneSession {
    /// A session that has not connected yet, with the credentials that the environment names.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid) when TLS cannot be set up.
    pub fn new(config: NeptuneConfig) -> Result<Self, Error> {
        let provider = config.common.credentials();
        Self::with_credentials(config, provider, SharedTimeSource::default())
    }

    /// A session with your own credentials and wall clock. It puts a
    /// [`CachingProvider`](crate::credentials::CachingProvider) in front of the provider.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid) when TLS cannot be set up.
    pub fn with_credentials(
        config: NeptuneConfig,
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
    ) -> Result<Self, Error> {
        let cluster = Cluster::new(config, clock.clone())?;
        Ok(Self { cluster, slot: Slot::new(provider, clock) })
    }

    /// Runs a statement: one round trip on a warm connection. Neptune runs it in a transaction of its
    /// own.
    ///
    /// A read on a connection that turns out dead runs again on a new one, once; a write only if it was
    /// never sent. A refused signature is made once more, with credentials resolved anew.
    ///
    /// # Errors
    /// - of the connection: [`CredentialsUnavailable`](crate::ErrorKind::CredentialsUnavailable),
    ///   [`NetworkUnreachable`](crate::ErrorKind::NetworkUnreachable),
    ///   [`NetworkTimeout`](crate::ErrorKind::NetworkTimeout),
    ///   [`TlsUntrusted`](crate::ErrorKind::TlsUntrusted),
    ///   [`AuthRejected`](crate::ErrorKind::AuthRejected) and
    ///   [`DatabaseUnavailable`](crate::ErrorKind::DatabaseUnavailable);
    /// - of the statement: the kinds that begin with `Query`, `Result` and `Check`. A write whose answer was
    ///   lost is [`QueryOutcomeUnknown`](crate::ErrorKind::QueryOutcomeUnknown).
    ///
    /// # Cancel safety
    /// A dropped future closes its connection, and Neptune runs the query to its end, or to the
    /// cluster's `neptune_query_timeout`.
    pub async fn run(
        &self,
        statement: &Statement,
        values: &Values,
        work: &mut Work,
    ) -> Result<Answer, Error> {
        let execution = Execution::new(&self.cluster, statement, values)?;
        let mut renewed = false;
        let mut replaced = false;
        let mut idle = self.slot.lock(work.deadline).await?;
        loop {
            let credentials = self.slot.credentials(work).await?;
            let (mut connection, reused) = self.connection(&mut idle, work).await?;
            work.report.reused = reused;
            match execution.send(&mut connection, &credentials, work).await {
                Ok(response) => {
                    *idle = Some(self.slot.idle(connection));
                    if response.is_success() {
                        return answer(statement, response.body(), &mut work.report.violations);
                    }
                    let refused = refused(statement, &self.cluster.config.target(), &response);
                    if !refused.credentials || renewed {
                        return Err(refused.error);
                    }
                    renewed = true;
                    self.slot.credentials.invalidate(&credentials).await;
                }
                Err(Failed::Repeat(_)) if reused && !replaced => replaced = true,
                Err(Failed::Repeat(error) | Failed::Final(error)) => return Err(error),
            }
        }
    }

    /// The kept connection if it can still be alive, or a new one.
    async fn connection(
        &self,
        idle: &mut Option<Idle<Connection>>,
        work: &mut Work,
    ) -> Result<(Connection, bool), Error> {
        if let Some(Idle { connection, since }) = idle.take() {
            let age = self.slot.clock.now().duration_since(since).unwrap_or(IDLE_LIMIT);
            if age < IDLE_LIMIT && !connection.is_closed() {
                return Ok((connection, true));
            }
        }
        work.report.login_attempts += 1;
        let bound = work.deadline.answer_by();
        let (connection, steps) = self.cluster.connect(bound).await?;
        work.report.login = Some(steps);
        Ok((connection, false))
    }

    /// Closes the connection: for when the sandbox ends. A later call connects again.
    pub async fn close(&self) {
        drop(self.slot.take());
    }
}

impl std::fmt::Debug for NeptuneSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NeptuneSession")
            .field("config", &self.cluster.config)
            .finish_non_exhaustive()
    }
}
