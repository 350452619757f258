//! A look-alike of a Neptune cluster: HTTPS on the cluster's name, where Signature Version 4 and IAM
//! policies are checked as Neptune does, in front of real graph engines.
//!
//! The port is its own proxy: a client that sends `CONNECT` for the cluster's name (`HTTPS_PROXY`) then
//! speaks TLS with the gate under that name, with nothing in the machine's name resolution changed.

mod claims;
mod columns;
mod cypher;
mod effects;
mod engines;
mod form;
mod handler;
mod identity;
mod lexer;
mod queries;
mod refusal;
mod running;
mod shared;
mod signature;
mod summary;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::apis::Apis;
use crate::certificates::Certificates;
use crate::drain;
use crate::environment::{self, Variables};
use crate::gate::{Fault, Log};
use crate::http::{self, HEADER_TIMEOUT};
use crate::iam::{self, Iam, Identity};
use crate::server::{bind, lock, remove_files};
use crate::{NEPTUNE_HOST, Options, REGION, Result};
use engines::{Client, Engines};
use running::Running;
use shared::Shared;

/// Neptune's port, which clients sign for whatever port the gate has.
const PORT: u16 = 8182;

/// A running cluster: engines, gate and STS. [`Cluster::stop`] waits until all have stopped; dropping the
/// cluster stops them too, a moment later.
#[derive(Debug)]
pub struct Cluster {
    /// Where the gate listens.
    pub address: SocketAddr,
    /// Who may do what.
    pub iam: Arc<Iam>,
    engines: Engines,
    variables: Variables,
    dir: PathBuf,
    gate: JoinHandle<()>,
    _apis: Apis,
    _lock: File,
}

impl Cluster {
    /// Starts everything. Of the options, those that are about PostgreSQL must have their defaults.
    ///
    /// # Errors
    ///
    /// If a part cannot start; the parts that had started are stopped again.
    pub async fn start(options: Options) -> Result<Self> {
        check(&options)?;
        // Before anything starts: what is wrong with a policy is said at once.
        iam::check_account(&options.account)?;
        let mut iam = Iam::for_cluster(&options.account, &options.resource_id);
        iam.load(&options.policies)?;
        let developer = iam.default_cluster_user(options.clock.now());
        for path in &options.user_keys {
            iam.load_keys(path)?;
        }
        fs::create_dir_all(&options.dir)
            .map_err(|error| format!("cannot create {}: {error}", options.dir.display()))?;
        let dir = fs::canonicalize(&options.dir)
            .map_err(|error| format!("cannot use {}: {error}", options.dir.display()))?;
        let lock = lock(&dir)?;
        let listeners = [bind(options.listen, options.port).await?, bind(options.listen, 0).await?];
        let engines = Engines::start(&dir).await?;
        let iam = Arc::new(iam);
        let client = engines.client.clone();
        match serve(&options, &dir, client, (iam.clone(), &developer), listeners) {
            Ok((address, gate, apis, variables)) => {
                Ok(Self { address, iam, engines, variables, dir, gate, _apis: apis, _lock: lock })
            }
            Err(error) => {
                remove_files(&dir);
                let _ = engines.stop().await;
                Err(error)
            }
        }
    }

    /// The variables of the environment file, by name.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Returns the name of an engine that has ended.
    pub async fn ended(&mut self) -> &'static str {
        self.engines.ended().await
    }

    /// Kills the openCypher engine, for tests: the gate then answers as a cluster whose engine fails.
    pub async fn kill_engine(&mut self) {
        self.engines.kill().await;
    }

    /// Runs a statement on the openCypher engine itself, for tests that compare.
    ///
    /// # Errors
    ///
    /// If the engine does not answer.
    pub async fn ask_engine(&self, statement: &str, parameters: &str) -> Result<String> {
        let parameters: Box<serde_json::value::RawValue> =
            serde_json::from_str(parameters).map_err(|error| error.to_string())?;
        let body = serde_json::json!({
            "language": "opencypher", "command": statement, "params": parameters, "limit": -1
        });
        let answer = self.engines.client.cypher(false, body.to_string()).await;
        let answer = answer.ok_or("the engine does not answer")?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Stops everything, and removes the files with the keys.
    ///
    /// # Errors
    ///
    /// If an engine does not stop.
    pub async fn stop(self) -> Result<()> {
        remove_files(&self.dir);
        self.gate.abort();
        self.engines.stop().await
    }
}

