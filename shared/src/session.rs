//! One connection for a sandbox, kept across warm invocations.
//!
//! IAM logins cost five round trips and are throttled, so a connection is used again until it
//! dies. Lambda freezes sandboxes: sockets die silently and timers do not run, so nothing here
//! happens in the background, and a connection that lay idle for long is probed before it is
//! trusted.

mod batch;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::Config;
use crate::connect::{Connection, Connector, LoginSteps};
use crate::credentials::{self, CachingProvider, RawProvider};
use crate::deadline::Deadline;
use crate::endpoint::EndpointKind;
use crate::error::{Error, ErrorKind};
use crate::login_error::{LoginError, Retry};
use crate::query::errors::outcome_unknown;
use crate::query::execute::{self, Failure, Progress, Stage};
pub use crate::query::execute::{Answer, SHOWN_VIOLATIONS};
use crate::query::{Mode, Parameters, Query};
use crate::token::TokenSigner;
pub use batch::{Job, Outcome};

/// A connection idle for longer is probed first, by wall clock: it may have died in a freeze, without
/// a word. Who runs as seldom as that does not notice the round trip.
pub const PROBE_AFTER: Duration = Duration::from_secs(5);
/// A probe is one round trip inside a VPC; no answer within this means that the connection is dead.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How much longer than a query's own `timeout` the server's refusal may take to arrive.
const OWN_TIMEOUT_GRACE: Duration = Duration::from_millis(500);
/// A cancel request takes four round trips.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
/// Lambda gives a sandbox that ends 300 ms from its SIGTERM.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);
/// First and longest pause between two logins; each is drawn at random below it (full jitter).
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The database, ready for queries: it logs in when it must.
pub struct Session {
    connector: Connector,
    signer: TokenSigner,
    credentials: CachingProvider<SharedCredentialsProvider>,
    clock: SharedTimeSource,
    idle: Mutex<Option<Idle>>,
}

struct Idle {
    connection: Connection,
    since: SystemTime,
}

/// What one invocation's database work consisted of, for its log line.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whether the connection was used before.
    pub reused: bool,
    /// Logins tried.
    pub login_attempts: u32,
    /// Time to resolve credentials.
    pub resolve: Option<Duration>,
    /// Time to sign the token.
    pub sign: Option<Duration>,
    /// Steps of the login that succeeded.
    pub login: Option<LoginSteps>,
    /// Time for the statement, from sending to its last row, or to its COMMIT's answer.
    pub query: Option<Duration>,
    /// How many rows a check found.
    pub violations: Option<u64>,
}

