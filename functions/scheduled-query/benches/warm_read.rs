//! Warm reads over the project's own Runtime API: a plain one, one that calls a function of the user's,
//! and one that leaves a setting in the session. The latter two release what they may have left, in their
//! own flight. `BESIDE` names another build of the function to measure in turn.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::PathBuf;
use std::time::Duration;

use rds_local::testing::beside::median;
use rds_local::testing::{Function, World};
use tokio::time::Instant;

const ROUNDS: usize = 2000;
const QUERIES: [(&str, &str); 3] = [
    (
        "plain",
        "SELECT customer_id, name, email, age FROM customers WHERE age >= 26 ORDER BY age DESC",
    ),
    ("function", "SELECT own(customer_id) AS n FROM customers"),
    ("setting", "SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS zone, age FROM customers"),
];
/// What a release may add to a plain read, in milliseconds.
const BOUND: f64 = 0.4;

fn event(query: usize) -> String {
    format!(r#"{{"query":"{}"}}"#, QUERIES[query].0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let function = PathBuf::from(env!("CARGO_BIN_EXE_scheduled-query"));
    let mut world = World::start(&function).await;
    world.queries(&QUERIES);
    world.run("CREATE FUNCTION own(n int) RETURNS int LANGUAGE sql AS 'SELECT n'").await;
    let builds: Vec<PathBuf> = [Some(function), std::env::var_os("BESIDE").map(PathBuf::from)]
        .into_iter()
        .flatten()
        .collect();
    let mut functions = Vec::new();
    for build in &builds {
        let timeout = Duration::from_secs(30);
        functions.push(Function::start(build, &world.variables, timeout).await);
    }
    let mut times = vec![[const { Vec::new() }; QUERIES.len()]; builds.len()];
    for round in 0..ROUNDS {
        for at in 0..builds.len() {
            let build = (round + at) % builds.len();
            // The first after the other build's finds cold caches.
            functions[build].ok(event(0)).await;
            for at in 0..QUERIES.len() {
                let query = (round + at) % QUERIES.len();
                let start = Instant::now();
                functions[build].ok(event(query)).await;
                times[build][query].push(start.elapsed());
            }
        }
    }
    println!("warm reads, {ROUNDS} in turn, medians");
    let mut within = true;
    for (build, times) in builds.iter().zip(times) {
        let [plain, function, setting] = times.map(median);
        println!(
            "  plain {plain:.3} ms, with a function {:+.3} ms, leaving a setting {:+.3} ms  ({})",
            function - plain,
            setting - plain,
            build.display()
        );
        within &= function - plain < BOUND && setting - plain < BOUND;
    }
    for function in functions {
        function.stop().await;
    }
    world.stop().await;
    assert!(within, "a release takes too long");
}
