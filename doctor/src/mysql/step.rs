//! Greeting, TLS and login on one connection, and the questions after a login on another.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use rds_iam::Config;
use rds_iam::config::MysqlConfig;
use rds_iam::token::AuthToken;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::evidence::{Evidence, Greeting, Plugin};
use super::questions;
use super::wire::{self, Answer};
use crate::login::evidence::Login;
use crate::outcome::Outcome;
use crate::report::{Status, Step};
use crate::times::bound;
use crate::tls::evidence::Protocol;
use crate::tls::step::{SSL_REQUEST, Seen, Stop, said as said_of_tls, shake};
use crate::tls::verify;

/// A server that looks the client's name up takes a while to greet; PostgreSQL waits for the client for ever.
const PATIENCE: Duration = Duration::from_millis(1000);
/// Kept for the questions after a login.
const AFTER: Duration = Duration::from_millis(700);
/// A login has two answers, and a plugin may ask for more.
const ANSWERS: usize = 4;
const QUIT: u8 = 1;

/// The open connection, and where it goes.
pub(crate) type Open = (TcpStream, SocketAddr);

pub(crate) async fn attempt(
    config: &Config,
    own: &MysqlConfig,
    token: Option<&AuthToken>,
    open: Option<Open>,
    (clock, deadline): (&SharedTimeSource, Instant),
    outcome: &mut Outcome,
) {
    let Some((stream, address)) = open else {
        outcome.skip(&["tls", "login", "database"], "no address can be connected to");
        return;
    };
    let until = bound(deadline - AFTER, own.connect_timeout);
    let seen = handshake(config, stream, address, until, clock, outcome).await;
    let start = Instant::now();
    let trusted = outcome.tls.is_trusted();
    let (Some(seen), true, Some(token)) = (seen, trusted, token) else {
        let why = match token {
            None => "there is no token",
            Some(_) => "TLS is not established, and the token goes nowhere else",
        };
        outcome.skip(&["login", "database"], why);
        return;
    };
    let ended = timeout_at(until, log_in(seen, own, token, &mut outcome.mysql)).await;
    outcome.login = match ended {
        Err(_) => Login::Silent,
        Ok(Err(_)) => Login::Closed,
        Ok(Ok(login)) => login,
    };
    let (status, found) = said(&outcome.login, &outcome.mysql);
    outcome.steps.push(Step::new("login", status, start.elapsed(), found));
    questions::ask(own, token, address, (clock, deadline), outcome).await;
}

/// The greeting and the certificate. The connection is returned for the login.
async fn handshake(
    config: &Config,
    mut stream: TcpStream,
    address: SocketAddr,
    until: Instant,
    clock: &SharedTimeSource,
    outcome: &mut Outcome,
) -> Option<Seen> {
    let start = Instant::now();
    let _ = stream.set_nodelay(true);
    let first = greeting(&mut stream, address, until).await;
    let seen = match &first {
        Ok(Greeting::Of(_)) => {
            let asked = wire::write(&mut stream, 1, &wire::ssl_request()).await;
            let shaken = shake(&config.endpoint.host, stream, None, until).await;
            match asked {
                Ok(()) => shaken,
                Err(_) => Err(Stop::Closed),
            }
        }
        Ok(_) => Err(Stop::Closed),
        Err(Stop::Silent) => Err(Stop::Silent),
        Err(_) => Err(Stop::Closed),
    };
    outcome.mysql.greeting = first.unwrap_or_default();
    let (status, found) = match &outcome.mysql.greeting {
        Greeting::WithoutTls(version) => {
            (Status::Failed, format!("MySQL {version} does not offer TLS"))
        }
        Greeting::Error(code) => {
            (Status::Failed, format!("the server's first words are the error {code}"))
        }
        Greeting::Other(what) => (Status::Failed, format!("what answers is not MySQL: {what}")),
        Greeting::Unknown | Greeting::Of(_) => {
            outcome.tls = verify::tls(config, seen.as_ref(), clock.now());
            said_of_tls(&outcome.tls)
        }
    };
    outcome.steps.push(Step::new("tls", status, start.elapsed(), found));
    seen.ok()
}

