//! The choices that a server is started with.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;

use crate::database::Engine;
use crate::gate::Fault;
use crate::{ACCOUNT, HOST, PROXY_HOST, READ_ONLY_USER, RESOURCE_ID};

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of its files.
    pub dir: PathBuf,
    /// The gate's port; 0 takes a free one.
    pub port: u16,
    /// The address that gate and STS listen on.
    pub listen: IpAddr,
    /// The database, and the protocol that the gate speaks.
    pub engine: Engine,
    /// The folder of PostgreSQL's initdb and postgres; `None` takes the machine's own.
    pub postgres_bin: Option<PathBuf>,
    /// A script that creates a schema instead of the demo's table.
    pub init: Option<PathBuf>,
    /// The schemas whose tables `sql/roles.sql` grants, after the script.
    pub schemas: String,
    /// The database user in the environment file; created unless the script did so.
    pub user: String,
    /// The most logins a second, and the most at once after a pause.
    pub throttle: Option<(u32, u32)>,
    /// The network's latency in each direction.
    pub latency: Duration,
    /// Whether the endpoint is, and behaves as, an RDS Proxy.
    pub proxy: bool,
    /// Whether tokens of the short form, as older versions of Go's SDK write them, are refused.
    pub strict: bool,
    /// Whether a token opens PostgreSQL's connections for replication, as on RDS with the parameter
    /// `rds.iam_auth_for_replication`.
    pub iam_auth_for_replication: bool,
    /// Files of policies and principals, see docs/iam.md.
    pub policies: Vec<PathBuf>,
    /// Files of access keys for these principals.
    pub user_keys: Vec<PathBuf>,
    /// The account that the database belongs to.
    pub account: String,
    /// The database's resource id, as IAM policies name it.
    pub resource_id: String,
    /// A fault that is on from the start.
    pub fault: Fault,
    /// Whether an S3 starts too.
    pub s3: bool,
    /// Whether the gate's log goes to standard error too.
    pub echo_log: bool,
    /// The wall clock of gate and STS.
    pub clock: SharedTimeSource,
}

impl Options {
    /// The demo's data on free ports of the loopback interface.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            port: 0,
            listen: Ipv4Addr::LOCALHOST.into(),
            engine: Engine::default(),
            postgres_bin: None,
            init: None,
            schemas: "public".into(),
            user: READ_ONLY_USER.into(),
            throttle: None,
            latency: Duration::ZERO,
            proxy: false,
            strict: false,
            iam_auth_for_replication: false,
            policies: Vec::new(),
            user_keys: Vec::new(),
            account: ACCOUNT.into(),
            resource_id: RESOURCE_ID.into(),
            fault: Fault::None,
            s3: false,
            echo_log: false,
            clock: SharedTimeSource::default(),
        }
    }

    /// The endpoint's name.
    pub(crate) fn host(&self) -> &'static str {
        if self.proxy { PROXY_HOST } else { HOST }
    }
}
