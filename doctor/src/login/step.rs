//! The login itself, over a connection dialled here: its refusal is looked at in full, and only its class
//! is kept, for a server's message may quote anything.

use std::net::SocketAddr;
use std::time::Duration;

use aws_credential_types::Credentials as Keys;
use aws_smithy_async::time::SharedTimeSource;
use postgres_native_tls::MakeTlsConnector;
use rds_iam::Config;
use rds_iam::postgres::{Refusal, login_settings};
use rds_iam::token::AuthToken;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::error::DbError;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::clock::evidence::Clock;
use crate::database::evidence::Facts;
use crate::database::step as database;
use crate::login::evidence::{Attempt, Login};
use crate::network::step::USUAL_PORT;
use crate::report::{Status, Step};
use crate::times::bound;

/// Kept for the questions after a login, and as many round trips.
const AFTER: Duration = Duration::from_millis(700);
const QUESTIONS: u32 = 6;
/// The users that sql/roles.sql creates unless it is given other names.
const DOCUMENTED_USERS: [&str; 2] = ["iam_ro_user", "iam_rw_user"];
/// Letters that a misspelt name may have wrong.
const NEAR: usize = 2;

/// The way to the server.
pub(crate) struct Via<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) connector: &'a MakeTlsConnector,
    pub(crate) round_trip: Duration,
}

/// A login that was tried, and the answers of the database behind it.
#[derive(Default)]
pub(crate) struct Tried {
    pub(crate) attempt: Attempt,
    pub(crate) database: Option<(Facts, Clock)>,
    pub(crate) steps: Vec<Step>,
}

pub(crate) async fn attempt(
    (config, keys): (&Config, &Keys),
    token: &AuthToken,
    via: &Via<'_>,
    clock: &SharedTimeSource,
    deadline: Instant,
) -> Tried {
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
    let mut steps = vec![Step::new("login", status, start.elapsed(), found)];
    let mut attempt = Attempt { login, ..Attempt::default() };
    let Some(client) = client else {
        if attempt.login.is(Refusal::NoDatabase) {
            let list = timeout_at(deadline, databases(config, token, via)).await;
            attempt.databases = list.ok().flatten().unwrap_or_default();
        }
        // If we dialled a loopback address, the port is a tunnel's, not the database's.
        if attempt.login.is(Refusal::Token) && via.address.ip().is_loopback() {
            let other = of_usual_port(config, keys, via, clock);
            attempt.accepted_port = timeout_at(deadline, other).await.ok().flatten();
        }
        if attempt.login.is(Refusal::Password) || attempt.login.is(Refusal::NoRole) {
            let other = of_documented_user(config, keys, via, clock);
            attempt.accepted_user = timeout_at(deadline, other).await.ok().flatten();
        }
        steps.push(Step::skipped("database", "there is no login"));
        return Tried { attempt, database: None, steps };
    };
    let (database, mut more) = database::ask(config, &client, clock, deadline).await;
    steps.append(&mut more);
    Tried { attempt, database, steps }
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
            Some(refusal) => {
                Login::Refused { refusal: Refusal::of(refusal), code: sqlstate(refusal) }
            }
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

/// A user of sql/roles.sql whose name the configured one nearly is, if that user's token is accepted.
async fn of_documented_user(
    config: &Config,
    keys: &Keys,
    via: &Via<'_>,
    clock: &SharedTimeSource,
) -> Option<&'static str> {
    let distance = |name: &&str| strsim::damerau_levenshtein(name, &config.user);
    let near = DOCUMENTED_USERS.into_iter().min_by_key(distance)?;
    if !(1..=NEAR).contains(&distance(&near)) {
        return None;
    }
    let mut other = config.clone();
    other.user = near.to_owned();
    let token = other.token_signer().sign(keys, clock.now()).ok()?;
    connect(&other, &token, via).await.ok().map(|_| near)
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

fn said(login: &Login) -> (Status, String) {
    let found = match login {
        Login::Works => return (Status::Ok, "the token is accepted".into()),
        Login::Refused { refusal, code } => format!("{refusal}, SQLSTATE {code}"),
        Login::Closed => "the connection was closed during the login".into(),
        Login::OtherMethod => "the server asks for another proof than a password".into(),
        Login::Silent => "the server did not answer the login in time".into(),
        Login::Unknown => "not tried".into(),
    };
    (Status::Failed, found)
}
