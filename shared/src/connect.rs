//! One login: dial, TLS, authenticate, within one bound; and what of it may be tried again.
//!
//! Dialling is done here and not by tokio-postgres, so that `PGHOSTADDR` and `DB_TUNNEL` change
//! the address and nothing else, and so that each step's time is known.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postgres_native_tls::{MakeTlsConnector, TlsConnector, TlsStream};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{CancelToken, Client};

use crate::config::{Config, Dial, SslNegotiation, TargetSessionAttrs};
use crate::error::{Error, ErrorKind};
use crate::query::errors::find_db_error;
use crate::tls;
use crate::token::AuthToken;

/// Dials the configured endpoint. Knows nothing of credentials: each login brings a token.
pub struct Connector {
    config: Config,
    tls: MakeTlsConnector,
}

/// A logged-in connection. Dropping it closes the connection.
pub struct Connection {
    /// The protocol client.
    pub client: Client,
    driver: JoinHandle<()>,
}

/// How long the steps of one login took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoginSteps {
    /// Name resolution and TCP.
    pub dial: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// Everything from the SSLRequest to "ready for query", less the handshake.
    pub login: Duration,
}

/// A failed login, and whether another try may help.
#[derive(Debug)]
pub struct LoginError {
    /// What to tell the caller if this was the last try.
    pub error: Error,
    /// Whether, and how, to try again.
    pub retry: Retry,
}

/// What another login could do about a failed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the same would happen again.
    No,
    /// The server or network may recover.
    Again,
    /// RDS refused the token: sign again, with credentials resolved anew. A throttled login looks
    /// just like this.
    FreshCredentials,
}

impl Connector {
    /// A connector for a configuration. Fails when TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, Error> {
        let tls = tls::connector(&config)?;
        Ok(Self { config, tls })
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One login, bounded by `PGCONNECT_TIMEOUT` and by `bound`, whichever is sooner.
    ///
    /// # Cancel safety
    /// Dropping the future closes whatever was open.
    pub async fn login(
        &self,
        token: &AuthToken,
        bound: Instant,
    ) -> Result<(Connection, LoginSteps), LoginError> {
        let bound = bound.min(Instant::now() + self.config.connect_timeout);
        let mut stage = "the TCP connection";
        match timeout_at(bound, self.login_unbounded(token, &mut stage)).await {
            Ok(result) => result,
            Err(_) => Err(LoginError {
                error: Error::new(
                    ErrorKind::NetworkTimeout,
                    format!("no login at {}", self.target()),
                )
                .because(format!("{stage} got no answer in time"))
                .remedy("Check security groups, subnets and routes between the function and the database (a refusal is immediate, silence is the network), then PGCONNECT_TIMEOUT"),
                retry: Retry::Again,
            }),
        }
    }

    async fn login_unbounded(
        &self,
        token: &AuthToken,
        stage: &mut &'static str,
    ) -> Result<(Connection, LoginSteps), LoginError> {
        let mut steps = LoginSteps::default();
        let start = Instant::now();
        let stream = self.dial().await.map_err(|error| self.unreachable(&error))?;
        steps.dial = start.elapsed();
        *stage = "the login";

        let handshake = Arc::new(Mutex::new(Duration::ZERO));
        let tls = TimedTls { inner: self.tls_connect()?, took: handshake.clone() };
        let login_start = Instant::now();
        let (client, mut connection) = self
            .postgres_config(token)
            .connect_raw(stream, tls)
            .await
            .map_err(|error| self.classify(&error))?;
        steps.tls = *handshake.lock().unwrap_or_else(PoisonError::into_inner);
        steps.login = login_start.elapsed().saturating_sub(steps.tls);

        let read_only = ["in_hot_standby", "default_transaction_read_only"]
            .iter()
            .any(|name| connection.parameter(name) == Some("on"));
        let driver = tokio::spawn(async move {
            // The client's calls report a broken connection; here it can only be noted.
            if let Err(error) = std::future::poll_fn(|cx| poll_quietly(&mut connection, cx)).await {
                tracing::debug!(reason = %error, "the database connection ended");
            }
        });
        let connection = Connection { client, driver };
        if self.config.target_session_attrs == TargetSessionAttrs::ReadWrite && read_only {
            return Err(LoginError {
                error: Error::new(
                    ErrorKind::DatabaseUnavailable,
                    format!("{} takes no writes", self.target()),
                )
                .because("it is a standby or a reader, and PGTARGETSESSIONATTRS is read-write")
                .remedy("Use the cluster (writer) endpoint; after a failover its name follows within a minute"),
                retry: Retry::Again,
            });
        }
        Ok((connection, steps))
    }

