//! The fault matrix: each fault, met by a cold, a warm and a frozen sandbox, by a read and by a write of a
//! message. Whatever the first delivery says, its kind is a documented one, it comes in time, and when the
//! fault is over, the message that comes again has taken effect once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::time::Duration;

use common::{ask, batch, event, order};
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World};
use serde_json::json;
use tokio::time::Instant;

const TIMEOUT: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Cold,
    Warm,
    Frozen,
}

const KINDS: [&str; 6] = [
    "Network.Unreachable",
    "Network.Timeout",
    "Auth.Rejected",
    "Database.Unavailable",
    "Query.Timeout",
    "Query.OutcomeUnknown",
];

async fn sandbox(world: &World, state: State) -> Function {
    let mut function = world.function_with_timeout(TIMEOUT).await;
    if state != State::Cold {
        function.ok(event("customers.json")).await;
    }
    if state == State::Frozen {
        assert!(function.sandbox.freeze());
    }
    function
}

/// Whether the delivery was acknowledged.
fn acknowledged(what: &str, outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Response(body) => {
            let text = String::from_utf8_lossy(body);
            text.contains("row_count") || text == r#"{"batchItemFailures":[]}"#
        }
        Outcome::Error(_) => {
            let error = outcome.error().unwrap();
            assert!(KINDS.contains(&error.error_type.as_str()), "{what}: {error:?}");
            false
        }
    }
}

#[tokio::test]
async fn every_fault_in_every_state_ends_in_one_effect() {
    let mut world = common::start().await;
    let faults = [
        Fault::Stall,
        Fault::Reset,
        Fault::Refuse,
        Fault::ResetBeforeLogin,
        Fault::ResetBeforeQuery,
        Fault::ResetBeforeAnswer,
        Fault::ResetAtCommit,
        Fault::Throttle,
        Fault::Restart,
        Fault::ReadOnly,
    ];
    let mut number = 0;
    for fault in faults {
        for state in [State::Cold, State::Warm, State::Frozen] {
            let mut function = sandbox(&world, state).await;
            for writes in [false, true] {
                let what = format!("{fault:?}, {state:?}, writes: {writes}");
                number += 1;
                let message = if writes {
                    batch([order(number)]).into_bytes()
                } else {
                    event("customers.json")
                };
                world.server.inject(fault).await.unwrap();
                // The sandbox thaws into the fault.
                function.sandbox.thaw();
                let start = Instant::now();
                let first = function.invoke(message.clone()).await;
                assert!(start.elapsed() < TIMEOUT, "{what}: {:?}", start.elapsed());
                let done = acknowledged(&what, &first);
                world.server.inject(Fault::None).await.unwrap();
                let again = function.invoke(message).await;
                assert!(acknowledged(&what, &again), "{what}: {again:?} after {first:?}");
                let sql = format!("SELECT COUNT(*) FROM orders WHERE order_id = 'order-{number}'");
                assert_eq!(ask(&world, &sql).await, if writes { "1" } else { "0" }, "{what}");
                // What a restart or one reset connection does is over by the next login.
                if matches!(fault, Fault::Restart) {
                    assert!(done, "{what}: {first:?}");
                }
                if state == State::Frozen {
                    function.sandbox.freeze();
                }
            }
            function.sandbox.thaw();
            let log = function.stop().await;
            assert!(!log.iter().any(|line| line.contains("X-Amz") || line.contains("panic")));
        }
    }
    world.stop().await;
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
    let mut function = world.function_with_timeout(Duration::from_secs(2)).await;
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
