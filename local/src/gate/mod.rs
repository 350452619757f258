//! The IAM gate: TLS, the token check, and a relay to PostgreSQL.
//!
//! It answers as RDS does. It asks an `rds_iam` member for a clear-text password, and refuses every
//! wrong token with the same `PAM authentication failed`.

mod faults;
mod frames;
mod link;
mod log;
mod members;
mod proxy;
mod relay;
mod silence;
mod startup;
mod throttle;
mod token;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixStream};
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
use faults::Faults;
use link::Link;
use members::Members;
use relay::End;
use startup::{First, Startup};

/// PostgreSQL's default `authentication_timeout`.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a login takes while [`Fault::SlowLogin`] is on.
const SLOW_LOGIN: Duration = Duration::from_secs(2);

/// A gate's settings.
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
    /// The limit on logins a second, if any.
    pub throttle: Option<Throttle>,
    /// Whether tokens of the short form are refused, see [`Expected::strict`].
    pub strict: bool,
    /// The network's latency in each direction.
    pub latency: Duration,
    /// Whether to behave as RDS Proxy does: no start-up options, no cancel, and statements that
    /// would pin a session are counted.
    pub proxy: bool,
    /// Where the gate logs its decisions.
    pub log: Log,
}

/// A running gate. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// What a gate's connections share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    members: Members,
    faults: Faults,
    pinned: AtomicUsize,
    refusing: watch::Sender<bool>,
}

impl Gate {
    /// Serves a bound listener.
    pub fn start(listener: TcpListener, settings: Settings, fault: Fault) -> Self {
        let members = Members::new(settings.postgres.clone());
        let faults = Faults::new(fault);
        let shared = Arc::new(Shared {
            settings,
            members,
            faults,
            pinned: AtomicUsize::new(0),
            refusing: watch::Sender::new(false),
        });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Self { shared, task }
    }

    /// The gate's log.
    pub fn log(&self) -> &Log {
        &self.shared.settings.log
    }