    /// Asks the server, over a connection of its own, to stop what `token` names.
    pub(crate) async fn cancel(&self, token: &CancelToken, bound: Instant) {
        let ask = async {
            let stream = self.dial().await.ok()?;
            token.cancel_query_raw(stream, self.tls_connect().ok()?).await.ok()
        };
        if timeout_at(bound, ask).await.ok().flatten().is_none() {
            tracing::debug!("the cancel request could not be delivered");
        }
    }

    async fn dial(&self) -> io::Result<TcpStream> {
        let port = self.config.endpoint.port;
        let stream = match &self.config.dial {
            // Tries every address of the name in turn.
            Dial::Endpoint => {
                TcpStream::connect((self.config.endpoint.host.as_str(), port)).await?
            }
            Dial::Address(address) => TcpStream::connect((*address, port)).await?,
            Dial::Tunnel(host, port) => TcpStream::connect((host.as_str(), *port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn tls_connect(&self) -> Result<TlsConnector, LoginError> {
        let mut make = self.tls.clone();
        <MakeTlsConnector as MakeTlsConnect<TcpStream>>::make_tls_connect(
            &mut make,
            &self.config.endpoint.host,
        )
        .map_err(|error| LoginError {
            error: Error::new(ErrorKind::ConfigInvalid, "TLS cannot be set up")
                .because(error.to_string())
                .remedy("Check PGHOST"),
            retry: Retry::No,
        })
    }

    fn postgres_config(&self, token: &AuthToken) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        config
            // connect_raw takes the certificate's name from here.
            .host(&self.config.endpoint.host)
            .user(&self.config.user)
            .password(token.as_str())
            .dbname(&self.config.database)
            .application_name(&self.config.application_name)
            // The default, prefer, would send the token in the clear to a server without TLS.
            .ssl_mode(tokio_postgres::config::SslMode::Require)
            .ssl_negotiation(match self.config.ssl_negotiation {
                SslNegotiation::Postgres => tokio_postgres::config::SslNegotiation::Postgres,
                SslNegotiation::Direct => tokio_postgres::config::SslNegotiation::Direct,
            });
        config
    }

    /// The endpoint, and the way there if it is another.
    fn target(&self) -> String {
        let endpoint = format!("{}:{}", self.config.endpoint.host, self.config.endpoint.port);
        match &self.config.dial {
            Dial::Endpoint => endpoint,
            Dial::Address(address) => format!("{endpoint} (PGHOSTADDR {address})"),
            Dial::Tunnel(host, port) => format!("{endpoint} (DB_TUNNEL {host}:{port})"),
        }
    }

    fn unreachable(&self, error: &io::Error) -> LoginError {
        let remedy = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "Nothing listens there: check PGHOST and PGPORT, and that the database is running"
            }
            _ => {
                "Check PGHOST (an RDS name resolves to a private address only inside its VPC), and the function's subnets"
            }
        };
        LoginError {
            error: Error::new(
                ErrorKind::NetworkUnreachable,
                format!("{} cannot be reached", self.target()),
            )
            .because(error.to_string())
            .remedy(remedy),
            retry: Retry::Again,
        }
    }

    /// What a failed TLS handshake or login means. See docs/errors.md for the causes.
    fn classify(&self, error: &tokio_postgres::Error) -> LoginError {
        if let Some(refusal) = find_db_error(error) {
            return self.refused(refusal);
        }
        let mut causes = Vec::new();
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                return self.unreachable(io);
            }
            causes.push(cause.to_string());
            next = cause.source();
        }
        let why = causes.first().cloned().unwrap_or_else(|| error.to_string());
        if why.contains("certificate") || why.contains("hostname") {
            return LoginError {
                error: Error::new(
                    ErrorKind::TlsUntrusted,
                    format!("the certificate of {} is not trusted", self.target()),
                )
                .because(why)
                .remedy("PGHOST must be the RDS endpoint's own name, not an alias or address (dial elsewhere by PGHOSTADDR or DB_TUNNEL), and PGSSLROOTCERT, if set, must hold its roots"),
                retry: Retry::No,
            };
        }
        let (kind, retry) = if error.is_closed() {
            (ErrorKind::NetworkUnreachable, Retry::Again)
        } else {
            (ErrorKind::TlsUntrusted, Retry::No)
        };
        LoginError {
            error: Error::new(kind, format!("no TLS connection to {}", self.target()))
                .because(why)
                .remedy("Check that PGHOST and PGPORT name a PostgreSQL server that offers TLS"),
            retry,
        }
    }

    fn refused(&self, refusal: &DbError) -> LoginError {
        let user = &self.config.user;
        let at = self.target();
        let rejected = |why: String, remedy: String, retry| LoginError {
            error: Error::new(ErrorKind::AuthRejected, format!("{user} was refused at {at}"))
                .because(why)
                .remedy(remedy),
            retry,
        };
        let code = refusal.code();
        // SQLSTATE alone cannot tell: RDS's PAM refusal and pg_hba's are both 28000.
        if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            && refusal.message().starts_with("PAM authentication failed")
        {
            return rejected(
                "RDS did not accept the token (PAM authentication failed)".into(),
                format!(
                    "Check that the role's policy allows rds-db:connect on dbuser:<resource id>/{user}, with the db-…, cluster-… or prx-… id and the user's exact case; that the role is of the database's account; that the token was signed for this host, port and region ({}); that no clock is off. RDS refuses a throttled login with these same words, so too many logins at once are a cause too",
                    self.config.region
                ),
                Retry::FreshCredentials,
            );
        }
        if *code == SqlState::INVALID_PASSWORD {
            return rejected(
                "the token was taken for a password (28P01)".into(),
                format!(
                    "Run GRANT rds_iam TO {user} as an administrator, check that the user exists, and that IAM authentication is switched on for the database"
                ),
                Retry::No,
            );
        }
        if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
            return rejected(
                "the server's access rules (pg_hba) reject it (28000)".into(),
                "Check that the connection reaches the database itself and uses TLS".into(),
                Retry::No,
            );
        }
        if *code == SqlState::INVALID_CATALOG_NAME {
            return LoginError {
                error: Error::new(
                    ErrorKind::ConfigInvalid,
                    format!("there is no database {} at {at}", self.config.database),
                )
                .remedy("Set PGDATABASE to one that exists"),
                retry: Retry::No,
            };
        }
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            return rejected(
                format!("it may not connect to database {} (42501)", self.config.database),
                format!("Run GRANT CONNECT ON DATABASE {} TO {user}", self.config.database),
                Retry::No,
            );
        }
        let (why, remedy) = match code.code() {
            "53300" => (
                "it has too many connections (53300)",
                "Limit the function's concurrency, raise max_connections, or put RDS Proxy in between",
            ),
            "57P03" => ("it is starting up or shutting down (57P03)", "Wait for it to come up"),
            _ => ("the server refused the login", "Look the SQLSTATE up in the server's log"),
        };
        LoginError {
            error: Error::new(
                ErrorKind::DatabaseUnavailable,
                format!("{at} takes no login now (SQLSTATE {})", code.code()),
            )
            .because(why)
            .remedy(remedy),
            retry: Retry::Again,
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("target", &self.target()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.driver.is_finished()
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Drives the connection and drops notices: `RAISE NOTICE` may quote rows.
fn poll_quietly<S, T>(
    connection: &mut tokio_postgres::Connection<S, T>,
    cx: &mut std::task::Context<'_>,
) -> std::task::Poll<Result<(), tokio_postgres::Error>>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use std::task::Poll;
    loop {
        match connection.poll_message(cx) {
            Poll::Ready(Some(Ok(_))) => {}
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
        }
    }
}

/// Measures the handshake inside tokio-postgres's login.
struct TimedTls {
    inner: TlsConnector,
    took: Arc<Mutex<Duration>>,
}

impl TlsConnect<TcpStream> for TimedTls {
    type Stream = TlsStream<TcpStream>;
    type Error = native_tls::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let start = Instant::now();
            let stream = self.inner.connect(stream).await?;
            *self.took.lock().unwrap_or_else(PoisonError::into_inner) = start.elapsed();
            Ok(stream)
        })
    }
}
