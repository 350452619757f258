//! The IAM gate: TLS, the token check, and a relay to PostgreSQL.
//!
//! It answers as RDS does. A login of an `rds_iam` member is asked for a clear-text password, and
//! whatever is wrong with the token, the client learns only `PAM authentication failed`.

mod faults;
mod log;
mod members;
mod startup;
mod throttle;
mod token;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

pub use faults::Fault;
pub use log::{Log, Record};
pub use throttle::Throttle;
pub use token::{Expected, verify};

use crate::iam::Iam;
use crate::postgres::SOCKET;
use members::Members;
use startup::{First, Startup};

/// PostgreSQL's default `authentication_timeout`.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that a gate decides by.
#[derive(Debug)]
pub struct Settings {
    /// The endpoint's name, which tokens must be signed for.
    pub host: String,
    /// The endpoint's port, likewise.
    pub port: u16,
    /// The database's region, likewise.
    pub region: String,
    /// Who may do what.
    pub iam: Arc<Iam>,
    /// The certificate.
    pub tls: Arc<rustls::ServerConfig>,
    /// PostgreSQL's socket folder.
    pub postgres: PathBuf,
    /// The wall clock.
    pub clock: SharedTimeSource,
    /// The limit on logins, if any.
    pub throttle: Option<Throttle>,
    /// Where decisions are told.
    pub log: Log,
}

/// A running gate. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Gate {
    settings: Arc<Settings>,
    fault: watch::Sender<Fault>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Serves a bound listener.
    pub fn start(listener: TcpListener, settings: Settings, fault: Fault) -> Self {
        let settings = Arc::new(settings);
        let fault = watch::Sender::new(fault);
        let task = tokio::spawn(accept(listener, settings.clone(), fault.subscribe()));
        Self { settings, fault, task }
    }

    /// The gate's log.
    pub fn log(&self) -> &Log {
        &self.settings.log
    }

    /// Injects a fault, into open connections too.
    pub fn set_fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, settings: Arc<Settings>, fault: watch::Receiver<Fault>) {
    let members = Arc::new(Members::new(settings.postgres.clone()));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection {
                        peer,
                        settings: settings.clone(),
                        members: members.clone(),
                        fault: fault.clone(),
                    };
                    connections.spawn(connection.serve(stream));
                }
                // Out of file descriptors, say: give connections time to end.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn within_login_timeout<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LOGIN_TIMEOUT, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

struct Connection {
    peer: SocketAddr,
    settings: Arc<Settings>,
    members: Arc<Members>,
    fault: watch::Receiver<Fault>,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let settings = self.settings.clone();
        let log = |text: &str| settings.log.line(text, settings.clock.now());
        let reset = faults::ResetOnDemand::new(&stream, self.fault.clone());
        tokio::select! {
            () = reset.wait() => log("connection reset: fault injection"),
            result = self.run(stream) => if let Err(error) = result {
                // Clients that hang up are everyday; what they did not manage to say is not.
                if error.kind() == io::ErrorKind::InvalidData {
                    log(&format!("connection dropped: {error}"));
                }
            }
        }
    }

    async fn run(self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        faults::wait_while_stalled(&mut self.fault.clone()).await;
        if !within_login_timeout(self.negotiate_tls(&mut stream)).await? {
            return Ok(());
        }
        let acceptor = TlsAcceptor::from(self.settings.tls.clone());
        let mut stream = within_login_timeout(acceptor.accept(stream)).await?;
        let version = stream.get_ref().1.protocol_version().map(|version| match version {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
            other => format!("{other:?}"),
        });
        match within_login_timeout(startup::read_first(&mut stream)).await? {
            First::Cancel(packet) => self.cancel(&packet).await,
            First::Startup(startup) => {
                let login = self.authenticate(&mut stream, &startup, version);
                let accepted = within_login_timeout(login).await?;
                if accepted { self.relay(stream, &startup).await } else { Ok(()) }
            }
            First::Ssl | First::GssEnc => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Whether TLS starts now; if not, what was asked is already answered.
    async fn negotiate_tls(&self, stream: &mut TcpStream) -> io::Result<bool> {
        // PostgreSQL 17's direct TLS begins with a TLS record instead of a length.
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] == 0x16 {
            return Ok(true);
        }
        loop {
            match startup::read_first(stream).await? {
                First::Ssl => {
                    stream.write_all(b"S").await?;
                    return Ok(true);
                }
                First::GssEnc => stream.write_all(b"N").await?,
                First::Cancel(packet) => {
                    self.cancel(&packet).await?;
                    return Ok(false);
                }
                First::Startup(startup) => {
                    self.refuse_without_tls(stream, &startup).await?;
                    return Ok(false);
                }
            }
        }
    }

    async fn refuse_without_tls(
        &self,
        stream: &mut TcpStream,
        startup: &Startup,
    ) -> io::Result<()> {
        self.record(startup, Err("no TLS".into()), None);
        let message = format!(
            "pg_hba.conf rejects connection for host \"{}\", user \"{}\", database \"{}\", no encryption",
            self.peer.ip(),
            startup.user,
            startup.database
        );
        startup::refuse(stream, "28000", &message).await
    }

    async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        startup: &Startup,
        tls: Option<String>,
    ) -> io::Result<bool> {
        let password = startup::ask_password(stream).await?;
        let user = &startup.user;
        if !self.members.contains(user).await? {
            let reason =
                "not a login that has been granted rds_iam: the token was taken for a password";
            self.record(startup, Err(reason.into()), tls);
            let message = format!("password authentication failed for user \"{user}\"");
            startup::refuse(stream, "28P01", &message).await?;
            return Ok(false);
        }
        match self.check(user, &password) {
            Ok(principal) => {
                self.record(startup, Ok(principal), tls);
                Ok(true)
            }
            Err(reason) => {
                self.record(startup, Err(reason), tls);
                let message = format!("PAM authentication failed for user \"{user}\"");
                startup::refuse(stream, "28000", &message).await?;
                Ok(false)
            }
        }
    }

    fn check(&self, user: &str, token: &str) -> Result<String, String> {
        let settings = &self.settings;
        if settings.throttle.as_ref().is_some_and(|throttle| !throttle.admit()) {
            return Err("throttled: too many logins a second".into());
        }
        let expected =
            Expected { host: &settings.host, port: settings.port, region: &settings.region, user };
        verify(token, expected, &settings.iam, settings.clock.now()).map(|identity| identity.arn)
    }

    fn record(&self, startup: &Startup, outcome: Result<String, String>, tls: Option<String>) {
        let record = Record { user: startup.user.clone(), outcome, tls };
        self.settings.log.login(record, self.settings.clock.now());
    }

    async fn upstream(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.settings.postgres.join(SOCKET)).await
    }

    async fn cancel(&self, packet: &[u8]) -> io::Result<()> {
        self.settings.log.line("cancel request", self.settings.clock.now());
        let mut upstream = self.upstream().await?;
        upstream.write_all(packet).await?;
        upstream.shutdown().await
    }

    /// PostgreSQL itself answers the start-up packet: on its private socket it trusts the gate.
    async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        startup: &Startup,
    ) -> io::Result<()> {
        let mut upstream = self.upstream().await?;
        upstream.write_all(&startup.packet).await?;
        let (from_client, to_client) = tokio::io::split(stream);
        let (from_server, to_server) = upstream.into_split();
        // When either side ends, so does the other.
        tokio::select! {
            result = faults::pump(from_client, to_server, self.fault.clone()) => result,
            result = faults::pump(from_server, to_client, self.fault.clone()) => result,
        }
    }
}