/// The server's first packet. `Stop::Silent` or `Stop::Closed` without one.
async fn greeting(
    stream: &mut TcpStream,
    address: SocketAddr,
    until: Instant,
) -> Result<Greeting, Stop> {
    let mut head = [0; 4];
    let mut peeked = timeout_at(bound(until, PATIENCE), stream.peek(&mut head)).await;
    if peeked.is_err() {
        if let Some(what) = timeout_at(until, waits_for(address)).await.ok().flatten() {
            return Ok(Greeting::Other(what));
        }
        peeked = timeout_at(until, stream.peek(&mut head)).await;
    }
    match peeked {
        Err(_) => return Err(Stop::Silent),
        Ok(Err(_) | Ok(0)) => return Err(Stop::Closed),
        Ok(Ok(_)) if head == *b"SSH-" => return Ok(Greeting::Other(Protocol::Ssh)),
        Ok(Ok(_)) => {}
    }
    match timeout_at(until, wire::read(stream)).await {
        Err(_) => Err(Stop::Silent),
        Ok(Ok(packet)) => Ok(wire::greeting(&packet.body)),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
            Ok(Greeting::Other(Protocol::Unknown))
        }
        Ok(Err(_)) => Err(Stop::Closed),
    }
}

/// A server that waits for its client to speak, if its answer to PostgreSQL's request for TLS tells it.
async fn waits_for(address: SocketAddr) -> Option<Protocol> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(&SSL_REQUEST).await.ok()?;
    let mut answer = [0; 1];
    let read = timeout_at(Instant::now() + PATIENCE / 2, stream.read_exact(&mut answer)).await;
    read.ok()?.ok()?;
    match answer[0] {
        b'S' | b'N' => Some(Protocol::Postgres),
        b'H' => Some(Protocol::Http),
        0x15 => Some(Protocol::Tls),
        _ => None,
    }
}

/// The login, to the answer that ends it. The token is sent only to a server that asks for it.
async fn log_in(
    seen: Seen,
    own: &MysqlConfig,
    token: &AuthToken,
    evidence: &mut Evidence,
) -> io::Result<Login> {
    let mut stream = seen.stream;
    wire::write(&mut stream, 2, &wire::login(&own.user, &own.database)).await?;
    for _ in 0..ANSWERS {
        let packet = wire::read(&mut stream).await?;
        match wire::answer(&packet.body) {
            Answer::Open => {
                let _ = wire::write(&mut stream, 0, &[QUIT]).await;
                return Ok(Login::Works);
            }
            Answer::Refused(code) => {
                evidence.error = Some(code);
                return Ok(evidence.refusal());
            }
            Answer::Asked(plugin) => {
                let clear = plugin == Plugin::Clear;
                evidence.asked = Some(plugin);
                // No proof at all, for another plugin: the server then ends the login by itself.
                let proof =
                    if clear { [token.as_str().as_bytes(), &[0]].concat() } else { Vec::new() };
                wire::write(&mut stream, packet.sequence.wrapping_add(1), &proof).await?;
            }
            Answer::More => break,
        }
    }
    Ok(Login::OtherMethod)
}

fn said(login: &Login, evidence: &Evidence) -> (Status, String) {
    let asked = evidence.asked.as_ref().map_or(String::new(), |plugin| match plugin {
        Plugin::Clear => "; the server asked for a token".to_owned(),
        other => format!("; the server asked for {}, not for a token", other.name()),
    });
    let found = match login {
        Login::Works if evidence.asked == Some(Plugin::Clear) => {
            return (Status::Ok, "the token is accepted".into());
        }
        Login::Works => "the login is open without a token".to_owned(),
        Login::Refused { code, .. } => format!("refused with error {code}"),
        Login::Closed => "the connection was closed during the login".into(),
        Login::Silent => "the server did not answer the login in time".into(),
        _ => "the server asks for another proof than a password".into(),
    };
    (Status::Failed, found + &asked)
}
