//! `rds-local demo`: a query through the real function, an expired token, and a forbidden write.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::postgres::Connector;
use rds_iam::token::TokenSigner;
use rds_iam::{Config, ErrorKind};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::invoke::{Sandbox, find_function};
use crate::runtime_api::Outcome;
use crate::{HOST, Options, Result, Server};

const FUNCTION: &str = "scheduled-query";
const EVENT: &str = "events/scheduled-query/customers.json";
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    rows: Vec<&'a RawValue>,
    row_count: usize,
}

/// Runs the demo in `dir`, and fails if a step has another result than the demo prints.
pub async fn run(dir: &Path) -> Result<()> {
    let event = std::fs::read(EVENT).map_err(|error| {
        format!("cannot read {EVENT}: {error}; run the demo from the repository's root")
    })?;
    let binary = find_function(FUNCTION)?;
    println!("Starting PostgreSQL, the IAM gate and STS …");
    let interrupted = crate::interrupted()?;
    let start = Instant::now();
    let server = Server::start(Options::new(dir)).await?;
    println!("  ready in {} ms, at {HOST}:{}", start.elapsed().as_millis(), server.address.port());
    let shown = tokio::select! {
        shown = show(&server, &binary, event) => shown,
        _ = interrupted => Err("interrupted".into()),
    };
    server.stop().await?;
    shown?;
    println!("\nDemo passed. Everything is stopped.");
    Ok(())
}

async fn show(server: &Server, binary: &Path, event: Vec<u8>) -> Result<()> {
    let variables = server.variables();
    query(server, binary, event, &variables).await?;
    let get = |name: &str| variables.get(name).map(OsString::from);
    let config = Config::from_vars(get).map_err(|error| error.to_string())?;
    let login = Login::new(config, &variables)?;
    expired_token(server, &login).await?;
    write_as_reader(&login).await
}

/// 1: the function's real binary, through the Runtime API.
async fn query(
    server: &Server,
    binary: &Path,
    event: Vec<u8>,
    variables: &BTreeMap<String, String>,
) -> Result<()> {
    println!("\n1. {FUNCTION} answers {EVENT}");
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let log = Arc::new(move |line: &str| {
        sink.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
    });
    let mut sandbox = Sandbox::start(binary, variables, Duration::from_secs(30), log).await?;
    let outcome = sandbox.invoke(event.into()).await;
    sandbox.stop().await;
    let lines = lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
    let body = match outcome {
        Outcome::Response(body) => body,
        Outcome::Error(body) => {
            return Err(format!(
                "the function failed: {}\n{lines}",
                String::from_utf8_lossy(&body)
            ));
        }
    };

    let records = server.gate.log().records();
    let login = records.last().ok_or("the gate saw no login")?;
    let principal =
        login.outcome.clone().map_err(|why| format!("the gate refused the login: {why}"))?;
    println!("   signed by  {principal}");
    println!("   logged in  as {} over {}", login.user, login.tls.as_deref().unwrap_or("no TLS"));
    let steps = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["message"] == "invocation succeeded")
        .ok_or_else(|| format!("the function logged no summary:\n{lines}"))?;
    let step =
        |name: &str| format!("{} {:.1}", name, steps[format!("{name}_ms")].as_f64().unwrap_or(0.0));
    let names = ["resolve", "sign", "dial", "tls", "login", "query", "duration"];
    println!("   ms         {}", names.map(step).join(" · "));

    let response: Response<'_> =
        serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    for row in &response.rows {
        println!("   {row}");
    }
    if response.row_count != 3 || response.rows.len() != 3 {
        return Err(format!(
            "the query returned {} customers instead of three",
            response.row_count
        ));
    }
    Ok(())
}

/// 2: the same login, with a token that was signed an hour ago.
async fn expired_token(server: &Server, login: &Login) -> Result<()> {
    println!("\n2. the same login with a token signed an hour ago");
    let signed_at = login.clock.now() - HOUR;
    let token =
        login.signer.sign(&login.credentials, signed_at).map_err(|error| error.to_string())?;
    let refused =
        match login.connector.login(&token, Instant::now() + Duration::from_secs(10)).await {
            Ok(_) => return Err("the gate accepted an expired token".into()),
            Err(refused) => refused.error,
        };
    if refused.kind() != ErrorKind::AuthRejected {
        return Err(format!("the login failed with another error than Auth.Rejected: {refused:?}"));
    }
    let told = refused.to_string();
    println!(
        "   client     {}: {}",
        refused.kind().error_type(),
        told.split(". ").next().unwrap_or(&told)
    );
    let records = server.gate.log().records();
    match records.last().map(|record| &record.outcome) {
        Some(Err(reason)) if reason.starts_with("expired") => println!("   gate's log {reason}"),
        other => {
            return Err(format!("the gate did not log the token as expired: {other:?}"));
        }
    }
    Ok(())
}

/// 3: a valid login of a user who may only read.
async fn write_as_reader(login: &Login) -> Result<()> {
    let statement = "INSERT INTO customers (name) VALUES ('Mallory')";
    println!("\n3. {statement}  as {}", login.signer.user);
    let token = login
        .signer
        .sign(&login.credentials, login.clock.now())
        .map_err(|error| error.to_string())?;
    let bound = Instant::now() + Duration::from_secs(10);
    let (connection, _) =
        login.connector.login(&token, bound).await.map_err(|refused| refused.error.to_string())?;
    let refused = match connection.client.batch_execute(statement).await {
        Ok(()) => return Err("PostgreSQL accepted the write of a read-only user".into()),
        Err(error) => error,
    };
    match refused.as_db_error() {
        Some(db) if db.code().code() == "42501" => {
            println!("   PostgreSQL {}: {}", db.code().code(), db.message());
            Ok(())
        }
        _ => Err(format!("the INSERT failed with another error than 42501: {refused}")),
    }
}

/// A login by the crate itself, with a token signed at any time.
struct Login {
    connector: Connector,
    signer: TokenSigner,
    credentials: Credentials,
    clock: SharedTimeSource,
}

impl Login {
    fn new(config: Config, variables: &BTreeMap<String, String>) -> Result<Self> {
        let get = |name: &str| variables.get(name).cloned().unwrap_or_default();
        Ok(Self {
            signer: config.token_signer(),
            connector: Connector::new(config).map_err(|error| error.to_string())?,
            credentials: Credentials::new(
                get("AWS_ACCESS_KEY_ID"),
                get("AWS_SECRET_ACCESS_KEY"),
                Some(get("AWS_SESSION_TOKEN")),
                None,
                "rds-local",
            ),
            clock: SharedTimeSource::default(),
        })
    }
}
