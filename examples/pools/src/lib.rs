//! What the pools of other crates need: a fresh token for every new connection.
//!
//! The examples are `examples/deadpool.rs`, `examples/bb8.rs` and `examples/sqlx.rs`. Each takes the
//! environment of a function (`PGHOST`, `PGUSER` …) and prints how many customers there are.

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::credentials::CachingProvider;
use rds_iam::token::{AuthToken, TokenSigner};
use rds_iam::{Config, Error};

/// Signs tokens with cached credentials: at most one call to STS an hour, however many connections.
pub struct Tokens {
    signer: TokenSigner,
    credentials: CachingProvider<SharedCredentialsProvider>,
    clock: SharedTimeSource,
}

impl Tokens {
    /// For the endpoint, user and role of a configuration.
    pub fn new(config: &Config) -> Self {
        let clock = SharedTimeSource::default();
        Self {
            signer: config.token_signer(),
            credentials: CachingProvider::new(config.common.credentials(), clock.clone()),
            clock,
        }
    }

    /// A new token: the password of one login, for 15 minutes at most.
    ///
    /// # Errors
    /// If there are no credentials, or only expired ones.
    pub async fn sign(&self) -> Result<AuthToken, Error> {
        self.signer.token(&self.credentials, &self.clock).await
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("signer", &self.signer).finish_non_exhaustive()
    }
}
