//! The command line: `rds-local serve`, `invoke`, `token`, `check`, `doctor`, `new` and `demo`.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use clap::{Parser, Subcommand};
use nix::sys::signal::Signal;
use rds_iam::endpoint::Endpoint;
use rds_iam::token::TokenSigner;
use rds_local::database::Engine;
use rds_local::gate::Fault;
use rds_local::invoke::{Sandbox, find_function};
use rds_local::neptune::Cluster;
use rds_local::runtime_api::Outcome;
use rds_local::until_done::{self, Launch};
use rds_local::{
    Options, Result, Server, check, demo, environment, exit_code, explain, lifeline, new, ready,
};

/// RDS IAM authentication on your machine: a real database behind a gate that checks tokens.
///
/// For development and tests only; nothing here needs an AWS account.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the database, the gate and STS, and serve until Ctrl-C
    ///
    /// Each start makes a new cluster and new keys. DIR/env sets what clients need:
    ///   . target/rds-local/env
    ///   PGPASSWORD="$(aws rds generate-db-auth-token --hostname $PGHOST --port $PGPORT --username $PGUSER)" psql
    #[command(verbatim_doc_comment)]
    Serve(Serve),
    /// Run a function's binary on an event, as Lambda does; the response goes to standard output
    Invoke(Invoke),
    /// Print an IAM authentication token, as aws rds generate-db-auth-token does; or explain one
    Token(Token),
    /// Check query files: their front matter, and with --database their SQL
    ///
    /// Exits with 1 if a file is wrong, for a CI step or a pre-commit hook. With --database, PostgreSQL
    /// prepares each statement, and the output shows the types of parameters and columns. The
    /// environment names the database, as for a function:
    ///   . target/rds-local/env; rds-local check --database
    /// For mysql-query, a read that could write is wrong, and so are other parameters than the statement has:
    ///   rds-local check --engine mysql queries/mysql
    #[command(verbatim_doc_comment)]
    Check {
        /// Files, or folders of them
        #[arg(default_value = "queries", value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Whose SQL the files have [default: mysql in a folder of that name, else postgres]
        #[arg(long, value_enum)]
        engine: Option<Engine>,
        /// Prepare each statement on the database, which is PostgreSQL
        #[arg(long)]
        database: bool,
    },
    /// Say why the database that the environment names cannot be reached: runs rds-doctor
    #[command(disable_help_flag = true)]
    Doctor {
        /// Options of rds-doctor: --help lists them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Make a folder for queries of your own, with a test, and a template to deploy: a project
    ///
    /// The functions that run the queries come from a version of rds-iam-lambda, which the project's
    /// Makefile names. docs/start.md walks through it:
    ///   rds-local new reports --with batch-job,export-query
    #[command(verbatim_doc_comment)]
    New(new::Options),
    /// Run a query over an IAM login, and show two refusals
    Demo {
        /// Folder for the demo's files
        #[arg(long, default_value = "target/rds-local-demo")]
        dir: PathBuf,
    },
}

#[derive(clap::Args)]
struct Serve {
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

#[derive(clap::Args)]
struct Invoke {
    /// The function's folder under functions/, or the path of your own binary
    function: String,
    /// Event files; several run one after another in one sandbox
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    event: Vec<PathBuf>,
    /// Folder of the running rds-local serve
    #[arg(long, env = "RDS_LOCAL_DIR", default_value = "target/rds-local")]
    dir: PathBuf,
    /// The function's time-out in seconds
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=900))]
    timeout: u64,
    /// Set a variable of the function's environment; it overrides DIR/env
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// For batch-job: send each event again until its run is finished, and show the progress. Ctrl-C
    /// stops the function and prints the command that goes on where it stopped
    #[arg(long)]
    until_done: bool,
    /// The run of an event that has none; by default, the time. A second event gets ID-2, and so on
    #[arg(long, value_name = "ID", requires = "until_done")]
    run: Option<String>,
}

#[derive(clap::Args)]
struct Token {
    /// The database's endpoint [env: PGHOST or MYSQL_HOST]
    #[arg(long)]
    hostname: Option<String>,
    /// Its port [env: PGPORT or MYSQL_TCP_PORT; else 5432]
    #[arg(long)]
    port: Option<u16>,
    /// The database user [env: PGUSER or MYSQL_USER]
    #[arg(long)]
    username: Option<String>,
    /// The database's region; by default, the one in its name
    #[arg(long, env = "AWS_REGION")]
    region: Option<String>,
    #[command(flatten)]
    principal: rds_local::credentials::Principal,
    /// Read a token from standard input instead, and explain its endpoint, user and expiry, and the
    /// policy and GRANT that it needs. Works offline, and shows no secret
    #[arg(long)]
    explain: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.to_string()),
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(serve) => {
                let json = serve.json;
                let served = run_serve(serve).await.inspect_err(|error| {
                    if json {
                        println!("{}", ready::failed(error));
                    }
                });
                served.map(|()| ExitCode::SUCCESS)
            }
            Command::Invoke(invoke) => run_invoke(invoke).await,
            Command::Token(token) => run_token(token).await.map(|()| ExitCode::SUCCESS),
            Command::Check { paths, engine, database } => {
                let wrong = check::run(&paths, engine, database).await?;
                Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Command::Doctor { arguments } => run_doctor(&arguments),
            Command::New(options) => new::run(&options, Path::new(".")).map(|told| {
                print!("{told}");
                ExitCode::SUCCESS
            }),
            Command::Demo { dir } => demo::run(&dir).await.map(|()| ExitCode::SUCCESS),
        }
    });
    // A resolver that hangs keeps its thread.
    runtime.shutdown_background();
    result.unwrap_or_else(|error| fail(&error))
}

