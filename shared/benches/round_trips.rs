//! How many round trips a read, a write and a login take, through a network of known latency: the
//! gate injects it, the TCP handshake's included. Medians, in units of one round trip.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Database, run};
use rds_iam::Session;
use rds_local::Options;
use tokio::time::Instant;

const ROUND_TRIP: Duration = Duration::from_millis(100);
const RUNS: usize = 9;
const READ: &str = "SELECT * FROM customers";
const WRITE: &str =
    "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/ UPDATE marks SET note = 'x'";

async fn in_round_trips(session: &Session, query: &str) -> f64 {
    let start = Instant::now();
    run(session, query, "{}").await.unwrap();
    start.elapsed().as_secs_f64() / ROUND_TRIP.as_secs_f64()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let within = runtime.block_on(async {
        let latency = ROUND_TRIP / 2;
        let database = Database::start(|options| Options { latency, ..options }).await;
        let mut counts = [const { Vec::new() }; 4];
        for _ in 0..RUNS {
            let session = database.session(&[]);
            counts[0].push(in_round_trips(&session, READ).await);
            counts[1].push(in_round_trips(&session, READ).await);
            counts[2].push(in_round_trips(&session, WRITE).await);
            let direct = database.session(&[("PGSSLNEGOTIATION", "direct")]);
            counts[3].push(in_round_trips(&direct, READ).await);
        }
        database.server.stop().await.unwrap();
        let bounds = [6.3, 1.2, 2.2, 5.3];
        let names = ["cold read", "warm read", "warm write", "cold read, direct TLS"];
        println!(
            "{:<22} {:>6} {:>6} {:>6} {:>6}",
            "round trips", "median", "least", "most", "bound"
        );
        let mut within = true;
        for ((name, bound), mut counts) in names.iter().zip(bounds).zip(counts) {
            counts.sort_by(f64::total_cmp);
            let median = counts[RUNS / 2];
            println!(
                "{name:<22} {median:>6.2} {:>6.2} {:>6.2} {bound:>6.1}",
                counts[0],
                counts[RUNS - 1]
            );
            within &= median <= bound;
        }
        within
    });
    assert!(within, "a median is over its bound");
}
