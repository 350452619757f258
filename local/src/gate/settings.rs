//! The settings of a gate, and the state that its connections share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::watch;

use super::faults::Faults;
use super::log::Log;
use super::throttle::Throttle;
use crate::iam::Iam;

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
    /// Whether tokens of the short form are refused, see [`super::Expected::strict`].
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

/// The state that a gate's connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) faults: Faults,
    /// The number of statements that would have pinned a session of RDS Proxy.
    pub(super) pinned: AtomicUsize,
    /// Whether the port is closed to new connections.
    pub(super) refusing: watch::Sender<bool>,
}
