//! The documented events, warm connections, and messages that come again.

use crate::common;

use common::{ask, batch, event, order, orders, root};
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::emulator::Emulator;
use rds_local::testing::summaries;
use serde_json::{Value, json};

#[tokio::test]
async fn documented_events_have_documented_results() {
    let world = common::start().await;
    let mut function = world.function().await;
    let table = std::fs::read_to_string(root().join("events/mysql-query/README.md")).unwrap();
    let rows: Vec<(&str, &str, Option<&str>)> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |"))
        .map(|row| {
            let (name, result) = row.split_once("` | `").unwrap();
            let (first, more) = result.split_once('`').unwrap();
            let again = more.strip_prefix(", and again `").and_then(|more| more.split('`').next());
            (name, first, again)
        })
        .collect();
    for again in [false, true] {
        for (name, first, second) in &rows {
            let expected = if again { second.unwrap_or(first) } else { first };
            match function.invoke(event(name)).await {
                Outcome::Response(body) => {
                    let got: Value = serde_json::from_slice(&body).unwrap();
                    let expected = serde_json::from_str::<Value>(expected);
                    let expected = expected.unwrap_or_else(|_| panic!("{name}: {got}"));
                    assert_eq!(got, expected, "{name}");
                }
                outcome => {
                    let error = outcome.error().unwrap();
                    assert_eq!(error.error_type, expected, "{name}: {}", error.error_message);
                }
            }
        }
    }
    let files = std::fs::read_dir(root().join("events/mysql-query")).unwrap().count();
    assert_eq!(rows.len(), files - 1, "every event is in the table");
    assert_eq!(
        ask(&world, "SELECT GROUP_CONCAT(order_id ORDER BY order_id) FROM orders").await,
        "direct-1,f-1,f-4,m-1,m-4"
    );
    assert_eq!(world.logins(), (1, vec![]), "one login for all of them");
    let log = function.stop().await;
    let lines = summaries(&log);
    assert_eq!(lines[0]["connection"], "new");
    assert!(lines[0]["sign_ms"].is_number() && lines[0]["login_ms"].is_number());
    assert!(lines[1..].iter().all(|line| line["connection"] != "new"));
    let queue = lines.iter().filter(|line| line["records"] == 5).collect::<Vec<_>>();
    assert_eq!((&queue[0]["duplicates"], &queue[0]["failed_records"]), (&json!(1), &json!(2)));
    assert_eq!(queue[1]["duplicates"], 3);
    for line in &log {
        assert!(!line.contains("7310.55") && !line.contains("X-Amz"), "{line}");
    }
    world.stop().await;
}

#[tokio::test]
async fn one_of_a_hundred_messages_fails_alone() {
    let world = common::start().await;
    let mut function = world.function().await;
    let mut messages: Vec<_> = (0..100).map(order).collect();
    messages[41].1 = r#"{"orderId":"poison","total":"many"}"#.into();
    let poison = json!({ "batchItemFailures": [{ "itemIdentifier": "message-41" }] });
    for _ in 0..2 {
        assert_eq!(function.ok(batch(messages.clone())).await, poison);
        assert_eq!(orders(&world).await, "99");
    }
    assert_eq!(world.logins().0, 1);
    let log = function.stop().await;
    let lines = summaries(&log);
    assert_eq!(
        (&lines[0]["connection"], &lines[1]["connection"]),
        (&json!("new"), &json!("reused"))
    );
    let failed: Vec<&String> = log.iter().filter(|line| line.contains("record failed")).collect();
    assert_eq!(failed.len(), 2);
    assert!(
        failed[0].contains("Query.BadParameter") && !failed[0].contains("many"),
        "{}",
        failed[0]
    );
    world.stop().await;
}

