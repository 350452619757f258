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
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{CancelToken, Client};

use crate::config::{Config, Dial, SslNegotiation, TargetSessionAttrs};
use crate::error::Error;
use crate::login_error::LoginError;
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
            Err(_) => Err(LoginError::timed_out(&self.config, stage)),
        }
    }

    async fn login_unbounded(
        &self,
        token: &AuthToken,
        stage: &mut &'static str,
    ) -> Result<(Connection, LoginSteps), LoginError> {
        let mut steps = LoginSteps::default();
        let start = Instant::now();
        let stream =
            self.dial().await.map_err(|error| LoginError::unreachable(&self.config, &error))?;
        steps.dial = start.elapsed();
        *stage = "the login";

        let handshake = Arc::new(Mutex::new(Duration::ZERO));
        let tls = TimedTls { inner: self.tls_connect()?, took: handshake.clone() };
        let login_start = Instant::now();
        let (client, mut connection) =
            self.postgres_config(token)
                .connect_raw(stream, tls)
                .await
                .map_err(|error| LoginError::from_postgres(&self.config, &error))?;
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
            return Err(LoginError::not_writable(&self.config));
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
        .map_err(|error| LoginError::no_tls_setup(&error))
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
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("target", &self.config.target()).finish_non_exhaustive()
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
