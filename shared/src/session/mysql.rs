//! Aurora MySQL's session.

use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use tokio::time::Instant;

use super::keeper::{Engine, Keeper, warn_of_an_alias};
use crate::config::MysqlConfig;
use crate::error::Error;
use crate::mysql::{Connection, Connector, check_read, execute};
use crate::query::{Answer, Delivered, Parameters, Query};
use crate::retry::LoginError;
use crate::token::AuthToken;
use crate::work::{LoginSteps, Work};

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
        connection.is_broken()
    }

    async fn answers(connection: &mut Connection) -> bool {
        connection.answers().await
    }

    async fn close(connection: Connection, bound: Duration) {
        connection.close(bound).await;
    }
}

/// An Aurora MySQL database, ready for queries. It logs in when it has no usable connection.
///
/// It holds one connection, so calls run one after another. Each call takes the invocation's
/// [`Work`]: the deadline that bounds it, and the report that it fills in.
pub struct MysqlSession {
    keeper: Keeper<Connector>,
}

impl MysqlSession {
    /// A session that has not logged in yet, with the credentials that the environment names.
    pub fn new(config: MysqlConfig) -> Self {
        let provider = config.common.credentials();
        Self::with_credentials(config, provider, SharedTimeSource::default())
    }

    /// A session with your own credentials and wall clock. It puts a
    /// [`CachingProvider`](crate::credentials::CachingProvider) in front of the provider.
    pub fn with_credentials(
        config: MysqlConfig,
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
    ) -> Self {
        warn_of_an_alias(&config.endpoint, "MYSQL_HOST", "MYSQL_HOSTADDR");
        let (attempts, signer) = (config.login_attempts, config.token_signer());
        let connector = Connector::new(config);
        Self { keeper: Keeper::new(connector, attempts, signer, provider, clock) }
    }

    /// Runs a query by its mode, in its own transaction: one round trip on a warm connection for a read,
    /// two for a write.
    ///
    /// If the connection turns out dead, it is replaced, once. The statement is then repeated if it is a
    /// read, if it was never run, or if the server refused it because it takes no writes (after a
    /// failover).
    ///
    /// # Errors
    /// - of the login: [`CredentialsUnavailable`](crate::ErrorKind::CredentialsUnavailable),
    ///   [`CredentialsExpired`](crate::ErrorKind::CredentialsExpired), and those of [`Connector::login`];
    /// - of the statement: the kinds that begin with `Query`, `Result` and `Check`. A write whose answer
    ///   was lost is [`QueryOutcomeUnknown`](crate::ErrorKind::QueryOutcomeUnknown).
    ///
    /// # Cancel safety
    /// A dropped future drops the connection it was using, and the next call logs in again. The server
    /// stops the statement by its own time-out. A write may or may not have happened.
    pub async fn run(
        &self,
        query: &Query,
        parameters: &Parameters,
        work: &mut Work,
    ) -> Result<Answer, Error> {
        self.run_as(query, parameters, None, work).await.map(execute::answered)
    }

    /// Runs a query for a message. A write goes into the ledger (`sql/mysql/ledger.sql`) under the
    /// message's id, in its own transaction, and is [`Delivered::Duplicate`] if it was there. Because the
    /// ledger keeps it from happening twice, it runs again, once, on any connection that broke.
    ///
    /// The statement must not commit by itself, as DDL does.
    ///
    /// # Errors
    /// As [`MysqlSession::run`]; [`QueryDenied`](crate::ErrorKind::QueryDenied) if there is no ledger, or
    /// the user may not INSERT into it; [`EventInvalid`](crate::ErrorKind::EventInvalid) for an id that is
    /// empty or longer than 2,048 bytes.
    ///
    /// # Cancel safety
    /// As [`MysqlSession::run`]. The same message can be delivered again.
    pub async fn deliver(
        &self,
        query: &Query,
        parameters: &Parameters,
        message_id: &str,
        work: &mut Work,
    ) -> Result<Delivered, Error> {
        self.run_as(query, parameters, Some(message_id), work).await
    }

    async fn run_as(
        &self,
        query: &Query,
        parameters: &Parameters,
        message_id: Option<&str>,
        work: &mut Work,
    ) -> Result<Delivered, Error> {
        // Without a login.
        check_read(query)?;
        let mut loan = self.keeper.borrow(work).await?;
        loop {
            let start = Instant::now();
            let (deadline, violations) = (work.deadline, &mut work.report.violations);
            let connection = loan.connection_mut();
            let run = execute::run(connection, query, parameters, message_id, deadline, violations);
            let result = run.await;
            work.report.query = Some(start.elapsed());
            match result {
                Ok(delivered) => {
                    loan.keep();
                    return Ok(delivered);
                }
                Err(failure) => loan = loan.recover(failure, work).await?,
            }
        }
    }

    /// Closes the connection as the protocol asks, so that no session stays behind on the server: for when
    /// the sandbox ends. A later call logs in again.
    pub async fn close(&self) {
        self.keeper.close().await;
    }
}

impl std::fmt::Debug for MysqlSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let connector = &self.keeper.engine;
        f.debug_struct("MysqlSession").field("connector", connector).finish_non_exhaustive()
    }
}
