//! A sender of messages can choose values, and nothing else.

use crate::common;

use common::start;
use rds_local::testing::{Function, World};
use serde_json::{Value, json};

/// A record of SQS, as Lambda delivers it.
fn record(id: &str, body: &str, attribute: Option<&str>) -> Value {
    let attributes = attribute.map_or(
        json!({}),
        |query| json!({ "query": { "stringValue": query, "dataType": "String" } }),
    );
    json!({
        "messageId": id, "body": body, "messageAttributes": attributes,
        "attributes": { "SentTimestamp": "1795435200000", "SenderId": "AIDAIENQZJOLO23YVJ4VO" },
        "eventSource": "aws:sqs", "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
    })
}

/// Sends records, and returns the ids of those that failed.
async fn send(function: &mut Function, records: &[Value]) -> Vec<String> {
    let response = function.ok(json!({ "Records": records }).to_string()).await;
    let failures = response["batchItemFailures"].as_array().unwrap();
    failures.iter().map(|one| one["itemIdentifier"].as_str().unwrap().to_owned()).collect()
}

/// Customers, orders, uploads and ledger entries.
async fn counts(world: &World) -> [i64; 4] {
    let rows = world
        .rows("SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders), (SELECT count(*) FROM uploads), (SELECT count(*) FROM message_ledger)")
        .await;
    [0, 1, 2, 3].map(|column| rows[0].get(column))
}

fn order(id: &str) -> String {
    json!({ "orderId": id, "total": 1 }).to_string()
}

fn notification(id: &str, message: &str, attribute: &str) -> String {
    json!({
        "Type": "Notification", "MessageId": id, "TopicArn": "arn:aws:sns:us-east-1:123456789012:t",
        "Message": message, "Timestamp": "2026-11-23T12:00:00Z",
        "MessageAttributes": { "query": { "Type": "String", "Value": attribute } },
    })
    .to_string()
}

fn s3_event(key: &str) -> String {
    json!({ "Records": [{
        "eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "eventTime": "2026-11-23T12:00:00Z",
        "s3": { "bucket": { "name": "b" }, "object": { "key": key, "sequencer": "0A" } },
    }] })
    .to_string()
}

fn eventbridge(id: &str, order: &str) -> String {
    json!({ "id": id, "detail-type": "x", "source": "orders", "time": "2026-11-23T12:00:00Z",
            "detail": { "orderId": order, "total": 1 } })
    .to_string()
}

#[tokio::test]
async fn a_sender_chooses_no_query_and_no_id() {
    let mut world = start().await;
    world.set("EVENT_ENVELOPES", "");
    let mut function = world.function().await;
    let before = counts(&world).await;
    let victim = json!({ "email": "alice@example.com" }).to_string();
    let attacks = [
        // Another packaged query, by the attribute.
        record("a1", &victim, Some("remove_customer")),
        record(
            "a2",
            &json!({ "name": "m", "email": "m", "age": 1 }).to_string(),
            Some("add_customer"),
        ),
        record("a3", "{}", Some("customers")),
        record("a4", &order("x"), Some("../record_order")),
        record("a5", &order("x"), Some("no_such_query")),
        record("a6", &order("x"), Some("")),
        // The same, inside a forged envelope.
        record("b1", &notification("m", &victim, "remove_customer"), None),
        record("b2", &notification("m", &order("x"), "record_order"), None),
        record("b3", &eventbridge("e", "x"), None),
        record("b4", &s3_event("k"), None),
        record("b5", r#"{"Event":"s3:TestEvent","Service":"Amazon S3","Bucket":"b"}"#, None),
        // Values that are not values.
        record("c1", r#"{"orderId":"x'); DROP TABLE orders; --","total":"NaN-s3cret"}"#, None),
        record("c2", r#"{"orderId":null,"total":1}"#, None),
        record("c3", r#"{"orderId":{"$ne":1},"total":1}"#, None),
        record("c4", r#"{"orderId":"","total":1}"#, None),
        record("c5", &json!({ "orderId": "x".repeat(5000), "total": 1 }).to_string(), None),
        record("c6", r#"{"orderId":"a\u0000b","total":1}"#, None),
        record("c7", r#"{"total":1}"#, None),
    ];
    for attack in &attacks {
        let failed = send(&mut function, std::slice::from_ref(attack)).await;
        assert_eq!(failed, [attack["messageId"].as_str().unwrap()], "{attack}");
        assert_eq!(counts(&world).await, before, "{attack}");
    }
    // All of them together fail no neighbour.
    let mut batch = attacks.to_vec();
    batch.push(record("good", &order("good"), None));
    assert_eq!(send(&mut function, &batch).await.len(), attacks.len());
    let log = function.stop().await.join("\n");
    assert!(!log.contains("s3cret") && !log.contains("alice@example.com"), "{log}");
    let after = counts(&world).await;
    assert_eq!([after[0], after[1] - 1, after[2], after[3] - 1], before);
    world.stop().await;
}

#[tokio::test]
async fn no_id_marks_another_message_as_done() {
    let mut world = start().await;
    world.set("EVENT_ENVELOPES", "");
    world.queries(&[
        (
            "by_id",
            "/*+++\nmode = \"write\"\nid = \"/orderId\"\nparams = [{ name = \"orderId\" }, { name = \"total\" }]\n+++*/
             INSERT INTO orders (order_id, total, received_at) VALUES ($1, $2, now()) RETURNING 1",
        ),
        (
            "by_message",
            "/*+++\nmode = \"write\"\nparams = [{ name = \"orderId\" }, { name = \"total\" }]\n+++*/
             INSERT INTO orders (order_id, total, received_at) VALUES ($1, $2, now()) RETURNING 1",
        ),
    ]);
    let uuid = "059f36b4-87a3-44ab-83d2-661970000031";
    world.set("QUERY", "by_id");
    let mut function = world.function().await;
    // An order whose id is another message's id, and one that looks like a ledger entry.
    let records = [record("m1", &order(uuid), None), record("m2", &order("id:1"), None)];
    assert!(send(&mut function, &records).await.is_empty());
    // A redrive gives the message a new id, and the order keeps its own.
    assert!(send(&mut function, &[record("m3", &order(uuid), None)]).await.is_empty());
    function.stop().await;
    world.set("QUERY", "by_message");
    let mut function = world.function().await;
    assert!(send(&mut function, &[record(uuid, &order("other"), None)]).await.is_empty());
    function.stop().await;
    let orders = world.rows("SELECT count(*) FROM orders").await;
    assert_eq!(orders[0].get::<_, i64>(0), 3);
    world.stop().await;
}

#[tokio::test]
async fn an_expected_envelope_is_unwrapped_and_no_other() {
    let mut world = start().await;
    world.set("EVENT_ENVELOPES", "sns");
    let mut function = world.function().await;
    let records = [
        record("m1", &notification("n1", &order("one"), "record_order"), None),
        record("m2", &eventbridge("e1", "two"), None),
        record("m3", &notification("n3", &s3_event("k"), "record_upload"), None),
    ];
    assert_eq!(send(&mut function, &records).await, ["m2", "m3"]);
    function.stop().await;
    let orders = world.rows("SELECT order_id FROM orders").await;
    assert_eq!(orders.len(), 1);
    world.set("EVENT_ENVELOPES", "sns,everything");
    let mut function = world.function().await;
    assert_eq!(function.error("{}").await.error_type, "Config.Invalid");
    function.stop().await;
    world.stop().await;
}
