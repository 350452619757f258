//! Every event file comes to what its table says, and coming again changes nothing.

use crate::common;

use common::{root, start};
use rds_local::runtime_api::Outcome;
use rds_local::testing::World;
use serde_json::{Value, json};

fn event(file: &str) -> Vec<u8> {
    std::fs::read(root().join("events/event-query").join(file)).unwrap()
}

/// File, query and outcome of each line of the README's table.
fn documented() -> Vec<[String; 3]> {
    let table = String::from_utf8(event("README.md")).unwrap();
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().to_owned()).skip(1);
            let file = cells.next().filter(|file| file.ends_with(".json"))?;
            Some([file, cells.next()?, cells.next()?])
        })
        .collect()
}

fn outcome_of(outcome: &Outcome) -> String {
    let body = match outcome {
        Outcome::Error(_) => return outcome.error().unwrap().error_type,
        Outcome::Response(body) => body,
    };
    let response: Value = serde_json::from_slice(body).unwrap();
    if let Some(status) = response["statusCode"].as_u64().filter(|status| *status != 200) {
        let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
        assert!(body["errorType"].is_string() && body["errorMessage"].is_string(), "{body}");
        return format!("status {status}");
    }
    let failures = response["batchItemFailures"].as_array().cloned().unwrap_or_default();
    let ids: Vec<&str> =
        failures.iter().map(|one| one["itemIdentifier"].as_str().unwrap()).collect();
    let digits: Vec<&str> = ids.iter().map(|id| &id[id.len() - 2..]).collect();
    if digits.is_empty() { "ok".into() } else { format!("failed {}", digits.join(" ")) }
}

async fn counts(world: &World) -> Vec<i64> {
    let rows = world
        .rows("SELECT ARRAY[(SELECT count(*) FROM orders), (SELECT count(*) FROM uploads), (SELECT count(*) FROM customers), (SELECT count(*) FROM message_ledger)]")
        .await;
    rows[0].get(0)
}

#[tokio::test]
async fn every_event_file_has_its_documented_outcome() {
    let documented = documented();
    let files = std::fs::read_dir(root().join("events/event-query")).unwrap();
    let files = files.filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "json");
    assert_eq!(files.count(), documented.len(), "each file is documented");
    let mut world = start().await;
    for [file, query, expected] in &documented {
        world.set("QUERY", query);
        let mut function = world.function().await;
        let outcome = function.invoke(event(file)).await;
        assert_eq!(outcome_of(&outcome), *expected, "{file}: {outcome:?}");
        let before = counts(&world).await;
        // A direct invocation has no id but Lambda's, which a second one does not share.
        if !file.starts_with("direct") {
            let outcome = function.invoke(event(file)).await;
            assert_eq!(outcome_of(&outcome), *expected, "{file} again: {outcome:?}");
            assert_eq!(counts(&world).await, before, "{file} again");
        }
        function.stop().await;
    }
    let orders = world.rows("SELECT string_agg(order_id, ' ' ORDER BY order_id) FROM orders").await;
    assert_eq!(
        orders[0].get::<_, String>(0),
        "attribute-1 direct-1 duplicate-1 dynamodb-1 dynamodb-2 dynamodb-3 dynamodb-5 eventbridge-1 \
         eventbridge-2 fifo-1 fifo-3 kinesis-1 kinesis-2 kinesis-3 kinesis-5 null-2 pipe-1 pipe-3 \
         pipe-dynamodb-1 pipe-kinesis-1 poison-1 poison-5 sns-1 sns-in-sqs-1 sqs-1 sqs-2 url-1 url-2"
    );
    let total = world.rows("SELECT total::text, received_at = '2026-11-23T12:00:00Z' FROM orders WHERE order_id = 'sqs-1'").await;
    assert_eq!((total[0].get::<_, String>(0), total[0].get::<_, bool>(1)), ("99.9".into(), true));
    let uploads = world.rows("SELECT string_agg(key, '|' ORDER BY key) FROM uploads").await;
    assert_eq!(
        uploads[0].get::<_, String>(0),
        "a.csv|b.csv|c.csv|d e+f.csv|reports/2026/November 23, café.pdf"
    );
    let ids = world.rows("SELECT string_agg(message_id, ' ') FROM message_ledger WHERE message_id ~ 'sequencer|^id:|^dynamodb:'").await;
    let ids: String = ids[0].get(0);
    for innermost in [
        "s3:ObjectCreated:Put:example-uploads/reports/2026/November 23, café.pdf?version=096fKKXTRTtl3on89fVO.nfljtsv6qko&sequencer=0A1B2C3D4E5F678901",
        "id:sns-in-sqs-1",
        "id:eventbridge-1",
        "id:kinesis-5",
        "id:url-1",
        "dynamodb:arn:aws:dynamodb:us-east-1:123456789012:table/orders/stream/2026-11-24T00:00:00.000/c4ca4238a0b923820dcc509a6f758484",
    ] {
        assert!(ids.contains(innermost), "{ids}");
    }
    world.stop().await;
}

