//! The event files, as events/export-query/README.md documents them; and the memory of a large export.

use rds_local::runtime_api::Outcome;
use rds_local::testing::{World, root, summaries};
use serde_json::{Value, json};

/// A part of the key with the number of rows, or the errorType.
type Expected = Result<(String, u64), String>;

/// The rows of the table, each for a file.
fn documented() -> Vec<(String, Expected)> {
    let folder = root(env!("CARGO_MANIFEST_DIR")).join("events/export-query");
    let table = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let ticks: Vec<&str> = line.split('`').collect();
        let (file, answer) = (ticks[1].to_owned(), ticks[3].to_owned());
        let count =
            ticks[4].strip_prefix(", ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        (file, count.map(|count| (answer.clone(), count)).ok_or(answer))
    });
    rows.collect()
}

#[tokio::test]
async fn every_event_file_does_what_its_table_says() {
    let folder = root(env!("CARGO_MANIFEST_DIR")).join("events/export-query");
    let documented = documented();
    let files = std::fs::read_dir(&folder).unwrap().filter(|entry| {
        entry.as_ref().unwrap().path().extension().is_some_and(|ending| ending == "json")
    });
    assert_eq!(files.count(), documented.len(), "each file is documented");
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    let queries = root(env!("CARGO_MANIFEST_DIR")).join("queries");
    world.set("QUERIES_DIR", queries.display().to_string());
    let mut function = world.function().await;
    for (file, expected) in &documented {
        let event = std::fs::read(folder.join(file)).unwrap();
        let outcome = function.invoke(event).await;
        match (expected, &outcome) {
            (Ok((part, rows)), Outcome::Response(body)) => {
                let answer: Value = serde_json::from_slice(body).unwrap();
                let key = answer["key"].as_str().unwrap();
                assert!(key.contains(part.as_str()), "{file}: {key}");
                assert_eq!(answer["rows"], json!(rows), "{file}");
                let object = world.s3().get(key).await.unwrap();
                if answer.get("objects").is_none() {
                    assert_eq!(answer["bytes"], json!(object.len()), "{file}");
                }
                assert_eq!((&answer["bucket"], &answer["parts"]), (&json!("exports"), &json!(1)));
                let path = world.folder().join("object");
                std::fs::write(&path, &object).unwrap();
                let sum = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
                let sum = String::from_utf8(sum.stdout).unwrap();
                assert!(sum.starts_with(answer["sha256"].as_str().unwrap()), "{file}: {sum}");
            }
            (Err(kind), Outcome::Error(_)) => {
                let error = outcome.error().unwrap();
                assert_eq!(error.error_type, *kind, "{file}: {}", error.error_message);
            }
            _ => panic!("{file}: {outcome:?}"),
        }
    }
    let log = function.stop().await;
    let summaries = summaries(&log);
    assert_eq!((summaries.len(), log.len()), (documented.len(), documented.len()), "{log:#?}");
    assert_eq!(summaries[0]["row_count"], json!(3));
    assert_eq!(summaries[1]["connection"], "reused");
    assert_eq!(world.logins(), (1, vec![]), "one login serves them all");
    world.stop().await;
}

