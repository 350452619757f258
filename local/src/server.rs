//! Database, gate and STS together, with the files that clients read to reach them.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::apis::{Apis, Instance};
use crate::certificates::Certificates;
use crate::database::{Database, Engine, Loaded};
use crate::environment::{self, Variables};
use crate::gate::{Fault, Gate, Log, Settings, Throttle};
use crate::iam::{self, Iam, Identity};
use crate::options::Options;
use crate::s3::{self, S3};
use crate::{DATABASE, READ_ONLY_USER, READ_WRITE_USER, REGION, Result};

/// How long the gate's port may take to open or close.
const PORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The variables that lead SDKs to the APIs.
const APIS: [&str; 3] = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL_IAM", "AWS_ENDPOINT_URL_RDS"];

/// Database, gate and STS, running. [`Server::stop`] waits until all have stopped; dropping the
/// server stops them too, a moment later.
#[derive(Debug)]
pub struct Server {
    /// The gate, with its log and its faults.
    pub gate: Gate,
    /// Who may do what.
    pub iam: Arc<Iam>,
    /// The real database behind the gate.
    pub database: Database,
    /// The S3, with [`Options::s3`].
    pub s3: Option<S3>,
    /// Where clients connect.
    pub address: SocketAddr,
    /// What [`Options::init`] left to be known.
    pub loaded: Loaded,
    variables: Variables,
    dir: PathBuf,
    _apis: Apis,
    _lock: File,
}

impl Server {
    /// Starts everything.
    ///
    /// # Errors
    ///
    /// If a part cannot start; the parts that had started are stopped again.
    pub async fn start(options: Options) -> Result<Self> {
        if let Some(script) = &options.init
            && !script.is_file()
        {
            return Err(format!("cannot find the script {}", script.display()));
        }
        if options.proxy && options.engine == Engine::Mysql {
            return Err("RDS Proxy is imitated for PostgreSQL only: leave out --proxy".into());
        }
        if options.iam_auth_for_replication && options.engine == Engine::Mysql {
            return Err(
                "--iam-auth-for-replication is a parameter of PostgreSQL: leave it out".into()
            );
        }
        // Before anything starts: what is wrong with a policy is said at once.
        let (iam, developer) = directory(&options)?;
        fs::create_dir_all(&options.dir)
            .map_err(|error| format!("cannot create {}: {error}", options.dir.display()))?;
        let dir = fs::canonicalize(&options.dir)
            .map_err(|error| format!("cannot use {}: {error}", options.dir.display()))?;
        let lock = lock(&dir)?;

        let gate_listener = bind(options.listen, options.port).await?;
        let apis_listener = bind(options.listen, 0).await?;
        let address = gate_listener.local_addr().map_err(|error| error.to_string())?;

        let s3 = if options.s3 { Some(S3::start(&dir).await?) } else { None };
        let database =
            Database::start(options.engine, options.postgres_bin.as_deref(), &dir).await?;
        let parts = [gate_listener, apis_listener];
        let storage = s3.as_ref();
        let parts = serve(&options, &dir, &database, storage, (&iam, &developer), parts).await;
        match parts {
            Ok(Served { gate, apis: _apis, variables, loaded }) => {
                let _lock = lock;
                let mut server =
                    Self { gate, iam, database, s3, address, loaded, variables, dir, _apis, _lock };
                if options.fault != Fault::None {
                    server.inject(options.fault).await?;
                }
                Ok(server)
            }
            Err(error) => {
                remove_files(&dir);
                let _ = database.stop().await;
                Err(error)
            }
        }
    }

