//! A model: for any batch and any fault, every acknowledged message is in the database, nothing is there
//! twice, and a FIFO group keeps its order. `MODEL` sets how many batches.

use crate::common;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use common::{check_event, check_log, start};
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World};
use serde_json::{Value, json};

/// One of them goes together with its entry as a statement, the other step by step.
const QUERIES: [(&str, &str); 2] = [
    (
        "together",
        "/*+++\nmode = \"write\"\nparams = [{ name = \"n\" }, { name = \"id\", from = \"message_id\" }, { name = \"nap\", default = 0 }]\n+++*/
         INSERT INTO effects (id, n) SELECT $2, $1::int FROM pg_sleep($3::float8) RETURNING n",
    ),
    (
        "stepwise",
        "/*+++\nmode = \"write\"\nresult = \"one\"\nparams = [{ name = \"n\" }, { name = \"id\", from = \"message_id\" }, { name = \"nap\", default = 0 }]\n+++*/
         INSERT INTO effects (id, n) SELECT $2, $1::int FROM pg_sleep($3::float8) RETURNING n",
    ),
];
const TABLE: &str =
    "CREATE TABLE effects (seen bigserial, id text NOT NULL, n int NOT NULL CHECK (n >= 0));
    GRANT INSERT, SELECT ON effects TO iam_rw_user; GRANT USAGE ON effects_seen_seq TO iam_rw_user";
const FAULTS: [Fault; 7] = [
    Fault::None,
    Fault::ResetBeforeLogin,
    Fault::ResetBeforeQuery,
    Fault::ResetBeforeAnswer,
    Fault::ResetAtCommit,
    Fault::Drop,
    Fault::Throttle,
];

struct Record {
    id: String,
    group: String,
    body: Option<String>,
}

