//! The login itself, over a connection dialled here: its refusal is looked at in full, and only its class
//! is kept, for a server's message may quote anything.

use std::net::SocketAddr;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use postgres_native_tls::MakeTlsConnector;
use rds_iam::Config;
use rds_iam::postgres::login_settings;
use rds_iam::token::AuthToken;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::DbError;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::{Attempt, bound, database};
use crate::evidence::{Login, Refusal};
use crate::report::{Status, Step};

/// Kept for the questions after a login.
const AFTER: Duration = Duration::from_millis(700);

pub(super) async fn attempt(
    config: &Config,
    token: &AuthToken,
    address: SocketAddr,
    connector: &MakeTlsConnector,
    clock: &SharedTimeSource,
    deadline: Instant,
    attempt: &mut Attempt,
) {
    let start = Instant::now();
    let until = bound(deadline - AFTER, config.connect_timeout);
    let result = timeout_at(until, connect(config, token, address, connector)).await;
    let (client, login) = match result {
        Err(_) => (None, Login::Silent),
        Ok(Err(login)) => (None, login),
        Ok(Ok(client)) => (Some(client), Login::Works),
    };
    let (status, found) = said(&login);
    attempt.login = login;
    attempt.steps.push(Step::new("login", status, start.elapsed(), found));
    match client {
        Some(client) => database::ask(config, &client, clock, deadline, attempt).await,
        None => {
            if attempt.login.is(Refusal::NoDatabase) {
                let list = timeout_at(deadline, databases(config, token, address, connector)).await;
                attempt.databases = list.ok().flatten().unwrap_or_default();
            }
            attempt.steps.push(Step::skipped("database", "there is no login"));
        }
    }
}

async fn connect(
    config: &Config,
    token: &AuthToken,
    address: SocketAddr,
    connector: &MakeTlsConnector,
) -> Result<Client, Login> {
    let stream = TcpStream::connect(address).await.map_err(|_| Login::Closed)?;
    let _ = stream.set_nodelay(true);
    let mut make = connector.clone();
    let tls = <MakeTlsConnector as MakeTlsConnect<TcpStream>>::make_tls_connect(
        &mut make,
        &config.endpoint.host,
    );
    let tls = tls.map_err(|_| Login::Closed)?;
    match login_settings(config, token).connect_raw(stream, tls).await {
        Ok((client, connection)) => {
            // It ends with the client.
            tokio::spawn(connection);
            Ok(client)
        }
        Err(error) => Err(match error.as_db_error() {
            Some(refusal) => {
                Login::Refused { refusal: class(refusal), code: refusal.code().code().to_owned() }
            }
            None => Login::Closed,
        }),
    }
}

/// The databases that the user may connect to, asked in the one that every server has.
async fn databases(
    config: &Config,
    token: &AuthToken,
    address: SocketAddr,
    connector: &MakeTlsConnector,
) -> Option<Vec<String>> {
    let mut other = config.clone();
    other.database = "postgres".into();
    let client = connect(&other, token, address, connector).await.ok()?;
    let sql = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate \
               AND has_database_privilege(datname, 'CONNECT') ORDER BY datname LIMIT 50";
    let rows = client.simple_query(sql).await.ok()?;
    let name = |row: SimpleQueryMessage| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Some(rows.into_iter().filter_map(name).collect())
}

/// The class of a refusal, by its SQLSTATE and its fixed words.
fn class(refusal: &DbError) -> Refusal {
    let message = refusal.message();
    let says = |words: &str| message.contains(words);
    match refusal.code().code() {
        _ if says("IAM authentication failed") => Refusal::Token,
        _ if says("has no credentials for the role") => Refusal::ProxySecret,
        "28000" if says("PAM authentication failed") => Refusal::Token,
        "28000" if says("is not permitted to log in") => Refusal::NoLogin,
        "28000" => Refusal::Hba,
        "28P01" => Refusal::Password,
        "3D000" => Refusal::NoDatabase,
        "42501" => Refusal::NoConnect,
        "55000" => Refusal::NotAccepting,
        "53300" if says("for role") => Refusal::TooManyOfRole,
        "53300" if says("for database") => Refusal::TooManyOfDatabase,
        "53300" => Refusal::TooMany,
        "57P01" | "57P02" | "57P03" => Refusal::Starting,
        _ => Refusal::Other,
    }
}

fn said(login: &Login) -> (Status, String) {
    let found = match login {
        Login::Works => return (Status::Ok, "the token is accepted".into()),
        Login::Refused { refusal, code } => format!("{}, SQLSTATE {code}", words(*refusal)),
        Login::Closed => "the connection was closed during the login".into(),
        Login::Silent => "the server did not answer the login in time".into(),
        Login::Unknown => "not tried".into(),
    };
    (Status::Failed, found)
}

fn words(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Token => "the token was refused (PAM authentication failed)",
        Refusal::Password => "the token was taken for a password",
        Refusal::ProxySecret => "RDS Proxy has no credentials for the user",
        Refusal::Hba => "the server's access rules (pg_hba) reject the connection",
        Refusal::NoLogin => "the role may not log in",
        Refusal::NoDatabase => "the database does not exist",
        Refusal::NoConnect => "the user may not connect to the database",
        Refusal::NotAccepting => "the database accepts no connections",
        Refusal::TooMany => "the server has too many connections",
        Refusal::TooManyOfRole => "the user has too many connections",
        Refusal::TooManyOfDatabase => "the database has too many connections",
        Refusal::Starting => "the server is starting or stopping",
        Refusal::Other => "the server refused the login",
    }
}

impl Login {
    fn is(&self, wanted: Refusal) -> bool {
        matches!(self, Self::Refused { refusal, .. } if *refusal == wanted)
    }
}
