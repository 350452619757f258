//! Events from anywhere: mutated ones never make parsing panic, and never lose a record's id.
//!
//! `make test` gives it half a minute; `make soak` sets `FUZZ_EXECUTIONS`.

use std::time::Duration;

use rds_iam::json::Object;
use rds_iam::query::{Parameters, Query};
use rds_local::testing::{mutate, root};
use serde_json::value::RawValue;

use crate::envelopes::Envelopes;
use crate::event::Event;

const HALF_A_MINUTE: Duration = Duration::from_secs(30);

/// What parsers trip over.
const PIECES: [&str; 20] = [
    "null",
    "{}",
    "[]",
    "\"\"",
    "\\u0000",
    "\\ud800",
    "\\\"",
    "{\"Records\":[",
    "}",
    "]",
    ",",
    "\"body\":null",
    "\"messageId\":",
    "\"s3\":{",
    "%",
    "+",
    "1e999",
    "\"Type\":\"Notification\"",
    "\"detail-type\":",
    "\u{1f418}",
];

/// The corpus is what the event files hold: every source and case.
fn seeds() -> Vec<String> {
    let folder = root(env!("CARGO_MANIFEST_DIR")).join("events/event-query");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files.into_iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// What a queue, a stream or a pipe may know a record by.
fn ids(record: &Object<'_>) -> Vec<String> {
    let inner = |name: &str, id: &str| record.object(name)?.text(id);
    [
        record.text("messageId"),
        record.text("eventID"),
        inner("kinesis", "sequenceNumber"),
        inner("dynamodb", "SequenceNumber"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn no_event_makes_it_panic_or_lose_a_record() {
    let executions: Option<u64> =
        std::env::var("FUZZ_EXECUTIONS").ok().map(|count| count.parse().unwrap());
    let seeds = seeds();
    assert!(seeds.len() >= 15);
    let query = Query::parse(
        "q",
        "/*+++\nmode = \"write\"\nparams = [{ name = \"a\", from = \"/detail/orderId\", required = false }, \
         { name = \"b\", from = \"key\", required = false }, { name = \"c\", from = \"\", type = \"json\", required = false }, \
         { name = \"d\", from = \"timestamp\", required = false }, { name = \"total\", required = false }]\n+++*/ SELECT 1",
    )
    .unwrap();
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let start = tokio::time::Instant::now();
    let (mut count, mut messages) = (0u64, 0u64);
    while executions.map_or_else(|| start.elapsed() < HALF_A_MINUTE, |wanted| count < wanted) {
        for _ in 0..1000 {
            let mut text = seeds[random.usize(0..seeds.len())].clone();
            mutate(&mut text, &seeds, &PIECES, &mut random);
            count += 1;
            let expected =
                Envelopes { sns: random.bool(), s3: random.bool(), eventbridge: random.bool() };
            match Event::parse(&text, expected) {
                Ok(Event::Queue(deliveries)) => {
                    // Each record is there, under its own id.
                    let records: Vec<&RawValue> = match Object::parse(&text) {
                        Some(object) => object.array("Records").unwrap(),
                        None => serde_json::from_str(&text).unwrap(),
                    };
                    assert_eq!(deliveries.len(), records.len(), "seed {seed}: {text}");
                    for (delivery, record) in deliveries.iter().zip(records) {
                        let known = ids(&Object::parse(record.get()).unwrap());
                        assert!(known.contains(&delivery.id), "seed {seed}: {text}");
                        for message in delivery.messages.iter().flatten() {
                            messages += 1;
                            assert!(!message.id.is_empty() || message.body != text);
                            let _ = Parameters::bind(&query, &message.values(&query));
                            let _ = message.ledger_id(&query);
                        }
                    }
                }
                Ok(Event::Whole(deliveries)) => {
                    for message in deliveries.iter().flat_map(|one| one.messages.iter().flatten()) {
                        messages += 1;
                        assert!(!message.id.is_empty(), "seed {seed}: {text}");
                        let _ = Parameters::bind(&query, &message.values(&query));
                        let _ = message.ledger_id(&query);
                    }
                }
                Ok(Event::Url(delivery)) => {
                    assert!(!delivery.id.is_empty(), "seed {seed}: {text}");
                    for message in delivery.messages.iter().flatten() {
                        let _ = Parameters::bind(&query, &message.values(&query));
                        let _ = message.ledger_id(&query);
                    }
                }
                Ok(Event::Direct { .. }) => {}
                Err(error) => {
                    assert!(error.to_string().len() < 600, "seed {seed}: {error}");
                }
            }
        }
    }
    println!("{count} executions, {messages} messages, no panic");
    assert!(count >= 1000 && messages > 1000, "{count}, {messages}");
}