/// A record: mostly good, sometimes seen before, slow, or of no use.
fn record(query: &str, number: usize, seen: &[String], random: &mut fastrand::Rng) -> Record {
    // The ledger tells queries apart, so this does too.
    let id = match random.u32(0..8) {
        0 if !seen.is_empty() => seen[random.usize(0..seen.len())].clone(),
        _ => format!("{query}-{number}"),
    };
    let body = match random.u32(0..24) {
        0 => None,
        1 => Some("not JSON".to_owned()),
        2 => Some(r#"{"n":"many"}"#.to_owned()),
        3 => Some(r#"{"n":-1}"#.to_owned()),
        4 => Some(format!(r#"{{"n":{number},"nap":0.3}}"#)),
        _ => Some(format!(r#"{{"n":{number}}}"#)),
    };
    Record { id, group: format!("g{}", random.u32(0..3)), body }
}

fn event(records: &[Record], fifo: bool) -> Vec<u8> {
    let arn = format!("arn:aws:sqs:us-east-1:123456789012:q{}", if fifo { ".fifo" } else { "" });
    let records: Vec<Value> = records
        .iter()
        .map(|record| {
            json!({
                "messageId": record.id, "body": record.body, "eventSource": "aws:sqs", "eventSourceARN": arn,
                "attributes": {"SentTimestamp": "1795435200000", "MessageGroupId": record.group}
            })
        })
        .collect();
    json!({ "Records": records }).to_string().into()
}

/// A batch. A queue never has one message in a batch twice in two groups; nor does this one.
fn records(
    query: &str,
    batch: usize,
    fifo: bool,
    seen: &[String],
    random: &mut fastrand::Rng,
) -> Vec<Record> {
    let mut ids = HashSet::new();
    (0..random.usize(1..30))
        .map(|n| record(query, batch * 100 + n, seen, random))
        .filter(|record| !fifo || ids.insert(record.id.clone()))
        .collect()
}

/// Invokes the function under a fault, and waits for what it left running: what was under way when the
/// function gave up may still happen, and is over soon.
async fn invoke_under(
    world: &World,
    function: &mut Function,
    fault: Fault,
    event: Vec<u8>,
) -> Outcome {
    match fault {
        Fault::Drop => world.server.gate.set_fault(Fault::Drop),
        fault => world.server.gate.set_fault_once(fault),
    }
    let outcome = function.invoke(event).await;
    world.server.gate.set_fault(Fault::None);
    let running =
        "SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_rw_user' AND state <> 'idle'";
    while !world.rows(running).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    check_event(&outcome);
    outcome
}

/// The ids of the records that were not acknowledged.
fn failed(outcome: &Outcome, records: &[Record]) -> HashSet<String> {
    match outcome {
        Outcome::Error(_) => records.iter().map(|record| record.id.clone()).collect(),
        Outcome::Response(body) => {
            let response: Value = serde_json::from_slice(body).unwrap();
            let failures = response["batchItemFailures"].as_array().unwrap().iter();
            failures.map(|one| one["itemIdentifier"].as_str().unwrap().to_owned()).collect()
        }
    }
}

fn check_effects(records: &[Record], failed: &HashSet<String>, after: &[String], case: &str) {
    let there: HashSet<&String> = after.iter().collect();
    assert_eq!(there.len(), after.len(), "{case}: an effect occurs twice");
    for record in records.iter().filter(|record| !failed.contains(&record.id)) {
        assert!(there.contains(&record.id), "{case}: {} is not there", record.id);
    }
}

/// New effects of a group are in order, and nothing of it is acknowledged after its first failure.
fn check_order(
    records: &[Record],
    failed: &HashSet<String>,
    before: &HashSet<String>,
    after: &[String],
    case: &str,
) {
    let place: HashMap<&String, usize> =
        after.iter().enumerate().map(|(place, id)| (id, place)).collect();
    for group in ["g0", "g1", "g2"] {
        let members = || records.iter().filter(|record| record.group == group);
        let new = members().filter(|record| !before.contains(&record.id));
        let new: Vec<usize> = new.filter_map(|record| place.get(&record.id).copied()).collect();
        assert!(new.is_sorted(), "{case}: group {group} out of order");
        let after_failure = members().skip_while(|record| !failed.contains(&record.id));
        for record in after_failure {
            assert!(failed.contains(&record.id), "{case}: {} was acknowledged", record.id);
        }
    }
}

#[tokio::test]
async fn acknowledged_messages_are_committed_once() {
    let batches: usize = std::env::var("MODEL").map_or(120, |text| text.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = start().await;
    world.run(TABLE).await;
    world.queries(&QUERIES);
    let mut all_seen: HashMap<&str, Vec<String>> = HashMap::new();
    let (mut acknowledged_all, mut failed_all) = (0, 0);
    let mut functions: HashMap<&str, Function> = HashMap::new();
    for batch in 0..batches {
        let query = QUERIES[random.usize(0..2)].0;
        let fifo = random.bool();
        let seen = all_seen.entry(query).or_default();
        let records = records(query, batch, fifo, seen, &mut random);
        world.set("QUERY", query);
        if !functions.contains_key(query) {
            let function = world.function_with_timeout(Duration::from_secs(1)).await;
            functions.insert(query, function);
        }
        let effects = "SELECT id FROM effects ORDER BY seen";
        let before: HashSet<String> =
            world.rows(effects).await.iter().map(|row| row.get(0)).collect();
        let fault = FAULTS[random.usize(0..FAULTS.len())];
        let function = functions.get_mut(query).unwrap();
        let outcome = invoke_under(&world, function, fault, event(&records, fifo)).await;
        let failed = failed(&outcome, &records);
        let after: Vec<String> = world.rows(effects).await.iter().map(|row| row.get(0)).collect();
        let case = format!("seed {seed}, batch {batch}");
        check_effects(&records, &failed, &after, &case);
        if fifo {
            check_order(&records, &failed, &before, &after, &case);
        }
        failed_all += failed.len();
        acknowledged_all += records.iter().filter(|one| !failed.contains(&one.id)).count();
        seen.extend(records.into_iter().map(|record| record.id));
    }
    println!("{batches} batches, {acknowledged_all} records acknowledged, {failed_all} failed");
    assert!(acknowledged_all > batches && failed_all > 0);
    for function in functions.into_values() {
        check_log(&function.stop().await);
    }
    world.stop().await;
}
