//! One connection for a sandbox, kept across warm invocations.
//!
//! IAM logins cost five round trips and are throttled, so a connection is used again until it
//! dies. Lambda freezes sandboxes: sockets die silently and timers do not run. So nothing here runs
//! in the background, and a connection that was idle for long is probed before it is trusted.
//!
//! `lease` lends the connection to one call at a time, `login` makes a new one, `run` runs one
//! statement on it, `batch` many, `jobs` the chunks of a batch job, and `stream` one with a result of any
//! size.

mod batch;
mod jobs;
mod lease;
mod login;
mod run;
mod stream;

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::credentials::CachingProvider;
use crate::endpoint::EndpointKind;
use crate::error::Error;
use crate::postgres::Connector;
use crate::token::TokenSigner;
pub use batch::{Job, Outcome};
pub use jobs::{JobEnd, JobReport, JobRun, JobState, Overlap, Step};
use lease::Idle;
pub use lease::{PROBE_AFTER, PROBE_TIMEOUT};
use login::KeptToken;
pub use stream::RowStream;

/// Lambda gives a sandbox that ends 300 ms from its SIGTERM.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);
/// A cancel request takes four round trips.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// The database, ready for queries. It logs in when it has no usable connection.
///
/// It holds one connection, so calls run one after another. Each call takes the invocation's
/// [`Work`](crate::Work): the deadline that bounds it, and the report that it fills in.
pub struct Session {
    connector: Connector,
    signer: TokenSigner,
    credentials: CachingProvider<SharedCredentialsProvider>,
    token: std::sync::Mutex<Option<KeptToken>>,
    clock: SharedTimeSource,
    idle: Mutex<Option<Idle>>,
}

impl Session {
    /// A session that has not logged in yet, with the credentials that the environment names.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid) when TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, Error> {
        let provider = config.credentials();
        Self::with_credentials(config, provider, SharedTimeSource::default())
    }

    /// A session with your own credentials and wall clock. It puts a [`CachingProvider`] in front of
    /// the provider.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid) when TLS cannot be set up.
    pub fn with_credentials(
        config: Config,
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
    ) -> Result<Self, Error> {
        let credentials = CachingProvider::new(provider, clock.clone());
        if config.endpoint.kind == EndpointKind::Other {
            tracing::warn!(
                host = config.endpoint.host,
                "PGHOST is not an RDS endpoint's name: RDS refuses tokens signed for another name. Set PGHOST to RDS's own name, and dial elsewhere by DB_TUNNEL or PGHOSTADDR"
            );
        }
        let signer = config.token_signer();
        Ok(Self {
            connector: Connector::new(config)?,
            signer,
            credentials,
            token: std::sync::Mutex::default(),
            clock,
            idle: Mutex::default(),
        })
    }

    /// Closes the connection as the protocol asks, so that no backend stays behind: for when the
    /// sandbox ends. A later call logs in again.
    pub async fn close(&self) {
        // While a call is using the connection, there is nothing to close.
        let idle = self.idle.try_lock().ok().and_then(|mut idle| idle.take());
        if let Some(Idle { connection, .. }) = idle {
            connection.close(CLOSE_TIMEOUT).await;
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("connector", &self.connector).finish_non_exhaustive()
    }
}
