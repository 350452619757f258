//! A login with retries: credentials, a token, a connection.

use std::sync::PoisonError;

use aws_credential_types::Credentials;
use tokio::time::{Instant, sleep};

use super::keeper::{Engine, Keeper};
use super::kept_token::KeptToken;
use crate::credentials;
use crate::error::Error;
use crate::retry::{LoginError, Retry, RetryPolicy};
use crate::token::{AuthToken, TokenSigner};
use crate::work::Work;

impl<E: Engine> Keeper<E> {
    /// The kept token while it is fresh, else a new one.
    fn token(&self, credentials: &Credentials) -> Result<AuthToken, Error> {
        let now = self.slot.clock.now();
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref().filter(|kept| kept.is_good(credentials, now)) {
            return Ok(kept.token.clone());
        }
        let token = self.signer.sign(credentials, now)?;
        let access_key_id = credentials.access_key_id().to_owned();
        *kept = Some(KeptToken { token: token.clone(), access_key_id, signed_at: now });
        Ok(token)
    }

    fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Logs in, with retries as [`RetryPolicy::login`] says.
    pub(super) async fn login(&self, work: &mut Work) -> Result<E::Connection, Error> {
        let policy = RetryPolicy::login(self.login_attempts);
        let mut attempts = policy.start(work.deadline.remaining());
        loop {
            work.report.login_attempts += 1;
            let refused = match self.login_once(work).await {
                Ok(connection) => return Ok(connection),
                Err(refused) => refused,
            };
            let pause = attempts.next_pause(work.report.login_attempts);
            match pause.filter(|_| refused.retry != Retry::No) {
                Some(pause) => sleep(pause).await,
                None => return Err(refused.error),
            }
        }
    }

    async fn login_once(&self, work: &mut Work) -> Result<E::Connection, LoginError> {
        let no_retry = |error| LoginError { error, retry: Retry::No };
        let credentials = self.slot.credentials(work).await.map_err(no_retry)?;
        let (deadline, report) = (work.deadline, &mut work.report);

        let start = Instant::now();
        let token = self.token(&credentials).map_err(no_retry)?;
        report.sign = Some(start.elapsed());

        match self.engine.log_in(&token, deadline.answer_by()).await {
            Ok((connection, steps)) => {
                report.login = Some(steps);
                Ok(connection)
            }
            Err(mut refused) => {
                if refused.retry == Retry::FreshCredentials {
                    self.forget_token();
                    self.slot.credentials.invalidate(&credentials).await;
                    refused.error = refused.error.also(&self.signed_with(&credentials));
                }
                Err(refused)
            }
        }
    }

    /// The facts of a refused token, to narrow the causes down. Of the key only its kind.
    fn signed_with(&self, signed: &Credentials) -> String {
        let kind = credentials::KeyKind::of(signed.access_key_id());
        let expiry = match signed.expiry().map(|at| at.duration_since(self.slot.clock.now())) {
            Some(left) => format!("that expire in {} s", left.unwrap_or_default().as_secs()),
            None => "whose expiry is not known here".to_owned(),
        };
        let TokenSigner { host, port, region, .. } = &self.signer;
        format!("it was signed moments ago for {host}:{port} in {region}, with {kind} {expiry}")
    }
}