#[tokio::test]
async fn log_and_metric_distinguish_failures() {
    let mut world = start().await;
    world.set("DB_LOGIN_ATTEMPTS", "1");
    let mut function = world.function().await;
    function.invoke(event("sqs-poison.json")).await;
    function.ok(event("sqs-duplicate.json")).await;
    // Without a connection nothing was tried: the event fails, and arrives again as a whole.
    world.server.gate.set_fault(rds_local::gate::Fault::Throttle);
    let mut cold = world.function().await;
    let error = cold.error(event("sqs.json")).await;
    cold.stop().await;
    assert_eq!(error.error_type, "Auth.Rejected");
    let log = function.stop().await;
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let failures: Vec<&Value> =
        lines.iter().filter(|line| line["message"] == "record failed").collect();
    assert_eq!(failures.len(), 3, "{log:#?}");
    for line in failures {
        assert_eq!((&line["level"], &line["transient"]), (&"WARN".into(), &false.into()));
        assert!(line["recordId"].as_str().unwrap().starts_with("059f36b4"), "{line}");
        assert!(!line.to_string().contains("ten"), "no value is shown: {line}");
    }
    let not_json: Vec<&Value> =
        lines.iter().filter(|line| line.to_string().contains("not JSON")).collect();
    assert_eq!(not_json.len(), 1, "{log:#?}");
    let told = not_json[0]["errorMessage"].as_str().unwrap();
    assert!(told.contains("order_id is missing") && told.contains("line 1, column"), "{told}");
    let summary = lines.iter().find(|line| line["message"] == "invocation succeeded").unwrap();
    assert_eq!((&summary["records"], &summary["permanent_failures"]), (&5.into(), &3.into()));
    assert_eq!((&summary["duplicates"], &summary["transient_failures"]), (&0.into(), &0.into()));
    assert!(summary["_aws"].to_string().contains("permanent_failures"));
    let second =
        lines.iter().filter(|line| line["message"] == "invocation succeeded").nth(1).unwrap();
    assert_eq!(second["duplicates"], 1);
    world.stop().await;
}

/// In both ways of a write: together with others, and step by step.
#[tokio::test]
async fn an_upsert_that_changed_nothing_is_told_from_one_that_did() {
    let mut world = start().await;
    let upsert = |front: &str, end: &str| {
        format!(
            "/*+++\nmode = \"write\"\nselectable = true\n{front}\nid = \"/id\"\n\
            params = [{{ name = \"order\" }}, {{ name = \"total\" }}]\n+++*/
            INSERT INTO orders VALUES ($1, $2) ON CONFLICT (order_id) DO UPDATE SET total = excluded.total
            WHERE orders.total IS DISTINCT FROM excluded.total {end}"
        )
    };
    let (rows, affected) = (upsert("", "RETURNING order_id"), upsert("result = \"affected\"", ""));
    world.queries(&[("rows", &rows), ("affected", &affected)]);
    let mut function = world.function().await;
    for query in ["rows", "affected"] {
        let record = |id: &str, total: u32| {
            let attribute = json!({ "query": { "stringValue": query, "dataType": "String" } });
            json!({
                "messageId": id, "messageAttributes": attribute, "eventSource": "aws:sqs",
                "body": json!({ "id": id, "order": query, "total": total }).to_string(),
            })
        };
        let records = [record("new", 1), record("same", 1), record("other", 2), record("same", 1)];
        // One after another, so that each finds what the one before it wrote.
        for record in records {
            function.ok(json!({ "Records": [record] }).to_string()).await;
        }
    }
    let log = function.stop().await;
    let told: Vec<String> = log
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line.get("recordId").is_some())
        .map(|line| {
            format!("{} {} {}", line["recordId"], line["message"], line["affected"])
                .replace('"', "")
        })
        .collect();
    let expected = [
        "new record written 1",
        "same record written 0",
        "other record written 1",
        "same record was written before null",
    ];
    assert_eq!(told, expected.repeat(2), "{log:#?}");
    world.stop().await;
}

#[tokio::test]
async fn a_direct_write_that_lambda_repeats_takes_effect_once() {
    let world = start().await;
    let request_id = "8f6d3f0e-5f5c-4a53-9a53-1f4f3e6f7a11";
    let mut answers = Vec::new();
    // Lambda repeats in whatever sandbox is free.
    for _ in 0..2 {
        let mut function = world.function().await;
        let outcome =
            function.sandbox.invoke_as(request_id, event("direct-write.json").into()).await;
        let Outcome::Response(body) = outcome else { panic!("failed: {outcome:?}") };
        answers.push(serde_json::from_slice::<Value>(&body).unwrap());
        function.stop().await;
    }
    assert_eq!(answers[0]["rows"][0]["order_id"], "direct-1");
    let duplicate = serde_json::json!({ "query": "record_order", "duplicate": true });
    assert_eq!(answers[1], duplicate);
    world.stop().await;
}

