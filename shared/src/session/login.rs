//! A login with retries: credentials, a token, a connection.

use aws_credential_types::Credentials;
use tokio::time::{Instant, sleep, timeout_at};

use super::Session;
use crate::credentials;
use crate::error::{Error, ErrorKind};
use crate::postgres::{Connection, LoginError};
use crate::retry::{Retry, RetryPolicy};
use crate::token::TokenSigner;
use crate::work::Work;

impl Session {
    /// Logs in, with retries as [`RetryPolicy::login`] says.
    pub(super) async fn login(&self, work: &mut Work) -> Result<Connection, Error> {
        let policy = RetryPolicy::login(self.connector.config().login_attempts);
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

    async fn login_once(&self, work: &mut Work) -> Result<Connection, LoginError> {
        let no_retry = |error| LoginError { error, retry: Retry::No };
        let (deadline, report) = (work.deadline, &mut work.report);
        let start = Instant::now();
        let credentials = timeout_at(deadline.answer_by(), self.credentials.get())
            .await
            .map_err(|_| no_retry(no_credentials_in_time()))?
            .map_err(|error| no_retry(credentials::unavailable(&error)))?;
        report.resolve = Some(start.elapsed());

        let start = Instant::now();
        let token = self.signer.sign(&credentials, self.clock.now()).map_err(no_retry)?;
        report.sign = Some(start.elapsed());

        match self.connector.login(&token, deadline.answer_by()).await {
            Ok((connection, steps)) => {
                report.login = Some(steps);
                Ok(connection)
            }
            Err(mut refused) => {
                if refused.retry == Retry::FreshCredentials {
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