    /// Injects a fault of the network, which replaces the one before, into open and new connections.
    /// [`crate::Server::inject`] also injects faults of the server.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.faults.set(fault, false);
    }

    /// Like [`Gate::set_fault`], but only the first connection that meets the fault has it.
    pub fn set_fault_once(&self, fault: Fault) {
        self.shared.faults.set(fault, true);
    }

    /// Fails if this machine cannot do what the fault asks.
    pub(crate) fn check(fault: Fault) -> io::Result<()> {
        match fault {
            Fault::Drop => silence::check(),
            _ => Ok(()),
        }
    }

    /// Returns when the port is open or closed, as the fault asks.
    pub(crate) async fn settled(&self) {
        let Shared { faults, refusing, .. } = &*self.shared;
        let settled = |refusing: &bool| *refusing == faults.hits(Fault::Refuse);
        let _ = refusing.subscribe().wait_for(settled).await;
    }

    /// The number of statements that would have pinned a session of RDS Proxy.
    pub fn pinned(&self) -> usize {
        self.shared.pinned.load(Ordering::Relaxed)
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(mut listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut faults = shared.faults.watch();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(Connection { peer, shared: shared.clone() }.serve(stream));
                }
                // Out of file descriptors, say: give connections time to end.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            () = faults.refuses(true) => {
                listener = refuse(listener, &mut faults, &shared.refusing).await;
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Closes the listener until connections are welcome again. A socket that is bound and does not
/// listen keeps the port meanwhile, and the kernel refuses connections to it.
async fn refuse(
    listener: TcpListener,
    faults: &mut faults::Watch,
    refusing: &watch::Sender<bool>,
) -> TcpListener {
    let address = listener.local_addr();
    drop(listener);
    // A process that is just being started has a copy of the listener until it runs its program.
    let kept = until_it_works(|| {
        let address = address.as_ref().map_err(|error| io::Error::from(error.kind()))?;
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(*address)?;
        Ok(socket)
    });
    let mut kept = Some(kept.await);
    refusing.send_replace(true);
    faults.refuses(false).await;
    let listener = until_it_works(|| match kept.take() {
        Some(socket) => socket.listen(1024),
        None => {
            std::net::TcpListener::bind(address.as_ref().map_err(|e| io::Error::from(e.kind()))?)
                .and_then(|listener| {
                    listener.set_nonblocking(true)?;
                    TcpListener::from_std(listener)
                })
        }
    });
    let listener = listener.await;
    refusing.send_replace(false);
    listener
}

async fn until_it_works<T>(mut attempt: impl FnMut() -> io::Result<T>) -> T {
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn within_login_timeout<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LOGIN_TIMEOUT, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

struct Connection {
    peer: SocketAddr,
    shared: Arc<Shared>,
}

impl Connection {
    async fn serve(self, stream: TcpStream) {
        let shared = self.shared.clone();
        let settings = &shared.settings;
        let log = |text: &str| settings.log.line(text, settings.clock.now());
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let watch = shared.faults.watch();
        let (link, near) = Link::new(stream, settings.latency, watch.clone());
        let Ok(socket) = link.socket() else { return };
        let mut carry = std::pin::pin!(link.carry());
        let ended = tokio::select! {
            () = watch.clone().reset() => Err(faults::Reset.into()),
            () = drop_on_demand(watch, &socket, &log) => return,
            result = self.run(near) => result,
            // The client is gone.
            () = &mut carry => return,
        };
        match ended {
            Err(error) if faults::is_reset(&error) => {
                log(&error.to_string());
                // Makes the coming close a reset.
                let _ = socket.set_linger(Some(Duration::ZERO));
                return;
            }
            // A client that closes its connection is not worth a line, a malformed message is.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                log(&format!("connection dropped: {error}"));
            }
            _ => {}
        }
        carry.await;
    }

    async fn run(self, near: link::Stream) -> io::Result<()> {
        let mut stream = BufReader::new(near);
        if !within_login_timeout(self.negotiate_tls(&mut stream)).await? {
            return Ok(());
        }
        let acceptor = TlsAcceptor::from(self.shared.settings.tls.clone());
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
                if accepted { self.open_session(stream, &startup).await } else { Ok(()) }
            }
            First::Ssl | First::GssEnc => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Returns whether TLS starts now. If not, the client has its answer already.
    async fn negotiate_tls(&self, stream: &mut BufReader<link::Stream>) -> io::Result<bool> {
        // PostgreSQL 17's direct TLS begins with a TLS record instead of a length.
        if stream.fill_buf().await?.first() == Some(&0x16) {
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

    async fn refuse_without_tls<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
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
        let Shared { settings, members, faults, .. } = &*self.shared;
        if faults.hits(Fault::ResetBeforeLogin) {
            return Err(faults::Reset.into());
        }
        if settings.proxy && startup.options {
            self.record(startup, Err("start-up options, behind RDS Proxy".into()), tls);
            let message =
                "Feature not supported: RDS Proxy currently doesn't support command-line options.";
            startup::refuse(stream, "0A000", message).await?;
            return Ok(false);
        }
        let password = startup::ask_password(stream).await?;
        if faults.hits(Fault::SlowLogin) {
            sleep(SLOW_LOGIN).await;
        }
        let user = &startup.user;
        let Ok(member) = members.contains(user).await else {
            self.refuse_while_down(stream).await?;
            return Ok(false);
        };
        if !member {
            let reason =
                "rds_iam is not granted to this user: PostgreSQL takes the token for a password";
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
        let Shared { settings, faults, .. } = &*self.shared;
        let throttle = settings.throttle.as_ref();
        let throttled = throttle.is_some_and(|throttle| !throttle.admit(token));
        if throttled || faults.hits(Fault::Throttle) {
            return Err("throttled: too many logins a second".into());
        }
        let expected = Expected {
            host: &settings.host,
            port: settings.port,
            region: &settings.region,
            user,
            strict: settings.strict,
            source_ip: Some(self.peer.ip()),
        };
        let identity = verify(token, expected, &settings.iam, settings.clock.now())?;
        if let Some(throttle) = throttle {
            throttle.logged_in(token);
        }
        Ok(identity.arn)
    }

    fn record(&self, startup: &Startup, outcome: Result<String, String>, tls: Option<String>) {
        let record = Record { user: startup.user.clone(), outcome, tls };
        let settings = &self.shared.settings;
        settings.log.login(record, settings.clock.now());
    }

    fn log(&self, text: &str) {
        let settings = &self.shared.settings;
        settings.log.line(text, settings.clock.now());
    }

    async fn upstream(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.shared.settings.postgres.join(SOCKET)).await
    }

    /// Refuses a login with PostgreSQL's own message while it starts.
    async fn refuse_while_down<S: AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        self.log("login refused: PostgreSQL is stopped or starting");
        startup::refuse(stream, "57P03", "the database system is starting up").await
    }

    async fn cancel(&self, packet: &[u8]) -> io::Result<()> {
        self.log("cancel request");
        let mut upstream = self.upstream().await?;
        upstream.write_all(packet).await?;
        // PostgreSQL closes the connection when it has handled the request.
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut upstream, &mut rest).await?;
        Ok(())
    }

    /// Has PostgreSQL answer the start-up packet: it trusts the gate on its private socket.
    async fn open_session<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut stream: S,
        startup: &Startup,
    ) -> io::Result<()> {
        let Ok(mut upstream) = self.upstream().await else {
            return self.refuse_while_down(&mut stream).await;
        };
        upstream.write_all(&startup.packet).await?;
        let Shared { settings, faults, pinned, .. } = &*self.shared;
        if !relay::start_session(&mut stream, &mut upstream, !settings.proxy).await? {
            return Ok(());
        }
        let pins = |why: &'static str| {
            if settings.proxy {
                pinned.fetch_add(1, Ordering::Relaxed);
                self.log(&format!("session pinned: {why}"));
            }
        };
        let end = relay::relay(stream, upstream, faults, pins).await?;
        self.log(match end {
            End::Terminated => "session ended: Terminate",
            End::Closed => "session ended: connection closed without Terminate",
        });
        Ok(())
    }
}

/// Waits for the fault that silences open connections, then silences this one for good.
async fn drop_on_demand(watch: faults::Watch, socket: &socket2::Socket, log: &impl Fn(&str)) {
    watch.dropped().await;
    match silence::silence(socket) {
        Ok(()) => log("connection silenced: fault injection"),
        Err(error) => log(&format!("connection ignored, but not silenced: {error}")),
    }
    // Closing it would tell the client.
    std::future::pending().await
}