    /// The variables of the environment file, by name.
    pub fn variables(&self) -> BTreeMap<String, String> {
        self.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Waits until the database or S3 exits on its own, and returns which one.
    pub async fn ended(&mut self) -> String {
        let s3 = async {
            match &mut self.s3 {
                Some(s3) => s3.ended().await,
                None => std::future::pending().await,
            }
        };
        let (name, log) = tokio::select! {
            () = self.database.ended() => {
                let name = self.database.name();
                (name, name.to_lowercase())
            }
            () = s3 => ("SeaweedFS", "s3".into()),
        };
        format!("{name} stopped unexpectedly; see {log}.log")
    }

    /// Injects a fault, which replaces the one before.
    ///
    /// # Errors
    ///
    /// If this machine cannot inject the fault, or the database does not follow.
    pub async fn inject(&mut self, fault: Fault) -> Result<()> {
        Gate::check(fault).map_err(|error| {
            format!("this machine cannot silence connections, which the fault needs: {error}")
        })?;
        self.database.check(fault)?;
        // The network's first: what the server's faults do to connections then shows.
        self.gate.set_fault(fault);
        tokio::time::timeout(PORT_TIMEOUT, self.gate.settled())
            .await
            .map_err(|_| "the gate could not open or close its port".to_owned())?;
        self.database.inject(fault).await
    }

    /// Stops everything, and removes the files with the keys.
    pub async fn stop(self) -> Result<()> {
        remove_files(&self.dir);
        drop(self.gate);
        let s3 = match self.s3 {
            Some(s3) => s3.stop().await,
            None => Ok(()),
        };
        self.database.stop().await.and(s3)
    }
}

struct Served {
    gate: Gate,
    apis: Apis,
    variables: Variables,
    loaded: Loaded,
}

/// Starts the gate and STS in front of a new database, and writes the files for clients.
async fn serve(
    options: &Options,
    dir: &Path,
    database: &Database,
    s3: Option<&S3>,
    (iam, developer): (&Arc<Iam>, &Identity),
    [gate_listener, apis_listener]: [TcpListener; 2],
) -> Result<Served> {
    let address = gate_listener.local_addr().map_err(|error| error.to_string())?;
    let loaded = database.prepare(options.init.as_deref(), &options.schemas, &options.user).await?;
    let now = options.clock.now();
    let certificates =
        Certificates::issue(&[options.host(), "localhost", "host.docker.internal"], now)?;
    let log = Log::create(&dir.join("sts.log"), options.echo_log)?;
    let instance = Instance {
        host: options.host().into(),
        port: address.port(),
        engine: options.engine.name(),
        account: options.account.clone(),
        resource_id: options.resource_id.clone(),
    };
    // A proxy is no instance.
    let instance = (!options.proxy).then_some(instance);
    let apis = Apis::start(apis_listener, iam.clone(), options.clock.clone(), log, instance)?;

    let root = dir.join("ca.pem");
    fs::write(&root, &certificates.root_pem)
        .map_err(|error| format!("cannot write {}: {error}", root.display()))?;
    let mut variables = variables(options, developer, iam, address, apis.address, &root);
    if let Some(s3) = s3 {
        variables.push(("AWS_ENDPOINT_URL_S3", s3.endpoint.clone()));
        variables.push(("EXPORT_PREFIX", format!("s3://{}/", s3::BUCKET)));
    }
    if options.engine == Engine::Mysql {
        environment::write_private(&dir.join("my.cnf"), mysql_client_options(options, &root))?;
    }
    environment::write_private(&dir.join("credentials"), iam.credentials_file())?;
    environment::write_private(&dir.join("web-identity-token"), &iam.web_identity_token)?;
    environment::write_sam_json(
        &dir.join("env.json"),
        &container_variables(&variables, address, apis.address, certificates.root_pem),
    )?;
    let settings = Settings {
        host: options.host().into(),
        port: address.port(),
        region: REGION.into(),
        iam: iam.clone(),
        tls: certificates.server,
        upstream: database.upstream(),
        clock: options.clock.clone(),
        throttle: options.throttle.map(|(rate, burst)| Throttle::new(rate, burst)),
        latency: options.latency,
        proxy: options.proxy,
        strict: options.strict,
        iam_auth_for_replication: options.iam_auth_for_replication,
        log: Log::create(&dir.join("gate.log"), options.echo_log)?,
    };
    let gate = Gate::start(gate_listener, settings, Fault::None);
    // Last of all: a client that finds this file can connect.
    environment::write_dotenv(&dir.join("env"), &variables, dir)?;
    Ok(Served { gate, apis, variables, loaded })
}

pub(crate) fn remove_files(dir: &Path) {
    for name in ["env", "env.json", "ca.pem", "my.cnf", "credentials", "web-identity-token"] {
        let _ = fs::remove_file(dir.join(name));
    }
}

/// Only one server may use a folder. The kernel releases the lock when the process ends.
pub(crate) fn lock(dir: &Path) -> Result<File> {
    let path = dir.join("lock");
    let failed = |error| format!("cannot use {}: {error}", path.display());
    let file =
        File::options().create(true).write(true).truncate(false).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!(
            "another rds-local is serving {}: use it, stop it, or choose another folder with --dir",
            dir.display()
        )),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

pub(crate) async fn bind(address: IpAddr, port: u16) -> Result<TcpListener> {
    TcpListener::bind((address, port)).await.map_err(|error| {
        format!("cannot listen on {address} port {port}: {error}; choose another with --port, or 0 for a free one")
    })
}

/// Who may do what, and whose keys the environment file holds: a session of the default user, as
/// temporary credentials are what Lambda has.
fn directory(options: &Options) -> Result<(Arc<Iam>, Identity)> {
    iam::check_account(&options.account)?;
    let mut iam = Iam::for_database(&options.account, &options.resource_id, READ_ONLY_USER);
    iam.load(&options.policies)?;
    let users = [READ_ONLY_USER, READ_WRITE_USER, &options.user];
    let developer = iam.default_user(&users, options.clock.now());
    for path in &options.user_keys {
        iam.load_keys(path)?;
    }
    Ok((Arc::new(iam), developer))
}

fn variables(
    options: &Options,
    developer: &Identity,
    iam: &Iam,
    gate: SocketAddr,
    apis: SocketAddr,
    root: &Path,
) -> Variables {
    let reachable = if gate.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { gate.ip() };
    let mut variables = match options.engine {
        Engine::Postgres => postgres_variables(options, reachable, gate.port(), root),
        Engine::Mysql => mysql_variables(options, reachable, gate.port(), root),
    };
    let queries = match options.engine {
        Engine::Postgres => "queries",
        Engine::Mysql => "queries/mysql",
    };
    variables.extend([
        ("AWS_REGION", REGION.into()),
        // The AWS CLI and boto3 read this one only.
        ("AWS_DEFAULT_REGION", REGION.into()),
        ("AWS_ACCESS_KEY_ID", developer.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", developer.secret_access_key.clone()),
        ("AWS_SESSION_TOKEN", developer.session_token.clone().unwrap_or_default()),
        ("DB_ROLE_ARN_EXAMPLE", iam.example_role_arn()),
        ("DB_ROLE_EXTERNAL_ID_EXAMPLE", iam.example_external_id.clone()),
    ]);
    let url = format!("http://{}", SocketAddr::new(reachable, apis.port()));
    variables.extend(APIS.map(|name| (name, url.clone())));
    // Where cargo puts a binary, no queries lie beside it.
    if let Ok(queries) = fs::canonicalize(queries) {
        variables.push(("QUERIES_DIR", queries.display().to_string()));
    }
    if options.init.is_none() {
        variables.push(("QUERY", "customers".into()));
    }
    variables
}

fn postgres_variables(options: &Options, address: IpAddr, port: u16, root: &Path) -> Variables {
    vec![
        ("PGHOST", options.host().into()),
        ("PGHOSTADDR", address.to_string()),
        ("PGPORT", port.to_string()),
        ("PGUSER", options.user.clone()),
        ("PGDATABASE", DATABASE.into()),
        ("PGSSLMODE", "verify-full".into()),
        ("PGSSLROOTCERT", root.display().to_string()),
    ]
}

fn mysql_variables(options: &Options, address: IpAddr, port: u16, root: &Path) -> Variables {
    let folder = root.parent().unwrap_or(root);
    vec![
        ("MYSQL_HOST", options.host().into()),
        ("MYSQL_HOSTADDR", address.to_string()),
        ("MYSQL_TCP_PORT", port.to_string()),
        ("MYSQL_USER", options.user.clone()),
        ("MYSQL_DATABASE", DATABASE.into()),
        ("MYSQL_SSL_CA", root.display().to_string()),
        // Where mysql finds my.cnf.
        ("MYSQL_HOME", folder.display().to_string()),
    ]
}

/// What the `mysql` client cannot take from variables. The certificate names localhost too.
fn mysql_client_options(options: &Options, root: &Path) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""));
    let (user, root) = (quoted(&options.user), quoted(&root.display().to_string()));
    format!(
        "[client]\nhost=localhost\nprotocol=tcp\nuser={user}\nssl-ca={root}\n\
         loose-ssl-verify-server-cert\n\n[mysql]\ndatabase={DATABASE}\n"
    )
}

/// The same for a container: it sees no file of the host, and the host under another name.
fn container_variables(
    variables: &Variables,
    gate: SocketAddr,
    apis: SocketAddr,
    root_pem: String,
) -> Variables {
    let host = |port: u16| format!("host.docker.internal:{port}");
    let mut container: Variables = variables
        .iter()
        .map(|(name, value)| match *name {
            "PGHOSTADDR" | "MYSQL_HOSTADDR" => ("DB_TUNNEL", host(gate.port())),
            "PGSSLROOTCERT" | "MYSQL_SSL_CA" => (*name, root_pem.clone()),
            name if APIS.contains(&name) => (name, format!("http://{}", host(apis.port()))),
            // Sourced from `env`, these would reach the container; its queries lie beside the binary.
            "QUERIES_DIR" | "MYSQL_HOME" => (*name, String::new()),
            name => (name, value.clone()),
        })
        .collect();
    // So would the address that DB_TUNNEL took the place of.
    let address = variables.iter().find(|(name, _)| name.ends_with("HOSTADDR"));
    container.extend(address.map(|(name, _)| (*name, String::new())));
    container
}