/// Refuses options that are about PostgreSQL.
fn check(options: &Options) -> Result<()> {
    let defaults = Options::new("");
    let set = [
        ("--init", options.init.is_some()),
        ("--user", options.user != defaults.user),
        ("--throttle", options.throttle.is_some()),
        ("--latency", !options.latency.is_zero()),
        ("--proxy", options.proxy),
        ("--strict", options.strict),
        ("--iam-auth-for-replication", options.iam_auth_for_replication),
        ("--fault", options.fault != Fault::None),
    ];
    match set.into_iter().find(|(_, set)| *set) {
        Some((name, _)) => Err(format!("{name} does not work with --engine neptune")),
        None => Ok(()),
    }
}

/// Starts gate and STS, and writes the files for clients.
fn serve(
    options: &Options,
    dir: &Path,
    engines: Client,
    (iam, developer): (Arc<Iam>, &Identity),
    [gate_listener, apis_listener]: [TcpListener; 2],
) -> Result<(SocketAddr, JoinHandle<()>, Apis, Variables)> {
    let address = gate_listener.local_addr().map_err(|error| error.to_string())?;
    let now = options.clock.now();
    let certificates =
        Certificates::issue(&[NEPTUNE_HOST, "localhost", "host.docker.internal"], now)?;
    let mut tls = rustls::ServerConfig::clone(&certificates.server);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let log = Log::create(&dir.join("sts.log"), options.echo_log)?;
    let apis = Apis::start(apis_listener, iam.clone(), options.clock.clone(), log, None)?;
    let root = dir.join("ca.pem");
    fs::write(&root, &certificates.root_pem)
        .map_err(|error| format!("cannot write {}: {error}", root.display()))?;
    let variables = variables(developer, &iam, address, apis.address, &root);
    environment::write_private(&dir.join("credentials"), iam.credentials_file())?;
    let container = container_variables(&variables, address, apis.address, certificates.root_pem);
    environment::write_sam_json(&dir.join("env.json"), &container)?;
    let shared = Arc::new(Shared {
        endpoint: format!("{NEPTUNE_HOST}:{PORT}"),
        account: options.account.clone(),
        resource: iam.cluster_arn(),
        started: handler::start_time(now),
        engines,
        iam,
        running: Running::default(),
        clock: options.clock.clone(),
        log: Log::create(&dir.join("gate.log"), options.echo_log)?,
    });
    let gate = tokio::spawn(accept(gate_listener, TlsAcceptor::from(Arc::new(tls)), shared));
    // Last of all: a client that finds this file can connect.
    environment::write_dotenv(&dir.join("env"), &variables, dir)?;
    Ok((address, gate, apis, variables))
}

