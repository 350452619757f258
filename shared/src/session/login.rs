//! A login with retries: credentials, a token, a connection.

use std::sync::PoisonError;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use tokio::time::{Instant, sleep, timeout_at};

use super::keeper::{Engine, Keeper};
use crate::credentials;
use crate::error::{Error, ErrorKind};
use crate::retry::{LoginError, Retry, RetryPolicy};
use crate::token::{AuthToken, TokenSigner};
use crate::work::Work;

/// A token with less life left is not used again.
const LIFE_TO_REUSE: Duration = Duration::from_secs(300);

/// The token of the last login. RDS does not throttle a login with a token that is in use already, so
/// a reconnect takes the same one.
pub(super) struct KeptToken {
    token: AuthToken,
    access_key_id: String,
    signed_at: SystemTime,
}

impl KeptToken {
    fn is_good(&self, credentials: &Credentials, now: SystemTime) -> bool {
        self.access_key_id == credentials.access_key_id()
            && self.signed_at <= now
            && now + LIFE_TO_REUSE < self.token.expires_at()
    }
}

impl<E: Engine> Keeper<E> {
    /// The kept token while it is fresh, else a new one.
    fn token(&self, credentials: &Credentials) -> Result<AuthToken, Error> {
        let now = self.clock.now();
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
        let (deadline, report) = (work.deadline, &mut work.report);
        let start = Instant::now();
        let credentials = timeout_at(deadline.answer_by(), self.credentials.get())
            .await
            .map_err(|_| no_retry(no_credentials_in_time()))?
            .map_err(|error| no_retry(credentials::unavailable(&error)))?;
        report.resolve = Some(start.elapsed());

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
                    self.credentials.invalidate(&credentials).await;
                    refused.error = refused.error.also(&self.signed_with(&credentials));
                }
                Err(refused)
            }
        }
    }

    /// What is known of a refused token, to narrow the causes down. Of the key only its kind.
    fn signed_with(&self, signed: &Credentials) -> String {
        let kind = credentials::key_kind(signed.access_key_id());
        let expiry = match signed.expiry().map(|at| at.duration_since(self.clock.now())) {
            Some(left) => format!("that expire in {} s", left.unwrap_or_default().as_secs()),
            None => "whose expiry is not known here".to_owned(),
        };
        let TokenSigner { host, port, region, .. } = &self.signer;
        format!("it was signed moments ago for {host}:{port} in {region}, with {kind} {expiry}")
    }
}

fn no_credentials_in_time() -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials found")
        .because("their source did not answer in time")
        .remedy("A role is assumed through STS: in a private subnet that needs the interface endpoint com.amazonaws.<region>.sts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_kept_while_it_is_fresh_and_its_credentials_are_the_same() {
        let signer = TokenSigner {
            host: "db.c1a2b3.us-east-1.rds.amazonaws.com".into(),
            port: 5432,
            region: "us-east-1".into(),
            user: "u".into(),
        };
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let credentials = |id: &str, life: u64| {
            let expiry = start + Duration::from_secs(life);
            Credentials::new(id, "secret", None, Some(expiry), "test")
        };
        let kept = |life: u64| {
            let token = signer.sign(&credentials("A", life), start).unwrap();
            KeptToken { token, access_key_id: "A".into(), signed_at: start }
        };
        let good = |kept: &KeptToken, id: &str, after: u64| {
            kept.is_good(&credentials(id, 3600), start + Duration::from_secs(after))
        };
        assert!(good(&kept(3600), "A", 0) && good(&kept(3600), "A", 599));
        assert!(!good(&kept(3600), "A", 600), "it has five minutes left");
        assert!(!good(&kept(3600), "B", 0), "the credentials were renewed");
        assert!(!good(&kept(310), "A", 11), "it dies with its credentials");
        let before = start - Duration::from_secs(1);
        assert!(!kept(3600).is_good(&credentials("A", 3600), before), "the clock went back");
    }
}
