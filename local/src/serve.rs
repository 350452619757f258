//! `rds-local serve`: its options, and its life from the ready line to the signal that ends it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use rds_local::database::Engine;
use rds_local::gate::Fault;
use rds_local::neptune::Cluster;
use rds_local::{Options, Result, Server, lifeline, ready};

#[derive(clap::Args)]
pub(crate) struct Serve {
    /// Folder for env, env.json, the root certificate, the cluster and the logs
    #[arg(long, default_value = "target/rds-local")]
    dir: PathBuf,
    /// Port of the gate; 0 takes a free one and writes it to DIR/env
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Address to listen on; 0.0.0.0 with --public for containers, as sam local invoke uses them
    #[arg(long, default_value = "127.0.0.1")]
    listen: IpAddr,
    /// Allow --listen with an address that other machines reach. Its keys are then known to everyone
    #[arg(long)]
    public: bool,
    /// Print the ready line as JSON, with the variables of DIR/env, for a program that starts this one;
    /// and end when that program ends, if it gave this one a pipe as standard input
    #[arg(long)]
    json: bool,
    /// What is behind the gate
    #[arg(long, value_enum, default_value_t = Served::Postgres)]
    engine: Served,
    /// SQL script (for psql, or for mysql) that creates your own schema instead of the demo's table
    #[arg(long, value_name = "FILE")]
    init: Option<PathBuf>,
    /// Schemas of the script whose tables sql/roles.sql grants, as on RDS: -v schemas=LIST
    #[arg(long, value_name = "LIST", default_value = "public", requires = "init")]
    schemas: String,
    /// Database user in DIR/env: iam_ro_user, iam_rw_user, or one of your own. rds-local creates your
    /// user unless the script does, and lets it log in with a token and read every table
    #[arg(long, default_value = rds_local::READ_ONLY_USER)]
    user: String,
    /// Refuse logins beyond this many a second, as RDS does
    #[arg(long, value_name = "N")]
    throttle: Option<u32>,
    /// Logins that --throttle accepts at once after a pause; by default one second's worth
    #[arg(long, value_name = "N", requires = "throttle")]
    burst: Option<u32>,
    /// Network latency in each direction, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// Behave as RDS Proxy: refuse start-up options, ignore cancel requests, log what pins a session
    #[arg(long)]
    proxy: bool,
    /// Refuse tokens of the short form host:port?…, as older versions of Go's SDK write them
    #[arg(long)]
    strict: bool,
    /// Accept tokens for PostgreSQL's replication connections, as RDS does with the parameter
    /// rds.iam_auth_for_replication
    #[arg(long)]
    iam_auth_for_replication: bool,
    /// IAM policy document of the default user; or a file of users, roles, their policies,
    /// boundaries and trust (docs/iam.md). May be given more than once
    #[arg(long, value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// Your own access keys for these users, in the format of ~/.aws/credentials, a profile for
    /// each user; [default] is the default user. May be given more than once
    #[arg(long, value_name = "FILE")]
    user_key_file: Vec<PathBuf>,
    /// Account of the database, as your policies name it
    #[arg(long, value_name = "NUMBER", default_value = rds_local::ACCOUNT)]
    account: String,
    /// Resource id of the database, as your policies name it: db-…, cluster-… or prx-…. By default,
    /// an example's
    #[arg(long, value_name = "ID")]
    resource_id: Option<String>,
    /// Start an S3 too, SeaweedFS on the loopback interface, with a bucket for export-query
    #[arg(long)]
    s3: bool,
    /// Inject a fault
    #[arg(long, value_enum, default_value_t = Fault::None, hide_default_value = true)]
    fault: Fault,
    /// Seconds between the ready line and the fault
    #[arg(long, value_name = "SECONDS", default_value_t = 0, requires = "fault")]
    fault_after: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Served {
    /// PostgreSQL
    Postgres,
    /// MySQL, with MariaDB behind the gate (docs/mysql.md says what differs)
    Mysql,
    /// A Neptune cluster: signed HTTPS requests with openCypher and SPARQL (docs/neptune.md)
    Neptune,
}

/// Serves until a signal. With `--json`, a failure is a line for programs too.
pub(crate) async fn run(serve: Serve) -> Result<()> {
    let json = serve.json;
    serve_until_told(serve).await.inspect_err(|error| {
        if json {
            println!("{}", ready::failed(error));
        }
    })
}

/// Waits for a signal, or for the end of a program that reads the ready line and holds standard input.
fn told_to_end(json: bool) -> Result<impl Future<Output = Signal>> {
    let interrupted = rds_local::interrupted()?;
    let parent = json.then(lifeline::parent_ended);
    Ok(async move {
        match parent {
            None => interrupted.await,
            Some(parent) => tokio::select! {
                signal = interrupted => signal,
                () = parent => Signal::SIGHUP,
            },
        }
    })
}

async fn serve_until_told(serve: Serve) -> Result<()> {
    let mut interrupted = std::pin::pin!(told_to_end(serve.json)?);
    if let Some(warning) = ready::check_listen(serve.listen, serve.public)? {
        eprintln!("rds-local: {warning}");
    }
    let options = Options {
        port: serve.port,
        listen: serve.listen,
        engine: match serve.engine {
            Served::Mysql => Engine::Mysql,
            Served::Postgres | Served::Neptune => Engine::Postgres,
        },
        init: serve.init,
        schemas: serve.schemas,
        user: serve.user,
        throttle: serve.throttle.map(|rate| (rate, serve.burst.unwrap_or(rate))),
        latency: Duration::from_millis(serve.latency),
        proxy: serve.proxy,
        strict: serve.strict,
        iam_auth_for_replication: serve.iam_auth_for_replication,
        policies: serve.policy,
        user_keys: serve.user_key_file,
        account: serve.account,
        resource_id: serve.resource_id.unwrap_or_else(|| match serve.engine {
            Served::Postgres | Served::Mysql => rds_local::RESOURCE_ID.into(),
            Served::Neptune => rds_local::CLUSTER_RESOURCE_ID.into(),
        }),
        s3: serve.s3,
        echo_log: true,
        ..Options::new(&serve.dir)
    };
    // An interrupt during the start is remembered: everything then stops in order.
    if serve.engine == Served::Neptune {
        let options = Options { fault: serve.fault, ..options };
        return serve_neptune(options, serve.json, interrupted).await;
    }
    let schemas = options.schemas.clone();
    let mut server = Server::start(options).await?;
    for warning in ready::warnings(&schemas, &server.loaded) {
        eprintln!("rds-local: {warning}");
    }
    announce(server.address, &serve.dir, serve.json, server.variables())?;
    let mut fault_is_due =
        std::pin::pin!(tokio::time::sleep(Duration::from_secs(serve.fault_after)));
    let mut injected = serve.fault == Fault::None;
    let ended = loop {
        tokio::select! {
            _ = &mut interrupted => break Ok(()),
            what = server.ended() => break Err(what),
            () = &mut fault_is_due, if !injected => {
                injected = true;
                if let Err(error) = server.inject(serve.fault).await {
                    break Err(error);
                }
                eprintln!("rds-local: fault {} is on", fault_name(serve.fault));
            }
        }
    };
    server.stop().await?;
    ended
}

async fn serve_neptune(
    options: Options,
    json: bool,
    mut interrupted: std::pin::Pin<&mut impl Future<Output = Signal>>,
) -> Result<()> {
    let dir = options.dir.clone();
    let mut cluster = Cluster::start(options).await?;
    announce(cluster.address, &dir, json, cluster.variables())?;
    let ended = tokio::select! {
        _ = &mut interrupted => Ok(()),
        name = cluster.ended() => {
            Err(format!("{name} stopped unexpectedly; see {}.log", name.to_lowercase()))
        }
    };
    cluster.stop().await?;
    ended
}

/// Prints the ready line.
fn announce(
    address: SocketAddr,
    dir: &Path,
    json: bool,
    variables: BTreeMap<String, String>,
) -> Result<()> {
    let line = if json {
        ready::for_programs(address, dir, variables)?
    } else {
        ready::for_people(address, dir)
    };
    println!("{line}");
    Ok(())
}

fn fault_name(fault: Fault) -> String {
    clap::ValueEnum::to_possible_value(&fault)
        .map(|value| value.get_name().to_owned())
        .unwrap_or_default()
}
