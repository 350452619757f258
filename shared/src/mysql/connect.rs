//! One login: dial, TLS and the token, within one bound.

use std::net::SocketAddr;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as MysqlError, Opts, OptsBuilder, SslOpts};
use tokio::time::{Instant, timeout, timeout_at};

use super::login_error;
use crate::config::MysqlConfig;
use crate::error::ErrorKind;
use crate::retry::LoginError;
use crate::token::AuthToken;
use crate::work::LoginSteps;

/// The longest packet, and so the longest row, that is read: MySQL's longest packet without a
/// continuation. It is set, or the driver would ask the server.
const LONGEST_PACKET: usize = 16 * 1024 * 1024;
/// How long the driver trusts a connection. It is set, or the driver would ask the server.
const WAIT_TIMEOUT: usize = 28_800;
const KEEPALIVE_AFTER: Duration = Duration::from_secs(15);
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
const RESET_TIMEOUT: Duration = Duration::from_secs(1);
/// The driver logs in with it. On MySQL, a reset of the session returns to the server's own.
pub(super) const LOGIN_COLLATION: &str = "utf8mb4_general_ci";

/// Logs in to one database. It knows nothing of credentials: each login brings a token.
#[derive(Debug)]
pub struct Connector {
    config: MysqlConfig,
}

/// A logged-in connection. Dropping it closes the socket; [`Connection::close`] says goodbye first.
pub struct Connection {
    pub(super) conn: Conn,
    /// For `KILL`, and for the database after a reset.
    opts: Opts,
    /// Whether an answer may still be on its way, so that nothing else can be asked.
    pub(super) broken: bool,
    /// Whether the session was reset since its login.
    was_reset: bool,
    /// Whether the server runs statements at a login, which no reset repeats.
    init_connect: Option<bool>,
    longest_packet: Option<usize>,
    /// The time limit that user and server give the session, once it is known; zero is none. A reset returns to
    /// the server's.
    pub(super) limit: Option<Duration>,
}

/// The state of the session that a packet depends on.
#[derive(Clone, Copy)]
pub(super) struct SessionState<'a> {
    /// The database to choose, after a reset of the session.
    pub(super) database: Option<&'a str>,
    /// The session's own time limit, once a packet has shown it; zero is none.
    pub(super) limit: Option<Duration>,
}

impl Connector {
    /// A connector for a configuration.
    pub fn new(config: MysqlConfig) -> Self {
        Self { config }
    }

    /// One login, bounded by `connect_timeout` and by `bound`, whichever is sooner. Each address of the
    /// name is tried, with its share of the time. The driver dials and makes the TLS connection by itself:
    /// of its steps, only the resolution of the name is known apart.
    ///
    /// The token travels as a clear-text password, so TLS comes first, with the endpoint's name and the
    /// given roots verified. A server that offers no TLS gets no token.
    ///
    /// # Errors
    /// [`LoginError`], which says whether another attempt may help. Its kind is
    /// [`NetworkUnreachable`](ErrorKind::NetworkUnreachable), [`NetworkTimeout`](ErrorKind::NetworkTimeout),
    /// [`TlsUntrusted`](ErrorKind::TlsUntrusted), [`AuthRejected`](ErrorKind::AuthRejected),
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid) or
    /// [`DatabaseUnavailable`](ErrorKind::DatabaseUnavailable).
    ///
    /// # Cancel safety
    /// Dropping the future closes the socket.
    pub async fn login(
        &self,
        token: &AuthToken,
        bound: Instant,
    ) -> Result<(Connection, LoginSteps), LoginError> {
        let start = Instant::now();
        let bound = bound.min(start + self.config.connect_timeout);
        let mut steps = LoginSteps::default();
        let login = self.login_to_any(token, bound, &mut steps);
        let connection = timeout_at(bound, login)
            .await
            .unwrap_or_else(|_| Err(login_error::timed_out(&self.config)))?;
        steps.login = start.elapsed().saturating_sub(steps.dial);
        Ok((connection, steps))
    }

    async fn login_to_any(
        &self,
        token: &AuthToken,
        bound: Instant,
        steps: &mut LoginSteps,
    ) -> Result<Connection, LoginError> {
        let start = Instant::now();
        let addresses = self.config.dial.resolve(&self.config.endpoint).await;
        let addresses = addresses.map_err(|e| login_error::unreachable(&self.config, &e))?;
        steps.dial = start.elapsed();
        let mut last = login_error::timed_out(&self.config);
        for (index, address) in addresses.iter().enumerate() {
            let left = bound.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let opts = login_settings(&self.config, token, *address);
            match timeout(share, Conn::new(opts.clone())).await {
                Ok(Ok(conn)) => return Ok(Connection::new(conn, opts)),
                Ok(Err(refused)) => {
                    last = login_error::explain(&self.config, &refused);
                    if last.error.kind() != ErrorKind::NetworkUnreachable {
                        break;
                    }
                }
                Err(_) => last = login_error::timed_out(&self.config),
            }
        }
        Err(last)
    }
}