#[tokio::test]
async fn direct_writes_of_two_requests_take_effect_twice() {
    let world = start().await;
    // The example's key would refuse a second order of one name.
    world.run("ALTER TABLE orders DROP CONSTRAINT orders_pkey").await;
    for _ in 0..2 {
        let mut function = world.function().await;
        let answer = function.ok(event("direct-write.json")).await;
        assert_eq!(answer["rows"][0]["order_id"], "direct-1", "{answer}");
        function.stop().await;
    }
    let rows = world.rows("SELECT count(*) FROM orders WHERE order_id = 'direct-1'").await;
    assert_eq!(rows[0].get::<_, i64>(0), 2);
    world.stop().await;
}

/// A write whose COMMIT was sent may have happened, so it is never reported as timed out.
#[tokio::test]
async fn a_write_without_an_answer_in_time_has_an_unknown_outcome() {
    let mut world = start().await;
    let slow = "/*+++\nmode = \"write\"\nid = \"/orderId\"\nparams = [{ name = \"orderId\" }]\n+++*/
        INSERT INTO orders (order_id, total, received_at) SELECT $1, 1, now() FROM pg_sleep(0.3) RETURNING 1";
    world.queries(&[("slow", slow)]);
    world.set("QUERY", "slow");
    let records: Vec<Value> = (0..60)
        .map(|n| {
            let body = format!(r#"{{"orderId":"slow-{n}"}}"#);
            serde_json::json!({
                "messageId": format!("m{n}"), "body": body, "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:orders",
            })
        })
        .collect();
    let mut function = world.function_with_timeout(std::time::Duration::from_secs(3)).await;
    let response = function.ok(serde_json::json!({ "Records": records }).to_string()).await;
    let failed: Vec<&str> = response["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["itemIdentifier"].as_str().unwrap())
        .collect();
    let log = function.stop().await;
    let kind_of = |id: &str| {
        let lines = log.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut lines = lines.filter(|line| line["recordId"] == id);
        lines.next().unwrap()["errorType"].as_str().unwrap().to_owned()
    };
    let kinds: Vec<String> = failed.iter().map(|id| kind_of(id)).collect();
    let unknown = kinds.iter().filter(|kind| *kind == "Query.OutcomeUnknown").count();
    // 25 are sent ahead of their answers; the others were not sent.
    assert!((1..=25).contains(&unknown), "{kinds:?}");
    assert!(kinds[unknown..].iter().all(|kind| kind == "Query.Timeout"), "{kinds:?}");
    // Whatever was not acknowledged and was committed all the same is among the unknown.
    let written = world.rows("SELECT count(*) FROM orders").await[0].get::<_, i64>(0) as usize;
    let acknowledged = 60 - failed.len();
    assert!((acknowledged..=acknowledged + unknown).contains(&written), "{written}");
    world.stop().await;
}

/// A query that is wrong fails the records that ask for it, each by itself and for good.
#[tokio::test]
async fn a_record_of_a_copy_fails_alone() {
    let mut world = start().await;
    let record = |id: &str, query: &str| {
        let attribute = json!({ "query": { "stringValue": query, "dataType": "String" } });
        json!({
            "messageId": id, "body": "{}", "messageAttributes": attribute,
            "attributes": { "SentTimestamp": "1795435200000" }, "eventSource": "aws:sqs",
        })
    };
    let front = "/*+++\nmode = \"write\"\nresult = \"affected\"\nselectable = true\n+++*/";
    let copy = format!("{front} -- all\n copy orders FROM STDIN");
    let insert = format!("{front} INSERT INTO orders SELECT count(*), 1 FROM orders");
    world.queries(&[("copy", &copy), ("insert", &insert)]);
    let mut function = world.function().await;
    let copies = json!({ "Records": [record("1", "copy"), record("2", "copy")] });
    let response = function.ok(copies.to_string()).await;
    assert_eq!(response["batchItemFailures"].as_array().unwrap().len(), 2, "{response}");
    assert_eq!(world.logins(), (0, vec![]), "nothing was to be sent");
    let mixed = [record("3", "insert"), record("4", "copy"), record("5", "insert")];
    let response = function.ok(json!({ "Records": mixed }).to_string()).await;
    assert_eq!(response, json!({ "batchItemFailures": [{ "itemIdentifier": "4" }] }));
    assert_eq!(world.rows("SELECT count(*) FROM orders").await[0].get::<_, i64>(0), 2);
    let log = function.stop().await;
    let failed = log.iter().filter(|line| line.contains("record failed")).collect::<Vec<_>>();
    assert_eq!(failed.len(), 3, "{log:#?}");
    for line in failed {
        assert!(line.contains("Query.Invalid") && line.contains("\"transient\":false"), "{line}");
    }
    world.stop().await;
}
