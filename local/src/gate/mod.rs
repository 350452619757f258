//! The IAM gate: TLS, the token check, and a relay to the database.
//!
//! It answers as RDS does: it asks for the token as a clear-text password, and refuses every wrong one
//! with the same message. One check of tokens serves both engines; `postgres` and `mysql` are the
//! handshakes and relays of their protocols.

mod connection;
mod faults;
mod link;
mod log;
mod mysql;
mod postgres;
mod silence;
mod sql;
mod throttle;
mod token;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

pub use faults::Fault;
pub use log::{Log, Record};
pub(crate) use mysql::{native_hash, script_for_mariadb};
pub use throttle::Throttle;
pub use token::{Expected, verify};

use crate::iam::Iam;
use connection::Connection;
use faults::Faults;

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
    /// The database behind the gate.
    pub upstream: Upstream,
    /// The wall clock.
    pub clock: SharedTimeSource,
    /// The limit on logins a second, if any.
    pub throttle: Option<Throttle>,
    /// Whether tokens of the short form are refused, see [`Expected::strict`].
    pub strict: bool,
    /// Whether a token opens connections for replication: RDS's `rds.iam_auth_for_replication`.
    pub iam_auth_for_replication: bool,
    /// The network's latency in each direction.
    pub latency: Duration,
    /// Whether to behave as RDS Proxy does: no start-up options, no cancel, and statements that
    /// would pin a session are counted.
    pub proxy: bool,
    /// Where the gate logs its decisions.
    pub log: Log,
}

/// How the gate reaches a database, over its private socket.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// PostgreSQL, which trusts the gate: the socket's folder.
    Postgres(PathBuf),
    /// MariaDB, and the secret that is the password of every user who logs in with a token.
    Mysql {
        /// The socket.
        socket: PathBuf,
        /// The secret, which no client learns.
        secret: Secret,
    },
}

/// A password that only the gate knows. Its `Debug` hides it.
#[derive(Clone)]
pub struct Secret(pub(crate) String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(_)")
    }
}

/// The protocol that the gate speaks.
#[derive(Debug)]
enum Engine {
    Postgres(postgres::Postgres),
    Mysql(mysql::Mysql),
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
    engine: Engine,
    faults: Faults,
    pinned: AtomicUsize,
    refusing: watch::Sender<bool>,
}

impl Gate {
    /// Serves a bound listener.
    pub fn start(listener: TcpListener, settings: Settings, fault: Fault) -> Self {
        let engine = match &settings.upstream {
            Upstream::Postgres(folder) => Engine::Postgres(postgres::Postgres::new(folder)),
            Upstream::Mysql { socket, secret } => Engine::Mysql(mysql::Mysql::new(socket, secret)),
        };
        let faults = Faults::new(fault);
        let shared = Arc::new(Shared {
            settings,
            engine,
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
                    connections.spawn(Connection::new(peer, shared.clone()).serve(stream));
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
