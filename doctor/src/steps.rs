//! The steps of a login, one by one. Each is bounded, and runs unless what it needs is missing.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use postgres_native_tls::MakeTlsConnector;
use rds_iam::Config;
use rds_iam::postgres::tls_connector;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::aws::refused::Refused;
use crate::aws::{reasons, step as aws};
use crate::clock::step as clock;
use crate::credentials::step as credentials;
use crate::credentials::step::Signer;
use crate::engine::Engine;
use crate::environment::Environment;
use crate::evidence::Evidence;
use crate::login::evidence::Attempt;
use crate::login::step as login;
use crate::login::step::{Tried, Via};
use crate::network::evidence::Network;
use crate::network::step as network;
use crate::outcome::Outcome;
use crate::own::{self, Own};
use crate::report::Step;
use crate::tls::evidence::Tls;
use crate::tls::step as tls;
use crate::{mysql, neptune};

/// Round trips of a login and of the queries that follow it.
const ROUND_TRIPS: u32 = 14;

/// The way to the server, as far as TLS.
#[derive(Default)]
struct Way {
    network: Network,
    tls: Tls,
    /// How long the answer to the request for TLS took.
    round_trip: Duration,
    connector: Option<MakeTlsConnector>,
    /// For an engine whose protocol holds TLS.
    stream: Option<TcpStream>,
    steps: Vec<Step>,
}

/// Runs every step until `deadline`, or until `limit` where the server answers, and its network is slow.
pub(crate) async fn run(
    environment: &Environment,
    time: &SharedTimeSource,
    deadline: Instant,
    limit: Instant,
) -> (Evidence, Vec<Step>) {
    let now = time.now();
    let own::Read { configuration, own, step } = own::read(environment);
    let config = configuration.config.as_ref();
    let mut steps = vec![step];

    let (mut signer, mut way) = tokio::join!(
        credentials::resolve(environment, config, time, deadline),
        way(environment, config, now, deadline),
    );
    let slowly = limit.min(deadline + way.round_trip * ROUND_TRIPS);
    let (answers, (tried, outcome)) = tokio::join!(
        aws::ask(environment, config, signer.keys.as_ref(), time, deadline),
        attempt(config, &own, &signer, &mut way, (time, slowly)),
    );
    let engine = environment.engine();
    if engine != Engine::Postgres {
        way.tls = outcome.tls;
    }
    // A request to Neptune is no login to RDS.
    let login = (engine != Engine::Neptune).then_some(&tried.attempt.login);
    let refused = login.and_then(|login| Refused::by_rds(environment, config, &answers, login));
    let (reasons, reasons_steps) = match refused {
        Some(refused) => reasons::ask(&refused, now, limit).await,
        None => Default::default(),
    };
    let (facts, server_clock) = tried.database.unzip();
    let clock = answers.clock.or(server_clock).or(outcome.clock);
    // Neptune has no token: each request is signed.
    signer.steps.retain(|step| step.name != "token" || engine != Engine::Neptune);
    steps.append(&mut signer.steps);
    steps.extend(answers.steps);
    steps.push(clock::step(clock.as_ref(), &way.tls));
    steps.extend(way.steps);
    steps.extend(tried.steps);
    steps.extend(reasons_steps);
    let evidence = Evidence {
        environment: environment.clone(),
        configuration,
        credentials: signer.credentials,
        aws: answers.aws,
        clock,
        network: way.network,
        tls: way.tls,
        attempt: tried.attempt,
        facts,
        reasons,
        mysql: outcome.mysql,
        neptune: outcome.neptune,
        now,
    };
    (evidence, steps)
}

async fn way(
    environment: &Environment,
    config: Option<&Config>,
    now: SystemTime,
    deadline: Instant,
) -> Way {
    let Some(config) = config else {
        let skipped = |name| Step::skipped(name, "the endpoint is not known");
        return Way { steps: ["dns", "tcp", "tls"].map(skipped).into(), ..Way::default() };
    };
    if environment.engine() != Engine::Postgres {
        let network::Way { network, stream, steps } =
            network::reach(environment, config, deadline).await;
        return Way { network, stream, steps, ..Way::default() };
    }
    // Reading the system's roots, which OpenSSL does though they are not used, takes its time.
    let settings = config.clone();
    let connector = tokio::task::spawn_blocking(move || tls_connector(&settings).ok());
    let network::Way { network, mut steps, .. } =
        network::reach(environment, config, deadline).await;
    let connector = connector.await.ok().flatten();
    let Some(address) = network.open_address() else {
        steps.push(Step::skipped("tls", "no address can be connected to"));
        return Way { network, connector, steps, ..Way::default() };
    };
    let done = tls::handshake(config, address, connector.clone(), now, deadline).await;
    steps.push(done.step);
    Way { network, tls: done.tls, round_trip: done.round_trip, connector, steps, stream: None }
}

async fn attempt(
    config: Option<&Config>,
    own: &Own,
    signer: &Signer,
    way: &mut Way,
    (time, deadline): (&SharedTimeSource, Instant),
) -> (Tried, Outcome) {
    let mut outcome = Outcome::default();
    let address = way.network.open_address();
    match (config, own) {
        (Some(config), Own::Mysql(own)) => {
            let open = way.stream.take().zip(address);
            let (token, when) = (signer.token.as_ref(), (time, deadline));
            mysql::step::attempt(config, own, token, open, when, &mut outcome).await;
        }
        (Some(config), Own::Neptune(own)) => {
            let (keys, when) = (signer.keys.as_ref(), (time, deadline));
            neptune::step::attempt(config, own, keys, address, when, &mut outcome).await;
        }
        _ => return (postgres(config, signer, way, time, deadline).await, outcome),
    }
    let attempt = Attempt { login: outcome.login.clone(), ..Attempt::default() };
    let steps = std::mem::take(&mut outcome.steps);
    (Tried { attempt, steps, ..Tried::default() }, outcome)
}

async fn postgres(
    config: Option<&Config>,
    signer: &Signer,
    way: &Way,
    time: &SharedTimeSource,
    deadline: Instant,
) -> Tried {
    let ready = way.network.open_address().zip(way.connector.as_ref());
    let signed = signer.keys.as_ref().zip(signer.token.as_ref());
    let why = match (config, signed, ready) {
        (None, ..) => "the endpoint is not known",
        (_, None, _) => "there is no token",
        (_, _, None) => "no address can be connected to",
        _ if !way.tls.is_trusted() => "TLS is not established, and the token goes nowhere else",
        (Some(config), Some((keys, token)), Some((address, connector))) => {
            let via = Via { address, connector, round_trip: way.round_trip };
            return login::attempt((config, keys), token, &via, time, deadline).await;
        }
    };
    let steps = ["login", "database"].map(|name| Step::skipped(name, why)).into();
    Tried { steps, ..Tried::default() }
}
