//! The steps of a login, one by one. Each is bounded, and runs unless what it needs is missing.

use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use postgres_native_tls::MakeTlsConnector;
use rds_iam::Config;
use rds_iam::postgres::tls_connector;
use tokio::time::Instant;

use crate::aws::refused::Refused;
use crate::aws::{reasons, step as aws};
use crate::clock::step as clock;
use crate::configuration::step as configuration;
use crate::credentials::step as credentials;
use crate::credentials::step::Signer;
use crate::environment::Environment;
use crate::evidence::Evidence;
use crate::login::step as login;
use crate::login::step::{Tried, Via};
use crate::network::evidence::Network;
use crate::network::step as network;
use crate::report::Step;
use crate::tls::evidence::Tls;
use crate::tls::step as tls;

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
    let (configuration, step) = configuration::read(environment);
    let config = configuration.config.as_ref();
    let mut steps = vec![step];

    let (mut signer, way) = tokio::join!(
        credentials::resolve(environment, config, time, deadline),
        way(environment, config, now, deadline),
    );
    let slowly = limit.min(deadline + way.round_trip * ROUND_TRIPS);
    let (answers, tried) = tokio::join!(
        aws::ask(environment, config, signer.keys.as_ref(), time, deadline),
        attempt(config, &signer, &way, time, slowly),
    );
    let refused = Refused::by_rds(environment, config, &answers, &tried.attempt.login);
    let (reasons, reasons_steps) = match refused {
        Some(refused) => reasons::ask(&refused, now, limit).await,
        None => Default::default(),
    };
    let (facts, server_clock) = tried.database.unzip();
    let clock = answers.clock.or(server_clock);
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
    // Reading the system's roots, which OpenSSL does though they are not used, takes its time.
    let settings = config.clone();
    let connector = tokio::task::spawn_blocking(move || tls_connector(&settings).ok());
    let network::Way { network, mut steps } = network::reach(environment, config, deadline).await;
    let connector = connector.await.ok().flatten();
    let Some(address) = network.open_address() else {
        steps.push(Step::skipped("tls", "no address can be connected to"));
        return Way { network, connector, steps, ..Way::default() };
    };
    let done = tls::handshake(config, address, connector.clone(), now, deadline).await;
    steps.push(done.step);
    Way { network, tls: done.tls, round_trip: done.round_trip, connector, steps }
}

async fn attempt(
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
