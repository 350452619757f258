//! What the function writes: one line an invocation, JSON that Lambda's filter and CloudWatch's
//! metrics understand, and text for a person.

use crate::common;

use std::io::Write;
use std::process::{Command, Stdio};

use common::{World, event, root, summaries};
use serde_json::Value;

/// A metric of many columns, one with an awkward name, and one that cannot be.
const QUERIES: [(&str, &str); 5] = [
    (
        "metrics",
        "/*+++\nresult = \"metric\"\nnamespace = \"Shop/Daily\"\nunit = { n = \"Count\" }\n+++*/
         SELECT 'eu-' || n AS \"region of \"\"sale\"\"\", n, n * 1.5 AS revenue, NULL::int AS nothing
         FROM generate_series(1, 50) AS n",
    ),
    ("none", "/*+++\nresult = \"metric\"\n+++*/ SELECT 1 AS n WHERE false"),
    ("nan", "/*+++\nresult = \"metric\"\n+++*/ SELECT 'NaN'::float8 AS n"),
    (
        "check",
        "/*+++\nresult = \"check\"\nfail = true\nparams = [{ name = \"n\", default = 3 }]\n+++*/
         SELECT n, 's3cret-value' AS t FROM generate_series(1, $1::int) AS n",
    ),
    ("rows", "SELECT n, 's3cret-value' AS t FROM generate_series(1, 3) AS n"),
];

async fn world() -> World {
    let mut world = common::start().await;
    world.queries(&QUERIES);
    world
}

