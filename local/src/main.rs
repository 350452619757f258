//! The command line: `rds-local serve`, `invoke`, `token`, `check`, `doctor`, `new` and `demo`.

mod serve;

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use clap::{Parser, Subcommand};
use rds_iam::endpoint::Endpoint;
use rds_iam::token::TokenSigner;
use rds_local::database::Engine;
use rds_local::invoke::{Sandbox, find_function};
use rds_local::runtime_api::Outcome;
use rds_local::until_done::{self, Launch};
use rds_local::{Result, check, demo, environment, exit_code, explain, new};

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
    Serve(serve::Serve),
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
    /// Or a cargo project with a function of your own:
    ///   rds-local new orders --crate
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
            Command::Serve(options) => serve::run(options).await.map(|()| ExitCode::SUCCESS),
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
