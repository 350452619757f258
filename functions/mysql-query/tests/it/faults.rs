//! The fault matrix: each fault, met by a cold, a warm and a frozen sandbox, by a read and by a write of a
//! message. Whatever the first delivery says, its kind is a documented one, it comes in time, and when the
//! fault is over, the message that comes again has taken effect once.

use crate::common;

use std::time::Duration;

use common::{ask, batch, event, order};
use rds_iam::session::PROBE_AFTER;
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World, matrix};
use serde_json::json;
use tokio::time::{Instant, sleep_until};

const TIMEOUT: Duration = Duration::from_secs(4);

/// Rows at a time: each has a MariaDB.
const AT_ONCE: usize = 4;
const DOCUMENT: (&str, &str) = ("docs/mysql.md", include_str!("../../../../docs/mysql.md"));

/// The rows of the document, in its order.
const ROWS: [(&str, Fault); 10] = [
    ("stall", Fault::Stall),
    ("reset", Fault::Reset),
    ("refuse", Fault::Refuse),
    ("reset-before-login", Fault::ResetBeforeLogin),
    ("reset-before-query", Fault::ResetBeforeQuery),
    ("reset-before-answer", Fault::ResetBeforeAnswer),
    ("reset-at-commit", Fault::ResetAtCommit),
    ("throttle", Fault::Throttle),
    ("restart", Fault::Restart),
    ("read-only", Fault::ReadOnly),
];

async fn warm(world: &World) -> Function {
    let mut function = world.function_with_timeout(TIMEOUT).await;
    function.ok(event("customers.json")).await;
    function
}

async fn frozen(world: &World) -> Function {
    let function = warm(world).await;
    assert!(function.sandbox.freeze());
    function
}

/// The result of a delivery, in the document's words.
fn cell(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Response(body) => {
            let text = String::from_utf8_lossy(body);
            let done = text.contains("row_count") || text == r#"{"batchItemFailures":[]}"#;
            if done { "ok" } else { "the message fails" }.to_owned()
        }
        Outcome::Error(_) => outcome.error().unwrap().error_type,
    }
}

/// The cells of one fault, each in a sandbox of its own.
async fn row(name: &'static str, fault: Fault) -> Vec<String> {
    let mut world = common::start().await;
    let mut asleep = vec![frozen(&world).await, frozen(&world).await];
    let since = Instant::now();
    let mut cells = Vec::new();
    for (writes, kind) in [(false, "read"), (true, "write")] {
        let cold = world.function_with_timeout(TIMEOUT).await;
        cells.push(meet(&mut world, fault, cold, writes, &format!("{name}, {kind}, cold")).await);
        let warm = warm(&world).await;
        cells.push(meet(&mut world, fault, warm, writes, &format!("{name}, {kind}, warm")).await);
        // After that long, the connection is probed.
        sleep_until(since + PROBE_AFTER + Duration::from_millis(100)).await;
        let frozen = asleep.remove(0);
        cells.push(
            meet(&mut world, fault, frozen, writes, &format!("{name}, {kind}, frozen")).await,
        );
    }
    world.stop().await;
    cells
}

/// A sandbox's answer under a fault. Then the message comes again, and has taken effect once.
async fn meet(
    world: &mut World,
    fault: Fault,
    mut function: Function,
    writes: bool,
    what: &str,
) -> String {
    let message = if writes { batch([order(what)]).into_bytes() } else { event("customers.json") };
    world.server.inject(fault).await.unwrap();
    // A frozen sandbox thaws into the fault.
    function.sandbox.thaw();
    let first = function.invoke(message.clone()).await;
    world.server.inject(Fault::None).await.unwrap();
    let again = function.invoke(message).await;
    assert_eq!(cell(&again), "ok", "{what}: {again:?} after {first:?}");
    let sql = format!("SELECT COUNT(*) FROM orders WHERE order_id = 'order-{what}'");
    assert_eq!(ask(world, &sql).await, if writes { "1" } else { "0" }, "{what}");
    let log = function.stop().await;
    assert!(!log.iter().any(|line| line.contains("X-Amz") || line.contains("panic")), "{what}");
    cell(&first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_in_every_state_ends_as_documented_and_in_one_effect() {
    matrix::holds(DOCUMENT, AT_ONCE, ROWS, row).await;
}

#[tokio::test]
async fn a_slow_statement_ends_on_the_server_too() {
    let mut world = common::start().await;
    let slow = "SELECT COUNT(*) AS n FROM seq_1_to_100000000 a, seq_1_to_100000000 b";
    let slow_write = format!(
        "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/\nINSERT INTO orders (order_id, total) {}",
        slow.replace("COUNT(*) AS n", "COUNT(*), 1")
    );
    world.queries(&[("slow", slow), ("slow_write", &slow_write), ("quick", "SELECT 1 AS one")]);
    world.set("QUERY", "slow_write");
    let mut function = world.function().await;
    function.ok(r#"{"query":"quick"}"#).await;
    function.sandbox.set_timeout(Duration::from_secs(2));
    for name in ["slow", "slow_write"] {
        let error = function.error(json!({ "query": name }).to_string()).await;
        assert_eq!(error.error_type, "Query.Timeout", "{name}: {}", error.error_message);
    }
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'iam_rw_user' AND command = 'Query'";
    assert_eq!(ask(&world, running).await, "0");
    function.ok(r#"{"query":"quick"}"#).await;
    assert_eq!(world.logins().0, 1, "the connection outlives its statement's time-out");
    let ledger = "SELECT COUNT(*) FROM rds_iam.message_ledger";
    assert_eq!(ask(&world, ledger).await, "0", "what was rolled back may run again");
    function.stop().await;
    world.stop().await;
}
