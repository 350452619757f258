//! TLS, `/status`, and a query in each language.

use std::net::SocketAddr;
use std::time::Duration;

use aws_credential_types::Credentials as Keys;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::Config;
use rds_iam::NeptuneConfig;
use rds_iam::neptune::{Client, Request};
use rds_iam::postgres::Refusal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::evidence::{Answer, EngineStatus, Evidence};
use crate::login::evidence::Login;
use crate::outcome::Outcome;
use crate::report::{Status, Step};
use crate::times::bound;
use crate::tls::evidence::Protocol;
use crate::tls::step::{SSL_REQUEST, Stop, said as said_of_tls, shake};
use crate::tls::verify;

/// How long a server that speaks first, or answers plain HTTP, may take.
const PATIENCE: Duration = Duration::from_millis(400);
const LONGEST: Duration = Duration::from_millis(2000);

pub(crate) async fn attempt(
    config: &Config,
    own: &NeptuneConfig,
    keys: Option<&Keys>,
    address: Option<SocketAddr>,
    (clock, deadline): (&SharedTimeSource, Instant),
    outcome: &mut Outcome,
) {
    let Some(address) = address else {
        outcome.skip(&["tls", "request", "status"], "no address can be connected to");
        return;
    };
    handshake(config, address, clock, bound(deadline, LONGEST), outcome).await;
    let trusted = outcome.tls.is_trusted();
    let keys = match (trusted, keys) {
        (true, Some(keys)) => keys,
        (false, _) => {
            let why = "TLS is not established, and a signature goes nowhere else";
            return outcome.skip(&["request", "status"], why);
        }
        (true, None) => return outcome.skip(&["request", "status"], "there are no credentials"),
    };
    let start = Instant::now();
    ask(own, keys, clock, deadline, &mut outcome.neptune).await;
    let evidence = &outcome.neptune;
    outcome.login = match evidence {
        _ if evidence.works() => Login::Works,
        // The shared stages know a refused signature as a refused token.
        _ if evidence.signature_refused() => {
            Login::Refused { refusal: Refusal::Token, code: "403".into() }
        }
        _ => Login::Unknown,
    };
    let (status, found) = said(evidence);
    outcome.steps.push(Step::new("request", status, start.elapsed(), found));
    outcome.steps.push(match &evidence.engine {
        Some(engine) => {
            let found = format!("{}, {}, engine {}", engine.status, engine.role, engine.version);
            Step::new("status", Status::Ok, Duration::ZERO, found)
        }
        None => Step::skipped("status", "/status was not answered"),
    });
}

async fn handshake(
    config: &Config,
    address: SocketAddr,
    clock: &SharedTimeSource,
    until: Instant,
    outcome: &mut Outcome,
) {
    let start = Instant::now();
    let seen = match timeout_at(until, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => shake(&config.endpoint.host, stream, Some("http/1.1"), until).await,
        _ => Err(Stop::Closed),
    };
    if seen.is_err() {
        outcome.neptune.instead = instead(address).await;
    }
    // Another server's end of the handshake says nothing more.
    if outcome.neptune.instead.is_none() {
        outcome.tls = verify::tls(config, seen.as_ref(), clock.now());
    }
    let (status, found) = match outcome.neptune.instead {
        Some(what) => (Status::Failed, format!("what answers is not Neptune over TLS: {what}")),
        None => said_of_tls(&outcome.tls),
    };
    outcome.steps.push(Step::new("tls", status, start.elapsed(), found));
}

/// The protocol of a server that answers without TLS: one that speaks first, or HTTP, or PostgreSQL.
async fn instead(address: SocketAddr) -> Option<Protocol> {
    let mut first = [0; 5];
    let mut stream = TcpStream::connect(address).await.ok()?;
    // MySQL speaks first: a length, the packet's number 0, and protocol 10 or an error.
    if let Ok(Ok(5)) = timeout(PATIENCE, stream.read_exact(&mut first)).await {
        return match first {
            [_, _, _, 0, 10 | 0xff] => Some(Protocol::Mysql),
            _ => Some(Protocol::Unknown),
        };
    }
    let said =
        answer_to(address, b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    if said.await == Some(*b"HTTP") {
        return Some(Protocol::Http);
    }
    match answer_to(address, &SSL_REQUEST).await {
        Some([b'S' | b'N', ..]) => Some(Protocol::Postgres),
        _ => None,
    }
}

/// The first bytes of an answer; zeros where it is shorter.
async fn answer_to(address: SocketAddr, said: &[u8]) -> Option<[u8; 4]> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(said).await.ok()?;
    let mut first = [0; 4];
    match timeout(PATIENCE, stream.read(&mut first)).await {
        Ok(Ok(1..)) => Some(first),
        _ => None,
    }
}

async fn ask(
    own: &NeptuneConfig,
    keys: &Keys,
    clock: &SharedTimeSource,
    deadline: Instant,
    evidence: &mut Evidence,
) {
    let Ok(mut client) = Client::connect(own, bound(deadline, LONGEST)).await else {
        return;
    };
    let mut engine = None;
    for (request, kept) in [
        (Request::Status, &mut evidence.status),
        (Request::Cypher, &mut evidence.cypher),
        (Request::Sparql, &mut evidence.sparql),
    ] {
        let until = bound(deadline, LONGEST);
        let answered = timeout_at(until, client.ask(request, Some(keys), clock.now())).await;
        *kept = match answered {
            Ok(Some(answered)) => {
                if request == Request::Status {
                    engine = serde_json::from_slice::<EngineStatus>(&answered.body).ok();
                }
                Answer::of(answered.status, answered.denial, answered.code)
            }
            _ => Answer::Silent,
        };
        if *kept == Answer::Silent {
            // What was sent may still be answered, and would be taken for the next one's answer.
            match Client::connect(own, bound(deadline, LONGEST)).await {
                Ok(again) => client = again,
                Err(_) => break,
            }
        }
    }
    let unsigned = client.ask(Request::Status, None, clock.now());
    let unsigned = timeout_at(bound(deadline, LONGEST), unsigned).await.ok().flatten();
    evidence.open = unsigned.is_some_and(|answered| answered.status == 200);
    evidence.engine = engine.filter(|_| evidence.status == Answer::Ok).map(plain);
}

/// Another server may answer anything.
fn plain(engine: EngineStatus) -> EngineStatus {
    let plain = |text: String| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_ ".contains(*c)).take(40).collect()
    };
    EngineStatus {
        status: plain(engine.status),
        role: plain(engine.role),
        version: plain(engine.version),
    }
}

fn said(evidence: &Evidence) -> (Status, String) {
    let said = |(name, answer): &(&'static str, &Answer)| match answer {
        Answer::Ok => format!("{name} answers"),
        Answer::Denied(action) => format!("{name}: no policy allows {action}"),
        Answer::Signature => format!("{name}: the signature is refused"),
        Answer::Error(status, code) => format!("{name}: HTTP status {status} {code}"),
        Answer::Silent => format!("{name} did not answer in time"),
        Answer::Unknown => format!("{name} was not asked"),
    };
    let answers = evidence.answers();
    let fine = answers.iter().filter(|(_, answer)| **answer == Answer::Ok).count();
    let status = match fine {
        3 => Status::Ok,
        _ if evidence.works() => Status::Warning,
        _ => Status::Failed,
    };
    let mut found: Vec<String> = answers.iter().map(said).collect();
    if evidence.open {
        found.push("/status answers without a signature too".into());
    }
    (status, found.join("; "))
}