/// The recipe of docs/export.md: a retry after midnight writes the same day, and replaces it.
#[tokio::test]
async fn a_day_that_runs_twice_is_one_object() {
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    let root = root(env!("CARGO_MANIFEST_DIR"));
    world.set("QUERIES_DIR", root.join("queries").display().to_string());
    world
        .run(
            "INSERT INTO orders VALUES ('before', 1, '2026-11-26T23:59:59.999Z'),
             ('first', 1, '2026-11-27T00:00Z'), ('last', 1, '2026-11-27T23:59:59.999Z'),
             ('after', 1, '2026-11-28T00:00Z')",
        )
        .await;
    let mut function = world.function().await;
    let event = std::fs::read_to_string(root.join("events/export-query/yesterday.json")).unwrap();
    let answer = function.ok(event.as_str()).await;
    assert_eq!(
        (&answer["rows"], &answer["key"]),
        (&json!(2), &json!("orders/day=2026-11-27/orders.parquet"))
    );
    // Late: it came while the first run was under way.
    world.run("INSERT INTO orders VALUES ('late', 1, '2026-11-27T12:00Z')").await;
    let answer = function.ok(event.as_str()).await;
    assert_eq!(answer["rows"], json!(3));
    assert_eq!(world.s3().keys().await, ["orders/day=2026-11-27/orders.parquet"]);

    // The event counts; the query's own default, and a key's date, count from its time.
    let event = json!({
        "query": "orders_of_day", "params": { "day": "{date-2d}" },
        "to": "day={day}/{date}.csv", "time": "2026-11-28T02:00:00Z",
    });
    let answer = function.ok(event.to_string()).await;
    assert_eq!(
        (&answer["rows"], &answer["key"]),
        (&json!(1), &json!("day=2026-11-26/2026-11-28.csv"))
    );
    // At an offset of the key's own: in Tokyo it is the 28th by then.
    let event = json!({
        "query": "orders_of_day", "to": "{date+09:00}.csv", "time": "2026-11-27T17:00:00Z",
    });
    assert_eq!(function.ok(event.to_string()).await["key"], json!("2026-11-28.csv"));
    let error = function
        .error(r#"{"query":"orders_of_day","time":"<aws.scheduler.scheduled-time>"}"#)
        .await;
    assert_eq!(error.error_type, "Event.Invalid");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn numbers_that_readers_of_ndjson_round_are_said_once() {
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    let exact = "SELECT n, 9007199254740992 + n AS id, 0.12345678901234567891 AS rate, 1.25 AS price, \
        0.1::float8 + 0.2::float8 AS float, '12345678901234567890' AS text FROM generate_series(0, 2) n";
    let kept = "SELECT 9007199254740992 AS id, 123456789012.345 AS price";
    world.queries(&[("exact", exact), ("kept", kept)]);
    let mut function = world.function().await;
    for (query, ending) in
        [("exact", "ndjson"), ("exact", "csv"), ("exact", "parquet"), ("kept", "ndjson")]
    {
        let event = json!({ "query": query, "to": format!("{query}.{ending}") });
        function.ok(event.to_string()).await;
    }
    let log = function.stop().await;
    let warnings: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["level"] == "WARN")
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!(
        (&warnings[0]["query"], &warnings[0]["columns"]),
        (&json!("exact"), &json!("id, rate"))
    );
    world.stop().await;
}

#[tokio::test]
async fn memory_does_not_grow_with_the_result() {
    let megabytes: u64 = std::env::var("EXPORT_MB").map_or(40, |text| text.parse().unwrap());
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    let rows = |rows: u64, texts: u64| {
        format!(
            "SELECT n, (SELECT string_agg(md5((n * i)::text), '') FROM generate_series(1, {texts}) i) AS t
             FROM generate_series(1, {rows}) n"
        )
    };
    let many = megabytes * 1000;
    world.queries(&[("many", &rows(many, 30)), ("long", &rows(megabytes, 31_250))]);
    for ending in ["ndjson", "csv.zst", "ndjson.gz", "parquet"] {
        for (query, rows) in [("many", many), ("long", megabytes)] {
            let timeout = std::time::Duration::from_secs(600);
            let mut function = world.function_with_timeout(timeout).await;
            let event = json!({ "query": query, "to": format!("{query}.{ending}") }).to_string();
            let answer = function.ok(event).await;
            let peak = function.memory_kib("VmHWM") / 1024;
            println!("{query} {ending}: {answer}, peak {peak} MiB");
            assert_eq!(answer["rows"], json!(rows));
            assert!(peak <= 96, "{query} {ending}: {peak} MiB");
            function.stop().await;
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_missing_or_wrong_prefix_is_reported_by_every_invocation() {
    let mut world = World::start(env!("CARGO_BIN_EXE_export-query")).await;
    for wrong in ["", "bucket", "s3://Bucket/"] {
        world.set("EXPORT_PREFIX", wrong);
        let mut function = world.function().await;
        let error = function.error("{}").await;
        assert_eq!(error.error_type, "Config.Invalid");
        assert!(error.error_message.contains("EXPORT_PREFIX"), "{}", error.error_message);
        function.stop().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_copy_is_refused_without_a_login() {
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    world.queries(&[("copy", "-- all\nCOPY customers TO STDOUT")]);
    let mut function = world.function().await;
    for format in ["ndjson", "csv", "parquet"] {
        let event = format!(r#"{{"query":"copy","to":"{{run}}.{format}"}}"#);
        let error = function.error(event).await;
        assert_eq!(error.error_type, "Query.Invalid", "{}", error.error_message);
        assert!(error.error_message.contains("COPY"), "{}", error.error_message);
    }
    function.stop().await;
    assert_eq!(world.logins(), (0, vec![]));
    world.stop().await;
}