#[tokio::test]
async fn a_sandbox_that_is_killed_leaves_whole_messages() {
    let world = common::start().await;
    let messages = || batch((0..300).map(order));
    let mut function = world.function().await;
    let process = nix::unistd::Pid::from_raw(function.sandbox.process_id().unwrap() as i32);
    let kill = async {
        while orders(&world).await == "0" {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL).unwrap();
    };
    let (outcome, ()) = tokio::join!(function.invoke(messages()), kill);
    assert!(outcome.error().is_some(), "{outcome:?}");
    function.stop().await;
    assert_ne!(orders(&world).await, "300");
    let mut function = world.function().await;
    assert_eq!(function.ok(messages()).await, json!({ "batchItemFailures": [] }));
    let sums = "SELECT COUNT(*), COUNT(DISTINCT order_id), (SELECT COUNT(*) FROM rds_iam.message_ledger) FROM orders";
    assert_eq!(ask(&world, sums).await, "300\t300\t300");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_repeated_invocation_writes_once() {
    let mut world = common::start().await;
    let add = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/\nINSERT INTO customers (name) VALUES ('x')";
    world.queries(&[("add", add), ("other", add)]);
    world.set("QUERY", "add");
    let mut function = world.function().await;
    let duplicate = json!({ "query": "add", "duplicate": true });
    let mut answers = Vec::new();
    for _ in 0..2 {
        let outcome = function.sandbox.invoke_as("request-1", "{}".into()).await;
        let Outcome::Response(body) = outcome else { panic!("{outcome:?}") };
        answers.push(serde_json::from_slice::<Value>(&body).unwrap());
    }
    assert_eq!(answers, [json!({ "query": "add", "affected": 1 }), duplicate.clone()]);
    // EventBridge delivers an event again as another invocation.
    let rule = r#"{"id":"e1","detail-type":"x","source":"y","detail":{}}"#;
    assert_eq!(function.ok(rule).await["affected"], 1);
    assert_eq!(function.ok(rule).await, duplicate);
    assert_eq!(function.error(r#"{"query":"other"}"#).await.error_type, "Query.Denied");
    assert_eq!(function.ok(r#"{"query":"add"}"#).await["affected"], 1);
    assert_eq!(ask(&world, "SELECT COUNT(*) FROM customers WHERE name = 'x'").await, "3");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn the_time_of_an_event_is_stored() {
    let mut world = common::start().await;
    world.set("QUERY", "record_order_event");
    let mut function = world.function().await;
    let rule = r#"{"id":"e1","detail-type":"x","source":"y","time":"2026-11-23T06:00:00Z","detail":{"orderId":"a","total":1.5}}"#;
    assert_eq!(function.ok(rule).await["affected"], 1);
    let stored = ask(&world, "SELECT order_id, total, received_at FROM orders").await;
    assert_eq!(stored, "a\t1.50\t2026-11-23 06:00:00.000");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_value_that_the_server_changes_is_in_the_log_without_it() {
    let mut world = common::start().await;
    let param = "params = [{ name = \"v\" }]";
    let read = format!("/*+++\n{param}\n+++*/\nSELECT customer_id FROM customers WHERE age >= ?");
    let write = format!(
        "/*+++\n{param}\nmode = \"write\"\nselectable = true\nresult = \"affected\"\n+++*/\n\
         INSERT IGNORE INTO customers (customer_id, age) VALUES (9, ?)"
    );
    world.queries(&[("at_least", &read), ("add", &write)]);
    let mut function = world.function().await;
    let with = |query: &str, value: &str| json!({ "query": query, "params": { "v": value } });
    assert_eq!(function.ok(with("at_least", "s3cret").to_string()).await["row_count"], 3);
    assert_eq!(function.ok(with("add", "s3cret").to_string()).await["affected"], 1);
    // No line: the value fits, or is a duplicate.
    function.ok(with("at_least", "26").to_string()).await;
    function.ok(with("add", "26").to_string()).await;
    let log = function.stop().await;
    let warned: Vec<Value> = log
        .iter()
        .filter(|line| line.contains("the database changed a value"))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |line: &Value| (line["query"].clone(), line["code"].clone(), line["level"].clone());
    let expected = [("at_least", 1292), ("add", 1366)];
    let expected = expected.map(|(query, code)| (json!(query), json!(code), json!("WARN")));
    assert_eq!(warned.iter().map(of).collect::<Vec<_>>(), expected);
    assert!(!log.iter().any(|line| line.contains("s3cret")), "{log:#?}");
    world.stop().await;
}

#[tokio::test]
async fn a_read_that_writes_is_permanent_and_costs_no_login() {
    let mut world = common::start().await;
    world.queries(&[("empty", "TRUNCATE TABLE customers")]);
    world.set("QUERY", "empty");
    let mut function = world.function().await;
    for event in
        ["{}".to_owned(), r#"{"id":"e","detail-type":"x","source":"y","detail":{}}"#.into()]
    {
        let error = function.error(event).await;
        assert_eq!(error.error_type, "Query.Invalid", "{}", error.error_message);
        assert!(error.error_message.contains("begins with TRUNCATE"), "{}", error.error_message);
    }
    let answer = function.ok(batch([order(1), order(2)])).await;
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 2);
    let log = function.stop().await;
    let failed: Vec<&String> = log.iter().filter(|line| line.contains("record failed")).collect();
    assert!(failed.len() == 2 && failed.iter().all(|line| line.contains("\"transient\":false")));
    assert_eq!(
        (world.logins().0, ask(&world, "SELECT COUNT(*) FROM customers").await.as_str()),
        (0, "3")
    );
    world.stop().await;
}

#[tokio::test]
async fn without_a_connection_the_event_fails_and_nothing_is_tried() {
    let mut world = common::start().await;
    world.set("DB_LOGIN_ATTEMPTS", "1");
    world.server.gate.set_fault(Fault::Throttle);
    let mut function = world.function().await;
    let error = function.error(event("sqs.json")).await;
    assert_eq!(error.error_type, "Auth.Rejected", "{}", error.error_message);
    assert_eq!(world.logins().1.len(), 1);
    world.server.gate.set_fault(Fault::None);
    function.ok(event("sqs.json")).await;
    // The first of them met a connection that broke, and no other; the rest is not tried one by one.
    world.server.gate.set_fault(Fault::Reset);
    let answer = function.ok(batch((0..5).map(order))).await;
    assert_eq!(answer["batchItemFailures"].as_array().unwrap().len(), 5);
    let log = function.stop().await;
    let failed: Vec<&String> = log.iter().filter(|line| line.contains("record failed")).collect();
    assert_eq!(failed.len(), 2 + 2, "two of sqs.json, and two here: {failed:#?}");
    assert!(failed[2].contains("Query.OutcomeUnknown"), "{}", failed[2]);
    assert!(failed[3].contains("Network.Unreachable"), "{}", failed[3]);
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_environment_is_reported_by_name() {
    let world = common::start().await;
    for (name, value, kind) in [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "Auth.Rejected"),
        ("MYSQL_SSL_CA", "", "Tls.Untrusted"),
        ("DB_TUNNEL", "127.0.0.1:1", "Network.Unreachable"),
        ("MYSQL_TCP_PORT", "x", "Config.Invalid"),
        ("MYSQL_DATABASE", "missing", "Auth.Rejected"),
    ] {
        let mut variables = world.variables.clone();
        variables.insert("DB_LOGIN_ATTEMPTS".into(), "1".into());
        variables.insert(name.into(), value.into());
        let binary = env!("CARGO_BIN_EXE_mysql-query");
        let limit = std::time::Duration::from_secs(10);
        let mut function = rds_local::testing::Function::start(binary, &variables, limit).await;
        let error = function.error(event("customers.json")).await;
        assert_eq!(error.error_type, kind, "{name}: {}", error.error_message);
        function.stop().await;
    }
    // A role that is assumed.
    let mut variables = world.variables.clone();
    for name in ["DB_ROLE_ARN", "DB_ROLE_EXTERNAL_ID"] {
        variables.insert(name.into(), variables[&format!("{name}_EXAMPLE")].clone());
    }
    variables.insert("MYSQL_USER".into(), "iam_ro_user".into());
    let binary = env!("CARGO_BIN_EXE_mysql-query");
    let limit = std::time::Duration::from_secs(10);
    let mut function = rds_local::testing::Function::start(binary, &variables, limit).await;
    assert_eq!(function.ok(event("customers.json")).await["row_count"], 2);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn awss_runtime_interface_emulator() {
    let world = common::start().await;
    let binary = env!("CARGO_BIN_EXE_mysql-query");
    let emulator = Emulator::start(&root(), binary.as_ref(), &world.variables).await;
    let answer = emulator.invoke(&event("customers.json")).await;
    assert_eq!(answer["row_count"], 2, "{answer}");
    let message = batch([order(1), ("poison".into(), "no JSON".into())]);
    for _ in 0..2 {
        let answer = emulator.invoke(message.as_bytes()).await;
        assert_eq!(answer, json!({ "batchItemFailures": [{ "itemIdentifier": "poison" }] }));
        assert_eq!(orders(&world).await, "1");
    }
    assert_eq!(world.logins(), (1, vec![]));
    drop(emulator);
    world.stop().await;
}
