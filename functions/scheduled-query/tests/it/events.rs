//! Every event file gives its documented response or `errorType`.

use crate::common;

use std::collections::BTreeMap;

use common::{event, root, summaries};
use rds_local::runtime_api::Outcome;
use serde_json::{Value, json};

/// What each file of `events/scheduled-query` leads to, by the table in its README: a number of rows,
/// another answer, or an error type.
fn documented() -> BTreeMap<String, Result<Option<usize>, String>> {
    let table = String::from_utf8(event("README.md")).unwrap();
    let outcome = |cell: &str| match cell.strip_suffix(" rows") {
        Some(count) => Ok(Some(count.parse().unwrap())),
        None if cell == "ok" => Ok(None),
        None => Err(cell.to_owned()),
    };
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let file = cells.next().filter(|file| file.ends_with(".json"))?;
            Some((file.to_owned(), outcome(cells.next()?)))
        })
        .collect()
}

#[tokio::test]
async fn every_event_file_has_its_documented_response() {
    let documented = documented();
    let files: Vec<String> = std::fs::read_dir(root().join("events/scheduled-query"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(files.len(), documented.len(), "each file is documented here: {files:?}");

    let world = common::start().await;
    let mut function = world.function().await;
    for (file, expected) in &documented {
        let outcome = function.invoke(event(file)).await;
        match (expected, &outcome) {
            (Ok(rows), Outcome::Response(body)) => {
                let response: Value = serde_json::from_slice(body).unwrap();
                if let Some(rows) = rows {
                    assert_eq!(response["query"], "customers", "{file}");
                    assert_eq!(response["row_count"], *rows, "{file}");
                    assert_eq!(response["rows"].as_array().unwrap().len(), *rows, "{file}");
                }
            }
            (Err(kind), Outcome::Error(_)) => {
                let error = outcome.error().unwrap();
                assert_eq!(error.error_type, *kind, "{file}: {}", error.error_message);
            }
            _ => panic!("{file}: {outcome:?}"),
        }
    }
    let log = function.stop().await;
    assert_eq!(summaries(&log).len(), documented.len(), "one summary an invocation");
    // And no other line, but the metrics of the query that gives some.
    let metrics = log.iter().filter(|line| line.contains("\"Shop\"")).count();
    assert_eq!((metrics, log.len()), (2, documented.len() + 2), "{log:#?}");
    // Errors of events and queries leave the connection usable: one login serves them all.
    assert_eq!(world.logins(), (1, vec![]));
    world.stop().await;
}

#[tokio::test]
async fn a_date_counts_from_the_time_of_the_event() {
    let mut world = common::start().await;
    let day = "/*+++\nparams = [{ name = \"day\", type = \"date\", default = \"{date-1d}\" }]\n+++*/ SELECT $1::date AS day";
    world.queries(&[("day", day)]);
    world.set("QUERY", "day");
    let mut function = world.function().await;
    let rule = r#"{"detail-type":"Scheduled Event","source":"aws.events","time":"2026-11-28T02:00:00Z","detail":{}}"#;
    for (event, expected) in [
        (rule, "2026-11-27"),
        (r#"{"time":"2026-11-28T02:00:00Z"}"#, "2026-11-27"),
        (r#"{"time":"2026-11-28T02:00:00Z","params":{"day":"{date+1d-05:00}"}}"#, "2026-11-28"),
        (r#"{"params":{"day":"2026-01-01"}}"#, "2026-01-01"),
    ] {
        assert_eq!(function.ok(event).await["rows"], json!([{ "day": expected }]), "{event}");
    }
    let error = function.error(r#"{"params":{"day":"{yesterday}"}}"#).await;
    assert_eq!(error.error_type, "Query.BadParameter", "{}", error.error_message);
    assert!(error.error_message.contains("{date-1d}"), "{}", error.error_message);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn rows_are_as_postgresql_renders_them_in_the_querys_order() {
    let world = common::start().await;
    let mut function = world.function().await;
    let response = match function.invoke(event("customers.json")).await {
        Outcome::Response(body) => String::from_utf8(body.to_vec()).unwrap(),
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(
        response,
        r#"{"query":"customers","rows":[{"customer_id":3,"name":"Charlie Brown","email":"charlie@example.com","age":35},{"customer_id":1,"name":"Alice Smith","email":"alice@example.com","age":30},{"customer_id":2,"name":"Bob Johnson","email":"bob@example.com","age":25}],"row_count":3}"#
    );
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn two_invocations_of_a_sandbox_share_one_login() {
    let world = common::start().await;
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.ok(event("customers.json")).await;
    let summaries = summaries(&function.stop().await);
    assert_eq!(summaries[0]["connection"], "new");
    assert_eq!(summaries[0]["cold_start"], true);
    assert_eq!(summaries[1]["connection"], "reused");
    assert_eq!(summaries[1]["cold_start"], false);
    assert_eq!(world.logins(), (1, vec![]));
    world.stop().await;
}

#[tokio::test]
async fn query_files_that_cannot_work_say_why_and_where() {
    let mut world = common::start().await;
    world.queries(&[
        ("syntax", "SELECT 1,\n\nFROM customers"),
        ("semicolon", "SELECT 1 AS n; -- as every editor writes it\n"),
        ("two", "SELECT 1; SELECT 2"),
        ("column", "SELECT nothing FROM customers"),
        ("insert", "INSERT INTO customers (name) VALUES ('x') RETURNING 1"),
        ("show", "SHOW server_version"),
        ("key", "/*+++\nparms = []\n+++*/ SELECT 1"),
        ("undeclared", "SELECT $1::int AS a"),
        ("twice", "SELECT 1 AS a, 2 AS a"),
        ("sneaky", "SELECT nextval('customers_customer_id_seq') AS n"),
        ("forbidden", "SELECT rolpassword FROM pg_authid"),
        ("division", "SELECT 1 / 0 AS n"),
        ("raised", "SELECT raise_it() AS x"),
    ]);
    let admin = world.server.database.superuser("sample_db").await.unwrap();
    admin
        .batch_execute(
            "GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO iam_ro_user;
             CREATE FUNCTION raise_it() RETURNS text LANGUAGE plpgsql
             AS 'BEGIN RAISE EXCEPTION ''s3cret''; END'",
        )
        .await
        .unwrap();
    let mut function = world.function().await;
    for (query, kind, told) in [
        ("syntax", "Query.Invalid", "line 3"),
        ("two", "Query.Invalid", "semicolon"),
        ("column", "Query.Invalid", "\"nothing\" does not exist"),
        ("insert", "Query.Invalid", "mode = \"write\""),
        ("show", "Query.Invalid", "result = \"affected\""),
        ("key", "Query.Invalid", "line 2"),
        ("undeclared", "Query.Invalid", "params"),
        ("twice", "Query.Invalid", "two columns named a"),
        ("sneaky", "Query.Denied", "read-only transaction"),
        ("forbidden", "Query.Denied", "permission denied for table pg_authid"),
        ("division", "Query.Failed", "division by zero"),
        ("raised", "Query.Failed", "P0001"),
    ] {
        let error = function.error(json!({ "query": query }).to_string()).await;
        assert_eq!(error.error_type, kind, "{query}: {}", error.error_message);
        assert!(error.error_message.contains(told), "{query}: {}", error.error_message);
        assert!(!error.error_message.contains("s3cret"), "{query}: {}", error.error_message);
    }
    function.ok(r#"{"query":"semicolon"}"#).await;
    // Of all of them only the answer with equal names, abandoned in the middle, cost the connection.
    assert_eq!(world.logins(), (2, vec![]));
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn every_type_comes_back_as_row_to_json_gives_it() {
    let mut world = common::start().await;
    let sql = "SELECT 1234567890123456789012345678901234567890.5::numeric AS n, '{1,2}'::int[] AS a, \
               '[1,5)'::int4range AS r, 'infinity'::timestamptz AS t, NULL::text AS z, \
               '{\"k\": [1, null]}'::jsonb AS j, '\\xff'::bytea AS b, true AS f";
    world.queries(&[("types", sql)]);
    let mut function = world.function().await;
    let response = match function.invoke(r#"{"query":"types"}"#).await {
        Outcome::Response(body) => String::from_utf8(body.to_vec()).unwrap(),
        outcome => panic!("{outcome:?}"),
    };
    let admin = world.server.database.superuser("sample_db").await.unwrap();
    let row: String = admin
        .query_one(&format!("SELECT row_to_json(_)::text FROM ({sql}) _"), &[])
        .await
        .unwrap()
        .get(0);
    assert!(response.contains(&format!("\"rows\":[{row}]")), "{response}");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn parameters_take_their_type_from_the_statement() {
    let mut world = common::start().await;
    world.queries(&[(
        "echo",
        "/*+++\nparams = [{ name = \"i\" }, { name = \"n\" }, { name = \"t\" }, \
         { name = \"a\", type = \"array\" }, { name = \"j\", type = \"json\" }, { name = \"z\" }]\n+++*/\n\
         SELECT $1::int AS i, $2::numeric AS n, $3::timestamptz = '2026-11-23T00:00:00Z' AS t, \
         $4::text[] AS a, $5::jsonb AS j, $6::text AS z",
    )]);
    let mut function = world.function().await;
    let event = r#"{"query":"echo","params":{"i":7,"n":0.10000000000000000000000000000000000001,
        "t":"2026-11-23T00:00:00Z","a":["x,\"y\\",null],"j":{"k":[1]},"z":null}}"#;
    let outcome = function.invoke(event).await;
    let Outcome::Response(body) = &outcome else { panic!("{outcome:?}") };
    let body = String::from_utf8(body.to_vec()).unwrap();
    let expected = r#"{"i":7,"n":0.10000000000000000000000000000000000001,"t":true,"a":["x,\"y\\",null],"j":{"k": [1]},"z":null}"#;
    assert!(body.contains(expected), "{body}");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn rows_beyond_lambdas_limit_are_an_error_and_the_function_lives_on() {
    let mut world = common::start().await;
    world.queries(&[
        ("huge", "SELECT repeat('x', 1000) AS x FROM generate_series(1, 1000000)"),
        ("fits", "SELECT repeat('x', 1000) AS x FROM generate_series(1, 6000)"),
    ]);
    let mut function = world.function().await;
    let error = function.error(r#"{"query":"huge"}"#).await;
    assert_eq!(error.error_type, "Result.TooLarge", "{}", error.error_message);
    let response = function.ok(r#"{"query":"fits"}"#).await;
    assert_eq!(response["row_count"], 6000);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_bad_configuration_is_the_first_invocations_error() {
    let mut world = common::start().await;
    world.set("PGUSER", "");
    world.set("PGSSLMODE", "require");
    let mut function = world.function().await;
    let error = function.error("{}").await;
    assert_eq!(error.error_type, "Config.Invalid");
    for name in ["PGUSER", "PGSSLMODE"] {
        assert!(error.error_message.contains(name), "{}", error.error_message);
    }
    function.stop().await;
    world.stop().await;
}

#[test]
fn a_start_by_hand_explains_the_program() {
    let output = std::process::Command::new(common::BINARY)
        .arg("--help")
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("Lambda function") && told.contains("rds-local invoke"), "{told}");
}

#[tokio::test]
async fn a_copy_is_refused_without_a_login() {
    let mut world = common::start().await;
    let copy = "/*+++\nresult = \"affected\"\n+++*/ /* all */ Copy customers TO STDOUT;";
    world.queries(&[("copy", copy)]);
    let mut function = world.function().await;
    let error = function.error(r#"{"query":"copy"}"#).await;
    assert_eq!(error.error_type, "Query.Invalid", "{}", error.error_message);
    function.stop().await;
    assert_eq!(world.logins(), (0, vec![]));
    world.stop().await;
}