/// The driver's settings for one login over verified TLS, to one address of the endpoint.
pub fn login_settings(config: &MysqlConfig, token: &AuthToken, address: SocketAddr) -> Opts {
    let MysqlConfig { endpoint, user, database, roots, .. } = config;
    // With these, the driver fails before it logs in to a server that offers no TLS.
    let tls = SslOpts::default()
        .with_root_certs(vec![roots.pem().as_bytes().to_vec().into()])
        .with_disable_built_in_roots(true)
        .with_danger_tls_hostname_override(Some(endpoint.host.clone()));
    OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some(user))
        .pass(Some(token.as_str()))
        .db_name(Some(database))
        .ssl_opts(tls)
        .enable_cleartext_plugin(true)
        // It would take the token to a socket of this machine.
        .prefer_socket(false)
        .max_allowed_packet(Some(LONGEST_PACKET))
        .wait_timeout(Some(WAIT_TIMEOUT))
        .tcp_keepalive(Some(KEEPALIVE_AFTER))
        .stmt_cache_size(0)
        .into()
}

impl Connection {
    fn new(conn: Conn, opts: Opts) -> Self {
        let (broken, was_reset) = (false, false);
        let (init_connect, longest_packet, limit) = (None, None, None);
        Self { conn, opts, broken, was_reset, init_connect, longest_packet, limit }
    }

    /// Whether the connection can run nothing more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the server still answers: one round trip, which the caller bounds.
    pub(crate) async fn answers(&mut self) -> bool {
        self.broken = self.broken || self.conn.ping().await.is_err();
        !self.broken
    }

    /// The server's `max_allowed_packet`: a round trip for the first that asks.
    pub(super) async fn longest_packet(&mut self) -> Result<usize, MysqlError> {
        if let Some(known) = self.longest_packet {
            return Ok(known);
        }
        let most = self.conn.query_first("SELECT @@max_allowed_packet").await?;
        Ok(*self.longest_packet.insert(most.unwrap_or(LONGEST_PACKET)))
    }

    /// Has the server release everything that the session holds: variables, locks, temporary tables and
    /// prepared statements. If it cannot, or `last` says that more is left, the connection is of no more
    /// use.
    pub(super) async fn reset(&mut self, last: bool, bound: Instant) {
        self.broken = true;
        let bound = bound.min(Instant::now() + RESET_TIMEOUT);
        let restorable = timeout_at(bound, self.try_reset(last)).await;
        self.was_reset = true;
        self.broken = last || !matches!(restorable, Ok(Ok(true)));
    }

    /// Whether the session is afterwards as a login makes it.
    async fn try_reset(&mut self, last: bool) -> Result<bool, MysqlError> {
        if !self.conn.reset().await? || last {
            return Ok(false);
        }
        if self.init_connect.is_none() {
            let sets: Option<bool> = self.conn.query_first("SELECT @@init_connect <> ''").await?;
            self.init_connect = sets;
        }
        Ok(self.init_connect == Some(false))
    }

    /// The session's state that the next packet has to know: a reset keeps another database.
    pub(super) fn state(&self) -> SessionState<'_> {
        let database = self.opts.db_name().filter(|_| self.was_reset);
        SessionState { database, limit: self.limit }
    }

    /// Asks the server, over another connection, to end this one's session with what it runs and holds. A
    /// token that has expired meanwhile opens none.
    pub(super) async fn kill(&self, bound: Instant) {
        let ask = async {
            let mut other = Conn::new(self.opts.clone()).await.ok()?;
            other.query_drop(format!("KILL {}", self.conn.id())).await.ok()
        };
        let bound = bound.min(Instant::now() + CANCEL_TIMEOUT);
        if timeout_at(bound, ask).await.ok().flatten().is_none() {
            tracing::debug!("the session could not be killed");
        }
    }

    /// Says goodbye to the server (`COM_QUIT`) and closes, within this bound.
    pub async fn close(self, bound: Duration) {
        let _ = timeout(bound, self.conn.disconnect()).await;
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("broken", &self.broken).finish_non_exhaustive()
    }
}