fn fail(error: &str) -> ExitCode {
    eprintln!("rds-local: {error}");
    ExitCode::FAILURE
}

/// Becomes the program rds-doctor, which lies beside this one. A separate program, because it links several
/// of AWS's SDKs, which nothing else here needs.
fn run_doctor(arguments: &[std::ffi::OsString]) -> Result<ExitCode> {
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let doctor = this.with_file_name("rds-doctor");
    let error = std::process::Command::new(&doctor).args(arguments).exec();
    if error.kind() == std::io::ErrorKind::NotFound {
        return Err(format!(
            "cannot find rds-doctor beside {}; build it with cargo build --package rds-doctor",
            this.display()
        ));
    }
    Err(format!("cannot run {}: {error}", doctor.display()))
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

async fn run_serve(serve: Serve) -> Result<()> {
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

async fn run_invoke(invoke: Invoke) -> Result<ExitCode> {
    let mut interrupted = std::pin::pin!(rds_local::interrupted()?);
    let binary = find_function(&invoke.function)?;
    let mut events = Vec::new();
    for path in &invoke.event {
        let event = std::fs::read(path)
            .map_err(|error| format!("cannot read the event {}: {error}", path.display()))?;
        events.push(event);
    }
    let mut variables = environment::read_dotenv(&invoke.dir.join("env"))?;
    for setting in &invoke.env {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| format!("--env {setting} is not of the form NAME=VALUE"))?;
        variables.insert(name.to_owned(), value.to_owned());
    }
    // For a person; --env AWS_LAMBDA_LOG_FORMAT=JSON shows what Lambda's log would hold.
    variables.entry("AWS_LAMBDA_LOG_FORMAT".into()).or_insert_with(|| "Text".into());
    let log = Arc::new(|line: &str| eprintln!("{line}"));
    let timeout = Duration::from_secs(invoke.timeout);
    if invoke.until_done {
        let launch = Launch { binary: &binary, variables: &variables, timeout, log };
        return until_done::run(launch, &events, invoke.run, interrupted).await;
    }
    let mut sandbox = Sandbox::start(&binary, &variables, timeout, log).await?;
    let mut code = ExitCode::SUCCESS;
    for event in events {
        let outcome = tokio::select! {
            outcome = sandbox.invoke(event.into()) => outcome,
            signal = &mut interrupted => {
                sandbox.stop().await;
                eprintln!("rds-local: interrupted");
                return Ok(exit_code(signal));
            }
        };
        let (Outcome::Response(body) | Outcome::Error(body)) = &outcome;
        println!("{}", String::from_utf8_lossy(body));
        if matches!(outcome, Outcome::Error(_)) {
            code = ExitCode::FAILURE;
        }
    }
    sandbox.stop().await;
    Ok(code)
}

async fn run_token(token: Token) -> Result<()> {
    let clock = SharedTimeSource::default();
    if token.explain {
        let mut text = String::new();
        let read = std::io::stdin().take(64 * 1024).read_to_string(&mut text);
        read.map_err(|error| format!("standard input cannot be read: {error}"))?;
        print!("{}", explain::explain(text.trim(), clock.now())?);
        return Ok(());
    }
    let given = |value: Option<String>, names: [&str; 2]| {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        value.or_else(|| names.into_iter().find_map(variable))
    };
    let host = given(token.hostname, ["PGHOST", "MYSQL_HOST"])
        .ok_or("no endpoint: use --hostname, or set PGHOST or MYSQL_HOST")?;
    let user = given(token.username, ["PGUSER", "MYSQL_USER"])
        .ok_or("no user: use --username, or set PGUSER or MYSQL_USER")?;
    let port = given(token.port.map(|port| port.to_string()), ["PGPORT", "MYSQL_TCP_PORT"]);
    let port = port.map_or(Ok(5432), |port| {
        port.parse().map_err(|_| "the port is not a number from 1 to 65535".to_owned())
    })?;
    let endpoint = Endpoint::parse(&host, port).map_err(|why| format!("--hostname {why}"))?;
    let region = endpoint
        .region
        .or(token.region)
        .ok_or("the hostname contains no region: use --region, or set AWS_REGION")?;
    let signer =
        TokenSigner { host: endpoint.host, port: endpoint.port, region: region.clone(), user };
    let provider = token.principal.provider(&region).await;
    let token = signer.token(&provider, &clock).await.map_err(|error| error.to_string())?;
    println!("{}", token.as_str());
    Ok(())
}