fn variables(
    developer: &Identity,
    iam: &Iam,
    gate: SocketAddr,
    apis: SocketAddr,
    root: &Path,
) -> Variables {
    let reachable = if gate.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { gate.ip() };
    let gate = SocketAddr::new(reachable, gate.port());
    let root = root.display().to_string();
    let mut variables: Variables = vec![
        ("NEPTUNE_HOST", NEPTUNE_HOST.into()),
        ("NEPTUNE_PORT", PORT.to_string()),
        ("DB_TUNNEL", gate.to_string()),
        ("NEPTUNE_SSLROOTCERT", root.clone()),
        // For other people's clients: the way there, the root, and the endpoint.
        ("HTTPS_PROXY", format!("http://{gate}")),
        ("AWS_CA_BUNDLE", root.clone()),
        ("REQUESTS_CA_BUNDLE", root.clone()),
        ("CURL_CA_BUNDLE", root),
        ("AWS_ENDPOINT_URL_NEPTUNEDATA", format!("https://{NEPTUNE_HOST}:{PORT}")),
        ("AWS_REGION", REGION.into()),
        // The AWS CLI and boto3 read this one only.
        ("AWS_DEFAULT_REGION", REGION.into()),
        ("AWS_ACCESS_KEY_ID", developer.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", developer.secret_access_key.clone()),
        ("AWS_SESSION_TOKEN", developer.session_token.clone().unwrap_or_default()),
        ("AWS_ENDPOINT_URL_STS", format!("http://{}", SocketAddr::new(reachable, apis.port()))),
        ("DB_ROLE_ARN_EXAMPLE", iam.example_role_arn()),
    ];
    // Where cargo puts a binary, no queries lie beside it.
    if let Ok(queries) = fs::canonicalize("queries/neptune") {
        variables.push(("QUERIES_DIR", queries.display().to_string()));
    }
    variables
}

/// The same for a container: it sees no file of the host, and the host under another name.
fn container_variables(
    variables: &Variables,
    gate: SocketAddr,
    apis: SocketAddr,
    root_pem: String,
) -> Variables {
    let host = |port: u16| format!("host.docker.internal:{port}");
    variables
        .iter()
        .map(|(name, value)| match *name {
            "DB_TUNNEL" => (*name, host(gate.port())),
            "NEPTUNE_SSLROOTCERT" => (*name, root_pem.clone()),
            "AWS_ENDPOINT_URL_STS" => (*name, format!("http://{}", host(apis.port()))),
            // Sourced from `env`, these would reach the container.
            "QUERIES_DIR" | "HTTPS_PROXY" | "AWS_CA_BUNDLE" | "REQUESTS_CA_BUNDLE"
            | "CURL_CA_BUNDLE" => (*name, String::new()),
            _ => (*name, value.clone()),
        })
        .collect()
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (tls, shared) = (tls.clone(), shared.clone());
                    connections.spawn(async move {
                        if let Err(error) = connection(stream, peer, tls, &shared).await {
                            shared.log(&format!("connection of {peer} ended: {error}"));
                        }
                    });
                }
                // Out of file descriptors, say: give connections time to end.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    // Small packets leave at once, as from the other gates.
    stream.set_nodelay(true)?;
    let handshake = async {
        let mut first = [0];
        // A TLS record begins with 0x16, and a request for a proxy with a letter.
        if stream.peek(&mut first).await? == 1 && first[0] != 0x16 {
            proxy(&mut stream, &shared.endpoint).await?;
        }
        tls.accept(stream).await
    };
    let stream = timeout(HEADER_TIMEOUT, handshake)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no TLS handshake")))?;
    http::serve(stream, |request| handler::answer(shared.clone(), peer, request)).await
}

/// Answers `CONNECT host:port`, which must be the cluster's own.
async fn proxy(stream: &mut TcpStream, endpoint: &str) -> io::Result<()> {
    const LONGEST: usize = 8 * 1024;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST {
            refuse(stream, "431 Request Header Fields Too Large", "the head is too long\n").await?;
            return Err(io::Error::other("a request for a proxy is too long"));
        }
        head.push(stream.read_u8().await?);
    }
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let target = line.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    if target.is_some_and(|target| target.eq_ignore_ascii_case(endpoint)) {
        return stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    }
    let text = format!("rds-local: only {endpoint} is reachable here, by HTTPS\n");
    refuse(stream, "403 Forbidden", &text).await?;
    Err(io::Error::other("neither TLS nor CONNECT to the cluster's name"))
}

/// Answers a request that is not the gate's, and takes the rest of it.
async fn refuse(stream: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let length = text.len();
    let answer =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}");
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    drain::linger(stream).await;
    Ok(())
}
