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
mod serve;
mod settings;
mod silence;
mod sql;
mod throttle;
mod token;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

pub use faults::Fault;
pub use log::{Log, Record};
pub(crate) use mysql::{native_hash, script_for_mariadb};
pub(crate) use settings::Secret;
pub use settings::{Settings, Upstream};
pub use throttle::Throttle;
pub use token::{Expected, verify};

use connection::Connection;
use faults::Faults;
use serve::{Protocol, serve};
use settings::Shared;

/// A running gate. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Gate {
    /// Serves a bound listener.
    pub fn start(listener: TcpListener, settings: Settings, fault: Fault) -> Self {
        let protocol = Arc::new(Protocol::of(&settings.upstream));
        let shared = Arc::new(Shared {
            settings,
            faults: Faults::new(fault),
            pinned: AtomicUsize::new(0),
            refusing: watch::Sender::new(false),
        });
        let task = tokio::spawn(accept(listener, protocol, shared.clone()));
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

async fn accept(mut listener: TcpListener, protocol: Arc<Protocol>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut faults = shared.faults.watch();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let connection = Connection::new(peer, shared.clone());
                    connections.spawn(serve(connection, protocol.clone(), stream));
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
