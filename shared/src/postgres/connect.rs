//! One login: dial, TLS and authentication, within one bound.
//!
//! Dialling is done here and not by tokio-postgres, so that `PGHOSTADDR` and `DB_TUNNEL` change
//! the address and nothing else, and so that each step's time is known.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postgres_native_tls::{MakeTlsConnector, TlsConnector, TlsStream};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Client;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use super::begin::SessionLimits;
use super::message_limit::{Limited, TooLong};
use super::{read_only, tls};
use crate::config::{Config, SslNegotiation, TargetSessionAttrs};
use crate::error::Error;
use crate::retry::LoginError;
use crate::token::AuthToken;
use crate::work::LoginSteps;

/// Dials the configured endpoint. Knows nothing of credentials: each login brings a token.
pub struct Connector {
    config: Config,
    tls: MakeTlsConnector,
    /// How many logins have failed.
    failed: AtomicUsize,
}

/// A logged-in connection. Dropping it closes the socket; [`Connection::close`] sends Terminate first.
pub struct Connection {
    /// The protocol client.
    pub client: Client,
    driver: Driver,
    too_long: TooLong,
    /// The server's address: a reader endpoint's name resolves to another instance each time.
    peer: SocketAddr,
    /// Whether it leads to RDS Proxy.
    proxy: bool,
    pub(crate) limits: SessionLimits,
    /// Whether it serves no other invocation.
    spent: AtomicBool,
    /// Whether the driver keeps prepared statements of its own in the session.
    has_statements: AtomicBool,
}

/// The task that moves a connection's bytes.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The kernel probes a silent peer after 15 s, then every 5 s, and closes the connection after three
/// probes without an answer: a query of minutes fails 30 s after its server died. Data that stays
/// unacknowledged for as long has the same effect.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

impl Connector {
    /// A connector for a configuration.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid) if TLS cannot be set up.
    pub fn new(config: Config) -> Result<Self, Error> {
        let tls = tls::tls_connector(&config)?;
        Ok(Self { config, tls, failed: AtomicUsize::new(0) })
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// One login, bounded by `PGCONNECT_TIMEOUT` and by `bound`, whichever is sooner. After a
    /// failed one, the next begins with another of the name's addresses.
    ///
    /// # Errors
    /// [`LoginError`], which says whether another attempt may help.
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn login(
        &self,
        token: &AuthToken,
        bound: Instant,
    ) -> Result<(Connection, LoginSteps), LoginError> {
        let bound = bound.min(Instant::now() + self.config.connect_timeout);
        let mut stage = "the TCP connection";
        let result = timeout_at(bound, self.login_steps(token, bound, &mut stage))
            .await
            .unwrap_or_else(|_| Err(LoginError::timed_out(&self.config, stage)));
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    async fn login_steps(
        &self,
        token: &AuthToken,
        bound: Instant,
        stage: &mut &'static str,
    ) -> Result<(Connection, LoginSteps), LoginError> {
        let mut steps = LoginSteps::default();
        let start = Instant::now();
        let stream = self.dial(bound).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => LoginError::timed_out(&self.config, stage),
            _ => LoginError::unreachable(&self.config, &error),
        })?;
        steps.dial = start.elapsed();
        let peer = stream.peer_addr().map_err(|e| LoginError::unreachable(&self.config, &e))?;
        *stage = "the login";

        let handshake = Arc::new(Mutex::new(Duration::ZERO));
        let too_long = TooLong::default();
        let tls = MeasuredTls {
            inner: self.tls_connect()?,
            took: handshake.clone(),
            too_long: too_long.clone(),
        };
        let login_start = Instant::now();
        let (client, mut connection) = login_settings(&self.config, token)
            .connect_raw(stream, tls)
            .await
            .map_err(|error| LoginError::from_postgres(&self.config, &error))?;
        steps.tls = *handshake.lock().unwrap_or_else(PoisonError::into_inner);
        steps.login = login_start.elapsed().saturating_sub(steps.tls);

        let read_only = ["in_hot_standby", "default_transaction_read_only"]
            .iter()
            .any(|name| connection.parameter(name) == Some("on"));
        let driver = Driver(tokio::spawn(async move {
            // The client's calls report a broken connection; this task can only log it.
            if let Err(error) = std::future::poll_fn(|cx| poll_quietly(&mut connection, cx)).await {
                tracing::debug!(reason = %error, "the database connection ended");
            }
        }));
        let connection = Connection {
            client,
            driver,
            too_long,
            peer,
            proxy: self.config.proxy,
            limits: SessionLimits::default(),
            spent: AtomicBool::new(false),
            has_statements: AtomicBool::new(false),
        };
        if self.config.target_session_attrs == TargetSessionAttrs::ReadWrite && read_only {
            // Only now: a setting of the user or database looks like a reader, and stays.
            let cause = read_only::ask(&connection.client).await;
            return Err(LoginError::not_writable(&self.config, cause.as_ref()));
        }
        Ok((connection, steps))
    }

