//! The steps of a login, one by one. Each is bounded, and runs unless what it needs is missing.

use std::time::Duration;

use aws_credential_types::Credentials as Keys;
use aws_smithy_async::time::SharedTimeSource;
use postgres_native_tls::MakeTlsConnector;
use rds_iam::Config;
use rds_iam::postgres::tls_connector;
use rds_iam::token::AuthToken;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use crate::aws::evidence::{Caller, Clock};
use crate::aws::reasons::{Reasons, Refused};
use crate::aws::step as aws;
use crate::configuration::step as configuration;
use crate::credentials::evidence::Credentials;
use crate::credentials::step as credentials;
use crate::environment::Environment;
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::login::step as login;
use crate::network::evidence::{Dns, Tcp};
use crate::network::step as network;
use crate::report::{Status, Step};
use crate::tls::evidence::Tls;
use crate::tls::step as tls;

/// A clock that is off by less is not worth a word: an answer takes some of it.
const CLOCK_NOISE: i64 = 5;

/// Round trips of a login and of the queries that follow it.
const ROUND_TRIPS: u32 = 14;

/// What the way to the server came to.
#[derive(Default)]
pub(crate) struct Way {
    pub(crate) dns: Dns,
    pub(crate) tcp: Vec<(std::net::SocketAddr, Tcp)>,
    pub(crate) usual_port_answers: bool,
    /// How long the answer to the request for TLS took.
    pub(crate) round_trip: Duration,
    pub(crate) tls: Tls,
    pub(crate) connector: Option<MakeTlsConnector>,
    pub(crate) steps: Vec<Step>,
}

/// What the credentials came to.
#[derive(Default)]
pub(crate) struct Signer {
    pub(crate) credentials: Credentials,
    pub(crate) keys: Option<Keys>,
    pub(crate) token: Option<AuthToken>,
    pub(crate) steps: Vec<Step>,
}

/// Runs every step until `deadline`, or until `limit` where the server answers, and its network is slow.
pub(crate) async fn run(
    environment: &Environment,
    clock: &SharedTimeSource,
    deadline: Instant,
    limit: Instant,
) -> (Evidence, Vec<Step>) {
    let now = clock.now();
    let (config, problems, repairs, step) = configuration::read(environment);
    let mut steps = vec![step];

    let (mut signer, way) = tokio::join!(
        credentials::resolve(environment, config.as_ref(), clock, deadline),
        way(environment, config.as_ref(), now, deadline),
    );
    let slowly = limit.min(deadline + way.round_trip * ROUND_TRIPS);
    let (aws, attempt) = tokio::join!(
        aws::ask(environment, config.as_ref(), signer.keys.as_ref(), clock, deadline),
        attempt(config.as_ref(), &signer, &way, clock, slowly),
    );
    let reasons = match Refused::by_rds(environment, config.as_ref(), &aws, &attempt.login) {
        Some(refused) => refused.ask(now, limit).await,
        None => Reasons::default(),
    };
    let clock = aws.clock.or(attempt.clock);
    steps.append(&mut signer.steps);
    steps.extend(aws.steps);
    steps.push(clock_step(clock.as_ref(), &way));
    steps.extend(way.steps);
    steps.extend(attempt.steps);
    steps.extend(reasons.steps);
    let evidence = Evidence {
        environment: environment.clone(),
        config,
        problems,
        repairs,
        credentials: signer.credentials,
        caller: aws.caller,
        clock,
        dns: way.dns,
        tcp: way.tcp,
        usual_port_answers: way.usual_port_answers,
        tls: way.tls,
        login: attempt.login,
        accepted_port: attempt.accepted_port,
        facts: attempt.facts,
        databases: attempt.databases,
        rds: aws.rds,
        rds_log: reasons.log,
        rds_metrics: reasons.metrics,
        simulation: reasons.simulation,
        now,
    };
    (evidence, steps)
}