impl Session {
    /// A session that has not logged in yet. Fails when TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, Error> {
        let provider = SharedCredentialsProvider::new(RawProvider::new(&config));
        Self::with_credentials(config, provider, SharedTimeSource::default())
    }

    /// As [`Session::new`], with credentials of one's own and the wall clock given. The provider is
    /// asked through a [`CachingProvider`].
    pub fn with_credentials(
        config: Config,
        provider: SharedCredentialsProvider,
        clock: SharedTimeSource,
    ) -> Result<Self, Error> {
        let credentials = CachingProvider::new(provider, clock.clone());
        if config.endpoint.kind == EndpointKind::Other {
            tracing::warn!(
                host = config.endpoint.host,
                "PGHOST is not an RDS endpoint's name: tokens are signed for it as it is, and RDS refuses them. Set PGHOST to RDS's own name, and dial elsewhere by DB_TUNNEL or PGHOSTADDR"
            );
        }
        let signer = TokenSigner::new(&config);
        Ok(Self {
            connector: Connector::new(config)?,
            signer,
            credentials,
            clock,
            idle: Mutex::default(),
        })
    }

    /// Runs a query that may not write, in a read-only transaction: one round trip on a warm
    /// connection. One with `mode = "write"` is [`ErrorKind::QueryDenied`].
    ///
    /// # Cancel safety
    /// As [`Session::run`].
    pub async fn read(
        &self,
        query: &Query,
        parameters: &Parameters,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Answer, Error> {
        if query.mode == Mode::Write {
            return Err(Error::new(
                ErrorKind::QueryDenied,
                format!("query {} does not run here", query.name),
            )
            .because("its mode is \"write\", and only reads run here")
            .remedy("Name a query with mode = \"read\""));
        }
        self.run(query, parameters, deadline, report).await
    }

    /// Runs a query by its mode, in a transaction of its own: one round trip on a warm connection
    /// for a read, two for a write.
    ///
    /// If the connection at hand turns out dead, it is replaced, once. What was sent is then
    /// repeated if it is a read, or if the server refused it for taking no writes (after a
    /// failover). A write whose answer was lost is [`ErrorKind::QueryOutcomeUnknown`].
    ///
    /// # Cancel safety
    /// A dropped future drops the connection it was using, and the next call logs in anew. The
    /// server stops the statement when its `statement_timeout` ends, before the deadline. A write
    /// may or may not have happened.
    pub async fn run(
        &self,
        query: &Query,
        parameters: &Parameters,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Answer, Error> {
        let mut idle = self.lock(deadline).await?;
        let (mut connection, mut replaced) = self.acquire(idle.take(), deadline, report).await?;
        loop {
            let result = self.attempt(&connection, query, parameters, deadline, report).await;
            let usable = result.as_ref().map_or_else(|failure| failure.usable, |_| true);
            if usable && !connection.is_closed() {
                *idle = Some(Idle { connection, since: self.clock.now() });
                return result.map_err(|failure| failure.error);
            }
            match result {
                Err(failure) if failure.repeat && !replaced => {
                    drop(connection);
                    replaced = true;
                    report.reused = false;
                    connection = self.login(deadline, report).await?;
                }
                result => return result.map_err(|failure| failure.error),
            }
        }
    }

    /// Closes the connection as the protocol asks, so that no backend stays behind: for when the
    /// sandbox ends. A later call logs in anew.
    pub async fn close(&self) {
        // While a call is using the connection, there is nothing to close.
        let idle = self.idle.try_lock().ok().and_then(|mut idle| idle.take());
        if let Some(Idle { connection, .. }) = idle {
            connection.close(CLOSE_TIMEOUT).await;
        }
    }

    async fn lock(&self, deadline: Deadline) -> Result<MutexGuard<'_, Option<Idle>>, Error> {
        timeout_at(deadline.answer_by(), self.idle.lock()).await.map_err(|_| {
            Error::new(ErrorKind::QueryTimeout, "the session's one connection was not to be had")
                .because("other calls kept it busy until this one's time was up")
                .remedy("Run them one after another, or in one batch")
        })
    }

    /// The connection at hand if it lives, else a new one; and whether that replaced a dead one,
    /// which happens once in an invocation.
    async fn acquire(
        &self,
        before: Option<Idle>,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<(Connection, bool), Error> {
        let replaced = before.is_some();
        if let Some(connection) = self.reusable(before, deadline).await {
            report.reused = true;
            return Ok((connection, false));
        }
        Ok((self.login(deadline, report).await?, replaced))
    }

    async fn reusable(&self, idle: Option<Idle>, deadline: Deadline) -> Option<Connection> {
        let Idle { connection, since } = idle?;
        if connection.is_closed() {
            return None;
        }
        // A clock that went backwards says nothing: probe then too.
        let idle_for = self.clock.now().duration_since(since).unwrap_or(PROBE_AFTER);
        if idle_for < PROBE_AFTER {
            return Some(connection);
        }
        let bound = deadline.answer_by().min(Instant::now() + PROBE_TIMEOUT);
        let probe = timeout_at(bound, connection.client.check_connection()).await;
        matches!(probe, Ok(Ok(()))).then_some(connection)
    }

    async fn attempt(
        &self,
        connection: &Connection,
        query: &Query,
        parameters: &Parameters,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Answer, Failure> {
        let Some(server_timeout) = deadline.statement_timeout() else {
            return Err(Failure::refused(out_of_time(query, "no time was left to run it")));
        };
        let server_timeout = query.timeout.map_or(server_timeout, |own| own.min(server_timeout));
        let proxy = self.connector.config().proxy;
        let start = Instant::now();
        // A query's own time-out is the server's to keep, which only behind RDS Proxy is not told it.
        let grace = if proxy { Duration::ZERO } else { OWN_TIMEOUT_GRACE };
        let bound = query.timeout.map(|own| start + own + grace);
        let bound = deadline.answer_by().min(bound.unwrap_or(deadline.answer_by()));
        let server_timeout = (!proxy).then_some(server_timeout);
        let mut progress = Progress { stage: Stage::Sent, violations: None };
        let client = &connection.client;
        let run = execute::run(client, query, parameters, server_timeout, true, &mut progress);
        let result = timeout_at(bound, run).await;
        report.query = Some(start.elapsed());
        report.violations = progress.violations;
        if let Ok(result) = result {
            return result;
        }
        // The server's own time-out did not arrive: ask it to stop, and drop the connection. RDS
        // Proxy cannot be asked.
        if !proxy {
            let token = connection.client.cancel_token();
            let bound = deadline.cancel_by().min(Instant::now() + CANCEL_TIMEOUT);
            self.connector.cancel(&token, bound).await;
        }
        Err(Failure::lost(match (query.mode, progress.stage) {
            (Mode::Read, _) => out_of_time(query, "the database did not answer in time"),
            (Mode::Write, Stage::Begun) => out_of_time(
                query,
                "the database did not answer in time; nothing was written, COMMIT was not sent",
            ),
            (Mode::Write, stage) => outcome_unknown(query, stage),
        }))
    }

    /// Logs in: at most `DB_LOGIN_ATTEMPTS` times, retries within a quarter of the time left.
    async fn login(&self, deadline: Deadline, report: &mut Report) -> Result<Connection, Error> {
        let retry_until = Instant::now() + deadline.remaining() / 4;
        let mut pause = BACKOFF.0;
        loop {
            report.login_attempts += 1;
            let refused = match self.login_once(deadline, report).await {
                Ok(connection) => return Ok(connection),
                Err(refused) => refused,
            };
            let wait = pause.mul_f64(fastrand::f64());
            pause = (pause * 2).min(BACKOFF.1);
            let again = refused.retry != Retry::No
                && report.login_attempts < self.connector.config().login_attempts
                && Instant::now() + wait < retry_until;
            if !again {
                return Err(refused.error);
            }
            sleep(wait).await;
        }
    }

    async fn login_once(
        &self,
        deadline: Deadline,
        report: &mut Report,
    ) -> Result<Connection, LoginError> {
        let no_retry = |error| LoginError { error, retry: Retry::No };
        let start = Instant::now();
        let credentials = timeout_at(deadline.answer_by(), self.credentials.get())
            .await
            .map_err(|_| {
                no_retry(
                    Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials could be had")
                        .because("their source did not answer in time")
                        .remedy("A role is assumed through STS: in a private subnet that needs the interface endpoint com.amazonaws.<region>.sts"),
                )
            })?
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
}

fn out_of_time(query: &Query, why: &str) -> Error {
    Error::new(ErrorKind::QueryTimeout, format!("query {} was given up", query.name))
        .because(why)
        .remedy("Make it faster (look at EXPLAIN), or give the function a longer Timeout")
}

impl Session {
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

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("connector", &self.connector).finish_non_exhaustive()
    }
}
