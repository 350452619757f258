//! PostgreSQL's session.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use tokio::time::Instant;

use super::keeper::{Engine, Keeper, warn_of_an_alias};
use super::loan;
use crate::config::Config;
use crate::error::Error;
use crate::postgres::{Connection, Connector};
use crate::retry::LoginError;
use crate::token::AuthToken;
use crate::work::LoginSteps;

pub(super) type Loan<'s> = loan::Loan<'s, Connector>;

impl Engine for Connector {
    type Connection = Connection;

    async fn log_in(
        &self,
        token: &AuthToken,
        bound: Instant,
    ) -> Result<(Connection, LoginSteps), LoginError> {
        self.login(token, bound).await
    }

    fn is_closed(connection: &Connection) -> bool {
        connection.is_closed()
    }

    fn may_be_kept(connection: &Connection) -> bool {
        !connection.is_closed() && !connection.is_spent()
    }

    async fn answers(connection: &mut Connection) -> bool {
        connection.client.check_connection().await.is_ok()
    }

    async fn close(connection: Connection, bound: Duration) {
        connection.close(bound).await;
    }
}

/// The database, ready for queries. It logs in when it has no usable connection.
///
/// It holds one connection, so calls run one after another. Each call takes the invocation's
/// [`Work`](crate::Work): the deadline that bounds it, and the report that it fills in.
pub struct Session {
    pub(super) keeper: Keeper<Connector>,
}

impl Session {
    /// A session that has not logged in yet, with the credentials that the environment names.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid) when TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, Error> {
        let provider = config.common.credentials();
        Self::with_credentials(config, provider, SharedTimeSource::default())
    }

    /// A session with your own credentials and wall clock. It puts a
    /// [`CachingProvider`](crate::credentials::CachingProvider) in front of the provider.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid) when TLS cannot be set up.
    pub fn with_credentials(
        config: Config,
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
    ) -> Result<Self, Error> {
        warn_of_an_alias(&config.endpoint, "PGHOST", "PGHOSTADDR");
        let (attempts, signer) = (config.login_attempts, config.token_signer());
        let connector = Connector::new(config)?;
        Ok(Self { keeper: Keeper::new(connector, attempts, signer, provider, clock) })
    }

    pub(super) fn config(&self) -> &Config {
        self.keeper.engine.config()
    }

    /// Closes the connection as the protocol asks, so that no backend stays behind: for when the
    /// sandbox ends. A later call logs in again.
    pub async fn close(&self) {
        self.keeper.close().await;
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("connector", &self.keeper.engine).finish_non_exhaustive()
    }
}