    /// Asks the server that a connection leads to, over another connection, to stop its statement.
    pub(crate) async fn cancel(&self, connection: &Connection, bound: Instant) {
        let token = connection.client.cancel_token();
        let ask = async {
            let stream = TcpStream::connect(connection.peer).await.ok()?;
            token.cancel_query_raw(stream, self.tls_connect().ok()?).await.ok()
        };
        if timeout_at(bound, ask).await.ok().flatten().is_none() {
            tracing::debug!("the cancel request could not be delivered");
        }
    }

    async fn dial(&self, bound: Instant) -> io::Result<TcpStream> {
        let mut addresses = self.config.dial.resolve(&self.config.endpoint).await?;
        let first = self.failed.load(Ordering::Relaxed) % addresses.len().max(1);
        addresses.rotate_left(first);
        let stream = connect_any(&addresses, bound).await?;
        set_options(&stream)?;
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
}

/// A login's settings for tokio-postgres, with the token as its password: for a connection that you
/// dial yourself, over [`tls_connector`](super::tls_connector).
pub fn login_settings(config: &Config, token: &AuthToken) -> tokio_postgres::Config {
    let mut settings = tokio_postgres::Config::new();
    settings
        // connect_raw takes the certificate's name from here.
        .host(&config.endpoint.host)
        .user(&config.user)
        .password(token.as_str())
        .dbname(&config.database)
        .application_name(&config.application_name)
        // The default, prefer, would send the token in the clear to a server without TLS.
        .ssl_mode(tokio_postgres::config::SslMode::Require)
        .ssl_negotiation(match config.ssl_negotiation {
            SslNegotiation::Postgres => tokio_postgres::config::SslNegotiation::Postgres,
            SslNegotiation::Direct => tokio_postgres::config::SslNegotiation::Direct,
        });
    settings
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("target", &self.config.target()).finish_non_exhaustive()
    }
}

impl Connection {
    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.driver.0.is_finished()
    }

    /// Whether it leads to RDS Proxy.
    pub(crate) fn is_proxy(&self) -> bool {
        self.proxy
    }

    /// Keeps the connection from serving another invocation.
    pub(super) fn spend(&self) {
        self.spent.store(true, Ordering::Relaxed);
    }

    /// Whether it serves no other invocation: a setting or a lock of this one may be left on it.
    pub(crate) fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// A statement with its parameters and columns described. For types that are not built in, the driver
    /// prepares statements of its own, and keeps them.
    pub(super) async fn prepare(
        &self,
        sql: &str,
    ) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        self.has_statements.store(true, Ordering::Relaxed);
        self.client.prepare(sql).await
    }

    pub(super) fn has_statements(&self) -> bool {
        self.has_statements.load(Ordering::Relaxed)
    }

    /// Whether the connection ended because one message, a row usually, was longer than a response can
    /// be.
    pub(crate) fn got_too_long_a_message(&self) -> bool {
        self.too_long.load(Ordering::Relaxed)
    }

    /// Sends Terminate to the server and closes the connection, within this bound.
    pub async fn close(self, bound: Duration) {
        let Self { client, mut driver, .. } = self;
        drop(client);
        if timeout(bound, &mut driver.0).await.is_err() {
            tracing::debug!("the database connection was cut, because closing it took too long");
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    socket.set_tcp_keepalive(&keepalive.with_retries(3))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
    Ok(())
}

/// The first of these addresses that answers. One that is silent gets its share of the time only.
async fn connect_any(addresses: &[SocketAddr], bound: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (index, address) in addresses.iter().enumerate() {
        let left = bound.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
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

/// Measures the handshake inside tokio-postgres's login, and limits what comes after it.
struct MeasuredTls {
    inner: TlsConnector,
    took: Arc<Mutex<Duration>>,
    too_long: TooLong,
}

impl TlsConnect<TcpStream> for MeasuredTls {
    type Stream = Limited<TlsStream<TcpStream>>;
    type Error = native_tls::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let start = Instant::now();
            let stream = self.inner.connect(stream).await?;
            *self.took.lock().unwrap_or_else(PoisonError::into_inner) = start.elapsed();
            Ok(Limited::new(stream, self.too_long))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_or_refusing_address_does_not_keep_the_others_from_a_try() {
        // A full backlog: the kernel drops further SYNs, as a firewall does.
        let silent = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let silent = silent.unwrap();
        silent.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        silent.listen(0).unwrap();
        let silent_address = silent.local_addr().unwrap().as_socket().unwrap();
        let _filler = std::net::TcpStream::connect(silent_address).unwrap();
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let good = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [silent_address, refusing, good.local_addr().unwrap()];
        let bound = Instant::now() + Duration::from_secs(3);
        let stream = connect_any(&addresses, bound).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addresses[2]);
        let error = connect_any(&addresses[..2], bound).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(connect_any(&[], bound).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
