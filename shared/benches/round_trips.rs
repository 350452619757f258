//! How many round trips a read, a write and a login take, through a network of known latency: the
//! gate injects it, the TCP handshake's included. In units of one round trip, as lines of JSON, which
//! `bench/run.py` reads. Fails when a median is over its bound.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[allow(dead_code, unreachable_pub, reason = "a benchmark uses its part of this")]
#[path = "../tests/it/common/mod.rs"]
mod common;

use std::time::Duration;

use common::{Database, prepare, run};
use rds_iam::Session;
use rds_iam::Work;
use rds_iam::deadline::Deadline;
use rds_iam::session::BatchItem;
use rds_local::Options;
use serde_json::json;
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

/// A batch of this many good writes, entered into the ledger, on a warm connection.
const BATCH: usize = 100;
const BATCH_ROUND_TRIP: Duration = Duration::from_millis(40);

async fn batch() -> bool {
    let latency = BATCH_ROUND_TRIP / 2;
    let database = Database::start(|options| Options { latency, ..options }).await;
    let session = database.session(&[]);
    run(&session, READ, "{}").await.unwrap();
    let insert = "/*+++\nmode = \"write\"\nparams = [{ name = \"id\" }]\n+++*/
        INSERT INTO marks (id) VALUES ($1) RETURNING id";
    let mut counts = Vec::new();
    for round in 0..RUNS {
        let messages: Vec<_> = (0..BATCH)
            .map(|n| {
                (
                    prepare(insert, &format!(r#"{{"id":{}}}"#, round * BATCH + n)),
                    format!("{round}-{n}"),
                )
            })
            .collect();
        let items: Vec<BatchItem<'_>> = messages
            .iter()
            .map(|((query, parameters), message_id)| BatchItem {
                query,
                parameters,
                message_id,
                keeps_rows: false,
            })
            .collect();
        let start = Instant::now();
        let deadline = Deadline::after(Duration::from_secs(30));
        let outcomes = session.run_batch(&items, &mut Work::new(deadline)).await.unwrap();
        counts.push(start.elapsed().as_secs_f64() / BATCH_ROUND_TRIP.as_secs_f64());
        assert!(outcomes.iter().all(Result::is_ok));
    }
    assert_eq!(database.number("SELECT count(*) FROM marks").await, (RUNS * BATCH) as i64);
    database.server.stop().await.unwrap();
    print_line("batch of 100 writes", &mut counts, 12.0)
}

fn print_line(name: &str, counts: &mut [f64], bound: f64) -> bool {
    counts.sort_by(f64::total_cmp);
    let (what, counts_read) = (json!(format!("round trips: {name}")), json!(counts));
    println!(
        r#"{{"part":"round_trips","what":{what},"unit":"round trips","values":{{"here":{counts_read},"the bound":[{bound}]}}}}"#
    );
    counts[counts.len() / 2] <= bound
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
        let mut within = true;
        for ((name, bound), mut counts) in names.iter().zip(bounds).zip(counts) {
            within &= print_line(name, &mut counts, bound);
        }
        within &= batch().await;
        within
    });
    assert!(within, "a median is over its bound");
}