async fn way(
    environment: &Environment,
    config: Option<&Config>,
    now: std::time::SystemTime,
    deadline: Instant,
) -> Way {
    let mut way = Way::default();
    let Some(config) = config else {
        for name in ["dns", "tcp", "tls"] {
            way.steps.push(Step::skipped(name, "the endpoint is not known"));
        }
        return way;
    };
    // Reading the system's roots, which OpenSSL does though they are not used, takes its time.
    let settings = config.clone();
    let connector = tokio::task::spawn_blocking(move || tls_connector(&settings).ok());
    let addresses = network::resolve(config, deadline, &mut way).await;
    network::dial(environment, config, &addresses, deadline, &mut way).await;
    way.connector = connector.await.ok().flatten();
    match network::open_address(&way) {
        Some(address) => {
            let connector = way.connector.clone();
            tls::handshake(config, address, connector, now, deadline, &mut way).await;
        }
        None => way.steps.push(Step::skipped("tls", "no address can be connected to")),
    }
    way
}

#[derive(Default)]
pub(crate) struct Attempt {
    pub(crate) login: Login,
    pub(crate) facts: Option<crate::database::evidence::Facts>,
    pub(crate) databases: Vec<String>,
    pub(crate) accepted_port: Option<u16>,
    pub(crate) clock: Option<Clock>,
    pub(crate) steps: Vec<Step>,
}

async fn attempt(
    config: Option<&Config>,
    signer: &Signer,
    way: &Way,
    clock: &SharedTimeSource,
    deadline: Instant,
) -> Attempt {
    let mut attempt = Attempt::default();
    let trusted = matches!(&way.tls, Tls::Presented(p) if p.verdict == crate::tls::evidence::Verdict::Trusted);
    let ready = network::open_address(way).zip(way.connector.as_ref());
    let signed = signer.keys.as_ref().zip(signer.token.as_ref());
    let why = match (config, signed, ready) {
        (None, ..) => "the endpoint is not known",
        (_, None, _) => "there is no token",
        (_, _, None) => "no address can be connected to",
        _ if !trusted => "TLS is not established, and the token goes nowhere else",
        (Some(config), Some((keys, token)), Some((address, connector))) => {
            let via = login::Via { address, connector, round_trip: way.round_trip };
            login::attempt((config, keys), token, &via, clock, deadline, &mut attempt).await;
            return attempt;
        }
    };
    for name in ["login", "database"] {
        attempt.steps.push(Step::skipped(name, why));
    }
    attempt
}

fn clock_step(clock: Option<&Clock>, way: &Way) -> Step {
    let early = matches!(&way.tls, Tls::Presented(p) if p.seconds_old < 0);
    let (status, found) = match clock {
        None if early => {
            (Status::Unknown, "unknown, but the server's certificate is not valid yet".to_owned())
        }
        None => (Status::Unknown, "nobody's clock was seen".to_owned()),
        Some(Clock { ahead, source }) if ahead.abs() <= CLOCK_NOISE => {
            (Status::Ok, format!("agrees with {source}"))
        }
        Some(Clock { ahead, source }) => {
            let way = if *ahead > 0 { "ahead of" } else { "behind" };
            let status = if ahead.abs() >= 60 { Status::Failed } else { Status::Warning };
            (status, format!("{} s {way} {source}", ahead.abs()))
        }
    };
    Step::new("clock", status, Duration::ZERO, found)
}

/// The earlier of `deadline` and `longest` from now; leaves time for later steps.
pub(crate) fn bound(deadline: Instant, longest: Duration) -> Instant {
    deadline.min(Instant::now() + longest)
}

pub(crate) fn iso8601(at: std::time::SystemTime) -> String {
    let whole = OffsetDateTime::from(at).replace_nanosecond(0);
    whole.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

impl Caller {
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Is { account, .. } => Some(account),
            _ => None,
        }
    }
}
