//! The login itself, over a connection dialled here: its refusal is looked at in full, and only its class
//! is kept, for a server's message may quote anything.

use std::net::SocketAddr;
use std::time::Duration;

use aws_credential_types::Credentials as Keys;
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

use crate::database::step as database;
use crate::login::evidence::{Login, Refusal};
use crate::network::step::USUAL_PORT;
use crate::report::{Status, Step};
use crate::steps::{Attempt, bound};

/// Kept for the questions after a login, and as many round trips.
const AFTER: Duration = Duration::from_millis(700);
const QUESTIONS: u32 = 6;

/// The way to the server.
pub(crate) struct Via<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) connector: &'a MakeTlsConnector,
    pub(crate) round_trip: Duration,
}

pub(crate) async fn attempt(
    (config, keys): (&Config, &Keys),
    token: &AuthToken,
    via: &Via<'_>,
    clock: &SharedTimeSource,
    deadline: Instant,
    attempt: &mut Attempt,
) {
    let start = Instant::now();
    let after = AFTER + via.round_trip * QUESTIONS;
    let until = bound(deadline - after, config.connect_timeout);
    let result = timeout_at(until, connect(config, token, via)).await;
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
                let list = timeout_at(deadline, databases(config, token, via)).await;
                attempt.databases = list.ok().flatten().unwrap_or_default();
            }
            // If we dialled a loopback address, the port is a tunnel's, not the database's.
            if attempt.login.is(Refusal::Token) && via.address.ip().is_loopback() {
                let other = of_usual_port(config, keys, via, clock);
                attempt.accepted_port = timeout_at(deadline, other).await.ok().flatten();
            }
            attempt.steps.push(Step::skipped("database", "there is no login"));
        }
    }
}

async fn connect(config: &Config, token: &AuthToken, via: &Via<'_>) -> Result<Client, Login> {
    let stream = TcpStream::connect(via.address).await.map_err(|_| Login::Closed)?;
    let _ = stream.set_nodelay(true);
    let mut make = via.connector.clone();
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
            Some(refusal) => Login::Refused { refusal: class(refusal), code: sqlstate(refusal) },
            // The library's own words for a request that it cannot answer.
            None if error.to_string().starts_with("authentication error") => Login::OtherMethod,
            None => Login::Closed,
        }),
    }
}

/// PostgreSQL's usual port, if a token for it is accepted on the same way.
async fn of_usual_port(
    config: &Config,
    keys: &Keys,
    via: &Via<'_>,
    clock: &SharedTimeSource,
) -> Option<u16> {
    let mut other = config.clone();
    other.endpoint.port = USUAL_PORT;
    if config.endpoint.port == USUAL_PORT {
        return None;
    }
    let token = other.token_signer().sign(keys, clock.now()).ok()?;
    match connect(&other, &token, via).await {
        Ok(_) => Some(USUAL_PORT),
        // Refused for what is looked at after the token.
        Err(login) if login.is(Refusal::NoDatabase) || login.is(Refusal::NoConnect) => {
            Some(USUAL_PORT)
        }
        Err(_) => None,
    }
}

/// The databases that the user may connect to, asked in the one that every server has.
async fn databases(config: &Config, token: &AuthToken, via: &Via<'_>) -> Option<Vec<String>> {
    let mut other = config.clone();
    other.database = "postgres".into();
    let client = connect(&other, token, via).await.ok()?;
    let sql = "SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate \
               AND has_database_privilege(datname, 'CONNECT') ORDER BY datname LIMIT 50";
    let rows = client.simple_query(sql).await.ok()?;
    let name = |row: SimpleQueryMessage| match row {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    Some(rows.into_iter().filter_map(name).collect())
}

/// Five capitals or digits; whatever else a server sends is not repeated.
fn sqlstate(refusal: &DbError) -> String {
    let code = refusal.code().code();
    let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    let is_one = code.len() == 5 && code.bytes().all(legal);
    if is_one { code.to_owned() } else { "unknown".to_owned() }
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
        "28000" if says("does not exist") => Refusal::NoRole,
        "28000" => Refusal::Hba,
        "28P01" => Refusal::Password,
        "3D000" => Refusal::NoDatabase,
        "42501" if says("for database") => Refusal::NoConnect,
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
        Login::OtherMethod => "the server asks for another proof than a password".into(),
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
        Refusal::NoRole => "there is no such role",
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
