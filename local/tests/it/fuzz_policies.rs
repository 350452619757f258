//! Policies from anywhere: mutated documents go through the parser, and none makes it panic or
//! hang. `make test` gives it some seconds; `FUZZ_EXECUTIONS` sets a number.

use crate::common;

use std::time::Duration;

use rds_local::iam::{Kind, Policy};
use rds_local::testing::mutate;
use serde_json::Value;
use tokio::time::Instant;

const A_WHILE: Duration = Duration::from_secs(10);

/// What parsers trip over.
const PIECES: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\u0000",
    "\u{1f418}",
    "${aws:username}",
    "${",
    "${*}",
    "*",
    "?",
    "null",
    "1e999",
    "\"Condition\":{\"StringLike\":{\"aws:userid\":\"*\"}},",
    "ForAllValues:",
    "IfExists",
    "arn:aws:rds-db:*:*:dbuser:*/*",
];

/// The documents of the table of verdicts, each as a text.
fn seeds() -> Vec<String> {
    let file = common::root().join("local/tests/corpus/policies/cases.json");
    let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut seeds: Vec<String> = cases
        .iter()
        .flat_map(|case| {
            let identity = case["identity"].as_array().unwrap().iter();
            identity.chain(["boundary", "session", "trust"].map(|name| &case[name]))
        })
        .filter(|document| !document.is_null())
        .map(Value::to_string)
        .collect();
    seeds.sort();
    seeds.dedup();
    seeds
}

#[test]
fn no_document_makes_the_parser_panic() {
    let executions: Option<u64> =
        std::env::var("FUZZ_EXECUTIONS").ok().map(|count| count.parse().unwrap());
    let seeds = seeds();
    assert!(seeds.len() >= 60);
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let start = Instant::now();
    let (mut count, mut parsed, mut as_policies) = (0u64, 0u64, 0u64);
    while executions.map_or_else(|| start.elapsed() < A_WHILE, |executions| count < executions) {
        for _ in 0..100 {
            let mut text = seeds[random.usize(0..seeds.len())].clone();
            mutate(&mut text, &seeds, &PIECES, &mut random);
            parsed += u64::from(serde_json::from_str::<Value>(&text).is_ok());
            for kind in [Kind::Identity, Kind::Trust] {
                let result = Policy::parse(&text, kind);
                as_policies += u64::from(result.is_ok());
                // An error is for a person: it does not repeat the document.
                assert!(result.err().is_none_or(|why| why.len() < text.len() + 400), "{text}");
            }
            count += 1;
        }
    }
    println!("{count} documents, {parsed} of them JSON, {as_policies} accepted, no panic");
    assert!(count > 1000 && parsed > 100 && as_policies > 10, "{count} {parsed} {as_policies}");
}
