//! Events from anywhere: mutated ones never make parsing panic, and never lose a record's id.
//!
//! `make test` gives it some seconds; `make soak` sets `FUZZ_EXECUTIONS`.

use std::time::Duration;

use rds_iam::json::Object;
use rds_iam::query::{Parameters, Query};
use rds_local::testing::{mutate, root};
use serde_json::value::RawValue;

use crate::envelopes::Envelopes;
use crate::event::Event;

const A_WHILE: Duration = Duration::from_secs(10);

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

const QUERY: &str = r#"/*+++
mode = "write"
params = [
    { name = "a", from = "/detail/orderId", required = false },
    { name = "b", from = "key", required = false },
    { name = "c", from = "", type = "json", required = false },
    { name = "d", from = "timestamp", required = false },
    { name = "total", required = false },
]
+++*/ SELECT 1"#;

/// The messages that were read, by what delivered them.
#[derive(Debug, Default)]
struct Seen {
    queue: u64,
    whole: u64,
    url: u64,
}

/// An event's records as they were sent; the event itself, if it has none.
fn records(text: &str) -> Vec<&str> {
    let records = match Object::parse(text) {
        Some(object) => object.array("Records"),
        None => Some(serde_json::from_str::<Vec<&RawValue>>(text).unwrap()),
    };
    records.map_or_else(|| vec![text], |all| all.into_iter().map(RawValue::get).collect())
}

/// The text `inner` of a record's member `outer`.
fn inner(record: &Object<'_>, outer: &str, inner: &str) -> Option<String> {
    record.object(outer)?.text(inner)
}

/// What a queue, a stream or a pipe may know a record by.
fn ids(record: &Object<'_>) -> Vec<String> {
    [
        record.text("messageId"),
        record.text("eventID"),
        inner(record, "kinesis", "sequenceNumber"),
        inner(record, "dynamodb", "SequenceNumber"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether docs/events.md has `id` as the own id of a message in this record: the record's, or that of an
/// envelope in its text, which counts only if the function expects that envelope.
fn is_own_id(id: &str, record: &Object<'_>, expected: Envelopes) -> bool {
    let is = |own: Option<String>| own.as_deref() == Some(id);
    let of_stream = |source: &str| {
        let (stream, event) = (record.text("eventSourceARN")?, record.text("eventID")?);
        Some(format!("{source}:{stream}/{event}"))
    };
    let inside = |text: Option<String>| text.is_some_and(|text| is_id_in(id, &text, expected));
    is(record.text("messageId"))
        || is(of_stream("kinesis"))
        || is(of_stream("dynamodb"))
        || is(inner(record, "Sns", "MessageId"))
        || is(record.text("id").filter(|_| record.has("detail-type")))
        || is(inner(record, "requestContext", "requestId").map(|request| format!("url:{request}")))
        || (record.has("s3") && id.starts_with("s3:"))
        || inside(record.text("body"))
        || inside(inner(record, "Sns", "Message"))
}

/// Whether `id` is that of an expected envelope in a message's text.
fn is_id_in(id: &str, text: &str, expected: Envelopes) -> bool {
    let Some(object) = Object::parse(text) else { return false };
    let is = |name: &str| object.text(name).as_deref() == Some(id);
    let inside = || object.text("Message").is_some_and(|inner| is_id_in(id, &inner, expected));
    (expected.sns && (is("MessageId") || inside()))
        || (expected.eventbridge && is("id"))
        || (expected.s3 && object.has("Records") && id.starts_with("s3:"))
}

/// Asserts that each record of an event is there, under its own id, and so is each message.
fn check(event: &Event, text: &str, expected: Envelopes, query: &Query, seen: &mut Seen) {
    let (deliveries, messages) = match event {
        Event::Queue(deliveries) => (deliveries.as_slice(), &mut seen.queue),
        Event::Whole(deliveries) => (deliveries.as_slice(), &mut seen.whole),
        Event::Url(delivery) => (std::slice::from_ref(delivery), &mut seen.url),
        Event::Direct(_) => return,
    };
    let records = records(text);
    assert_eq!(deliveries.len(), records.len(), "{text}");
    for (index, (delivery, record)) in deliveries.iter().zip(records).enumerate() {
        let record = Object::parse(record);
        let known = match (event, &record) {
            (Event::Whole(_), _) => vec![index.to_string()],
            (Event::Url(_), Some(request)) => {
                inner(request, "requestContext", "requestId").into_iter().collect()
            }
            (_, record) => record.as_ref().map(ids).unwrap_or_default(),
        };
        assert!(!delivery.id.is_empty() && known.contains(&delivery.id), "{known:?}: {text}");
        for message in delivery.messages.iter().flatten() {
            *messages += 1;
            let record = record.as_ref().unwrap();
            let own = !message.id.is_empty() && is_own_id(&message.id, record, expected);
            assert!(own, "{:?}: {text}", message.id);
            let _ = Parameters::bind(query, &message.values(query));
            // The query names no id, so the message's own counts.
            assert_eq!(message.ledger_id(query).unwrap(), message.id, "{text}");
        }
    }
}

#[test]
fn no_event_makes_it_panic_or_lose_a_record() {
    let executions: Option<u64> =
        std::env::var("FUZZ_EXECUTIONS").ok().map(|count| count.parse().unwrap());
    let seeds = seeds();
    assert!(seeds.len() >= 15);
    let query = Query::parse("q", QUERY).unwrap();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let start = tokio::time::Instant::now();
    let (mut count, mut seen) = (0u64, Seen::default());
    while executions.map_or_else(|| start.elapsed() < A_WHILE, |wanted| count < wanted) {
        for _ in 0..1000 {
            let mut text = seeds[random.usize(0..seeds.len())].clone();
            mutate(&mut text, &seeds, &PIECES, &mut random);
            count += 1;
            let expected =
                Envelopes { sns: random.bool(), s3: random.bool(), eventbridge: random.bool() };
            match Event::parse(&text, expected) {
                Ok(event) => check(&event, &text, expected, &query, &mut seen),
                Err(error) => assert!(error.to_string().len() < 600, "{error}"),
            }
        }
    }
    println!("{count} executions, {seen:?}, no panic");
    assert!(count >= 1000 && seen.queue + seen.whole > 1000, "{count}, {seen:?}");
    assert!(seen.queue > 0 && seen.whole > 0 && seen.url > 0, "{seen:?}");
}
