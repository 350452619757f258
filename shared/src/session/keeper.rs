//! The session of an engine whose logins take a token: one connection that is kept, and the parts of a new one.

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use tokio::time::{Duration, Instant};

use super::kept_token::KeptToken;
use super::slot::Slot;
use crate::endpoint::{Endpoint, EndpointKind};
use crate::retry::LoginError;
use crate::token::{AuthToken, TokenSigner};
use crate::work::LoginSteps;

/// Lambda gives a sandbox that ends 300 ms from its SIGTERM.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// An engine's connections, each of which a token opens.
pub(super) trait Engine {
    /// A logged-in connection.
    type Connection;

    /// One login, within its own bound and this one.
    async fn log_in(
        &self,
        token: &AuthToken,
        bound: Instant,
    ) -> Result<(Self::Connection, LoginSteps), LoginError>;

    /// Whether the connection is known to be of no more use.
    fn is_closed(connection: &Self::Connection) -> bool;

    /// Whether the next call may use it.
    fn may_be_kept(connection: &Self::Connection) -> bool {
        !Self::is_closed(connection)
    }

    /// Whether the server still answers on it: one round trip, which the caller bounds.
    async fn answers(connection: &mut Self::Connection) -> bool;

    /// Says goodbye and closes, within this bound.
    async fn close(connection: Self::Connection, bound: Duration);
}

/// One connection, kept across warm invocations, with the token of the next login.
pub(super) struct Keeper<E: Engine> {
    pub(super) engine: E,
    /// How many logins are tried in one invocation.
    pub(super) login_attempts: u32,
    pub(super) signer: TokenSigner,
    pub(super) token: std::sync::Mutex<Option<KeptToken>>,
    pub(super) slot: Slot<E::Connection>,
}

impl<E: Engine> Keeper<E> {
    /// Nothing kept yet. Puts a cache in front of the provider of credentials.
    pub(super) fn new(
        engine: E,
        login_attempts: u32,
        signer: TokenSigner,
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
    ) -> Self {
        Self {
            engine,
            login_attempts,
            signer,
            token: std::sync::Mutex::default(),
            slot: Slot::new(provider, clock),
        }
    }

    /// Closes the kept connection as the protocol asks.
    pub(super) async fn close(&self) {
        if let Some(connection) = self.slot.take() {
            E::close(connection, CLOSE_TIMEOUT).await;
        }
    }
}

/// Warns of an endpoint that RDS does not know by this name, with the variables that hold it and the
/// address to dial.
pub(super) fn warn_of_an_alias(endpoint: &Endpoint, name: &str, address: &str) {
    if endpoint.kind == EndpointKind::Other {
        tracing::warn!(
            host = endpoint.host,
            "{name} is not an RDS endpoint's name: RDS refuses tokens signed for another name. Set {name} to RDS's own name, and dial elsewhere by DB_TUNNEL or {address}"
        );
    }
}