/// How many lines the validator took.
fn validate(lines: &[&String]) -> usize {
    let folder = root().join("functions/scheduled-query/tests/emf");
    let mut child = Command::new(root().join("target/venv/bin/python"))
        .arg(folder.join("validate.py"))
        .arg(folder.join("schema.json"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    for line in lines {
        writeln!(input, "{line}").unwrap();
    }
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn metrics_are_of_the_published_format() {
    let world = world().await;
    let mut function = world.function().await;
    let answer = function.ok(r#"{"query":"metrics"}"#).await;
    assert_eq!(answer, serde_json::json!({ "query": "metrics", "metric_count": 100 }));
    assert_eq!(function.ok(r#"{"query":"none"}"#).await["metric_count"], 0);
    let error = function.error(r#"{"query":"nan"}"#).await;
    assert_eq!(error.error_type, "Query.Invalid");
    assert!(error.error_message.contains("row 1: column n is NaN"), "{}", error.error_message);
    let error = function.error(r#"{"query":"check"}"#).await;
    assert_eq!(error.error_type, "Check.Violations");
    function.ok(r#"{"query":"check","params":{"n":0}}"#).await;
    function.error("no JSON").await;
    let log = function.stop().await;
    let documents: Vec<&String> = log.iter().filter(|line| line.contains("\"_aws\"")).collect();
    assert_eq!(documents.len(), 50 + 6);
    assert_eq!(validate(&documents), documents.len());
    assert!(log.iter().all(|line| !line.contains("s3cret-value")), "{log:#?}");

    let lines = summaries(&log);
    assert_eq!(lines.len(), 6, "one line an invocation");
    let dimensions = |line: &Value| {
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        directives.iter().map(|d| d["Dimensions"][0].to_string()).collect::<Vec<_>>()
    };
    assert_eq!((&lines[0]["cold_starts"], &lines[1]["cold_starts"]), (&1.into(), &0.into()));
    assert_eq!((&lines[0]["reused"], &lines[1]["reused"]), (&0.into(), &1.into()));
    assert!(lines[0]["connect_ms"].is_number() && lines[1]["connect_ms"].is_null());
    assert_eq!((&lines[3]["violations"], &lines[4]["violations"]), (&3.into(), &0.into()));
    let [function, by_type, by_query] =
        ["[\"function\"]", "[\"function\",\"errorType\"]", "[\"function\",\"query\"]"];
    assert_eq!(dimensions(&lines[0]), [function]);
    assert_eq!(dimensions(&lines[3]), [function, by_type, by_query]);
    assert_eq!(dimensions(&lines[4]), [function, by_query]);
    world.stop().await;
}

#[tokio::test]
async fn a_summary_has_the_time_of_every_step() {
    let world = world().await;
    let mut function = world.function().await;
    for _ in 0..2 {
        function.ok(r#"{"query":"rows"}"#).await;
    }
    let lines = summaries(&function.stop().await);
    let steps =
        ["resolve_ms", "sign_ms", "dial_ms", "tls_ms", "login_ms", "query_ms", "serialize_ms"];
    for step in steps {
        assert!(lines[0][step].is_number(), "{step}: {}", lines[0]);
    }
    assert_eq!(
        (&lines[0]["connection"], &lines[1]["connection"]),
        (&"new".into(), &"reused".into())
    );
    for name in ["timestamp", "level", "requestId", "function", "query", "row_count", "duration_ms"]
    {
        assert!(!lines[1][name].is_null(), "{name}: {}", lines[1]);
    }
    // Flat, but for what CloudWatch asks for.
    for (name, value) in lines[0].as_object().unwrap() {
        assert!(name == "_aws" || !(value.is_object() || value.is_array()), "{name}");
    }
    world.stop().await;
}

#[tokio::test]
async fn no_line_is_malformed_under_stress() {
    let mut world = world().await;
    world.set("AWS_LAMBDA_LOG_LEVEL", "TRACE");
    let mut function = world.function().await;
    let awkward = "{\"query\":\"\u{1}\\n\\\"\"}";
    let events =
        [r#"{"query":"rows"}"#, r#"{"query":"metrics"}"#, r#"{"query":"check"}"#, awkward, "["];
    for number in 0..1000 {
        if number % 100 == 50 {
            world.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'iam_ro_user'").await;
        }
        function.invoke(events[number % events.len()]).await;
    }
    let log = function.stop().await;
    assert!(log.len() >= 1000 + 200 * 50);
    let levels = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
    for line in &log {
        let parsed: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        if parsed["message"].is_null() {
            assert!(parsed["_aws"].is_object(), "{line}");
            continue;
        }
        assert!(levels.contains(&parsed["level"].as_str().unwrap()), "{line}");
        // RFC 3339, in UTC: what Lambda's filter reads.
        let timestamp = parsed["timestamp"].as_str().unwrap();
        assert!(timestamp.len() >= 20 && timestamp.ends_with('Z') && &timestamp[10..11] == "T");
    }
    world.stop().await;
}

#[tokio::test]
async fn levels_and_switches_apply() {
    let mut world = world().await;
    let count = async |world: &World| {
        let mut function = world.function().await;
        function.ok(event("customers.json")).await;
        function.error("[").await;
        function.stop().await
    };
    world.set("QUERIES_DIR", root().join("queries").display().to_string());
    world.set("AWS_LAMBDA_LOG_LEVEL", "ERROR");
    let errors = count(&world).await;
    assert_eq!(errors.len(), 1, "{errors:#?}");
    assert!(errors[0].contains("invocation failed"));
    world.set("AWS_LAMBDA_LOG_LEVEL", "INFO");
    world.set("DB_METRICS", "false");
    let plain = count(&world).await;
    assert!(plain.len() == 2 && !plain.iter().any(|line| line.contains("_aws")), "{plain:#?}");
    // For a person.
    world.set("AWS_LAMBDA_LOG_FORMAT", "Text");
    world.set("DB_METRICS", "");
    let text = count(&world).await;
    assert!(text[0].contains(" INFO invocation succeeded ") && text[0].contains("query=customers"));
    assert!(
        text[1].contains("ERROR invocation failed: Event.Invalid: the function does not take"),
        "{}",
        text[1]
    );
    assert!(!text.iter().any(|line| line.contains("_aws")), "{text:#?}");
    world.stop().await;
}

/// As Lambda Managed Instances set it, for each execution environment.
#[tokio::test]
async fn a_process_that_gets_several_requests_at_once_is_told_of_once() {
    let mut world = world().await;
    for (limit, told) in [("1", 0), ("8", 1)] {
        world.variables.insert("AWS_LAMBDA_MAX_CONCURRENCY".into(), limit.into());
        let mut function = world.function().await;
        for _ in 0..2 {
            function.ok(r#"{"query":"rows"}"#).await;
        }
        let log = function.stop().await;
        let lines: Vec<&String> = log
            .iter()
            .filter(|line| line.contains("PerExecutionEnvironmentMaxConcurrency"))
            .collect();
        assert_eq!(lines.len(), told, "{log:#?}");
        assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
    }
    world.stop().await;
}
