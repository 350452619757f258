//! Every event file has the outcome of its table, and the examples do what they say.

use crate::common;

use common::{root, start};
use rds_local::runtime_api::Outcome;
use rds_local::testing::{World, summaries};
use serde_json::{Value, json};

fn event(file: &str) -> Vec<u8> {
    std::fs::read(root().join("events/batch-job").join(file)).unwrap()
}

/// File and outcome of each line of the README's table.
fn documented() -> Vec<[String; 2]> {
    let table = String::from_utf8(event("README.md")).unwrap();
    table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().to_owned()).skip(1);
            let file = cells.next().filter(|file| file.ends_with(".json"))?;
            Some([file, cells.next()?])
        })
        .collect()
}

fn outcome_of(outcome: &Outcome) -> String {
    let Outcome::Response(body) = outcome else { return outcome.error().unwrap().error_type };
    let response: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(response["done"], true, "{response}");
    format!("{} chunks, {} rows", response["chunks"], response["rows"])
}

const ORDERS: &str = "INSERT INTO orders SELECT n, 1, now() - make_interval(days =>
    CASE WHEN n <= 1000 THEN 100 WHEN n <= 2000 THEN 40 ELSE 0 END) FROM generate_series(1, 2500) n";

#[tokio::test]
async fn every_event_file_has_its_documented_outcome() {
    let documented = documented();
    let files = std::fs::read_dir(root().join("events/batch-job")).unwrap();
    let files = files.filter(|entry| entry.as_ref().unwrap().path().extension().unwrap() == "json");
    assert_eq!(files.count(), documented.len(), "each file is documented");
    let world = start().await;
    world.run(ORDERS).await;
    let mut function = world.function().await;
    for [file, expected] in &documented {
        for _ in 0..2 {
            let outcome = function.invoke(event(file)).await;
            assert_eq!(outcome_of(&outcome), *expected, "{file}: {outcome:?}");
        }
    }
    let counts =
        "SELECT ARRAY[(SELECT count(*) FROM orders), (SELECT count(*) FROM orders_archive),
        (SELECT sum(orders)::bigint FROM order_totals)]";
    // The totals were refreshed before the second purge.
    assert_eq!(world.rows(counts).await[0].get::<_, Vec<i64>>(0), [500, 1000, 1500]);
    let history =
        "SELECT status || ' ' || coalesce(error_type, '') || ' ' || invocations FROM job_runs
        WHERE run IN ('2026-11-24T03:00:00Z', 'bad-1') ORDER BY started_at";
    let history: Vec<String> = world.rows(history).await.iter().map(|row| row.get(0)).collect();
    assert_eq!(history, ["finished  1", "failed Query.BadParameter 2"]);
    let log = function.stop().await;
    assert!(log.iter().all(|line| !line.contains("panic")), "{log:#?}");
    let first = &summaries(&log)[0];
    assert_eq!((&first["chunks"], &first["rows"]), (&json!(4), &json!(1000)), "{first}");
    assert_eq!((&first["lease_lost"], &first["stalled"]), (&json!(0), &json!(0)));
    assert!(first["run_seconds"].as_u64().unwrap() < 60);
    let metrics = first["_aws"].to_string();
    assert!(metrics.contains(r#"{"Name":"run_seconds","Unit":"Seconds"}"#), "{metrics}");
    world.stop().await;
}

/// The history is a query like any other, for a user who may only read.
#[tokio::test]
async fn the_history_can_be_read() {
    let mut world = start().await;
    let mut function = world.function().await;
    function.ok(event("purge.json")).await;
    function.ok(event("read.json")).await;
    function.stop().await;
    world.set("PGUSER", "iam_ro_user");
    let reader = root().join("target/debug/scheduled-query");
    assert!(reader.exists(), "{} is missing: run cargo build --workspace", reader.display());
    let mut function = rds_local::testing::Function::start(
        reader,
        &world.variables,
        std::time::Duration::from_secs(30),
    )
    .await;
    let response = function.ok(r#"{"query":"job_runs","params":{"job":"purge_orders"}}"#).await;
    assert_eq!(response["row_count"], 1, "{response}");
    assert_eq!(response["rows"][0]["status"], "finished");
    function.stop().await;
    world.stop().await;
}

async fn batch(world: &mut World, queries: &[(&str, &str)]) {
    world.run("CREATE TABLE items (n int PRIMARY KEY); GRANT SELECT, INSERT, UPDATE, DELETE ON items TO iam_rw_user").await;
    world.queries(queries);
}

const DELETE: &str = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n\
    params = [{ name = \"chunk\", default = 10 }]\n+++*/
    DELETE FROM items WHERE n IN (SELECT n FROM items ORDER BY n LIMIT $1)";

/// Its invocations may be on two days: the date counts from the run.
#[tokio::test]
async fn a_date_counts_from_the_run() {
    let mut world = start().await;
    let roll_up = "/*+++\nmode = \"write\"\nresult = \"affected\"\n\
        params = [{ name = \"day\", type = \"date\", default = \"{date-1d}\" }]\n+++*/
        INSERT INTO items SELECT to_char($1::date, 'YYYYMMDD')::int";
    batch(&mut world, &[("roll_up", roll_up)]).await;
    let mut function = world.function().await;
    function.ok(r#"{"query":"roll_up","run":"2026-11-28T02:00:00Z"}"#).await;
    function.ok(r#"{"query":"roll_up","run":"2026-11-27T02:00:00.123Z"}"#).await;
    for run in ["\"r\"", "null"] {
        let error = function.error(format!(r#"{{"query":"roll_up","run":{run}}}"#)).await;
        assert_eq!(error.error_type, "Query.BadParameter", "{run}");
        assert!(error.error_message.contains("counts from the run"), "{}", error.error_message);
    }
    let days = world.rows("SELECT string_agg(n::text, ' ' ORDER BY n) FROM items").await;
    assert_eq!(days[0].get::<_, String>(0), "20261126 20261127");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_wait_for_another_invocation_is_said_at_its_start() {
    let mut world = start().await;
    batch(&mut world, &[("delete", DELETE)]).await;
    let mut function = world.function().await;
    function.ok(r#"{"query":"delete","run":"r"}"#).await;
    // As another sandbox has it that was killed between two chunks.
    let lease = "UPDATE job_runs SET status = 'running', owner = 1, chunks = 7, rows = 70,
        lease_until = clock_timestamp() + interval '4 s' WHERE run = 'r'";
    world.run(lease).await;
    let response = function.ok(r#"{"query":"delete","run":"r"}"#).await;
    assert_eq!(response["done"], true, "{response}");
    assert_eq!(
        (&response["chunks"], &response["this_call"]),
        (&json!(8), &json!({"chunks": 1, "rows": 0}))
    );
    world.run(lease).await;
    let response = function.ok(r#"{"query":"delete","run":"s","overlap":"wait"}"#).await;
    assert_eq!(response["done"], true, "{response}");
    let log = function.stop().await;
    let lines: Vec<Value> = log.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<usize> = (0..lines.len())
        .filter(|at| lines[*at]["message"].as_str().unwrap().starts_with("waiting: "))
        .collect();
    // One for each wait, before the line of its invocation.
    assert_eq!(told, [1, 3], "{log:#?}");
    for at in told {
        let (line, summary) = (&lines[at], &lines[at + 1]);
        assert_eq!(
            (&line["run"], &line["chunks"], &line["rows"]),
            (&json!("r"), &json!(7), &json!(70))
        );
        assert!(
            line["lease_until"].as_str().unwrap() >= line["progressed_at"].as_str().unwrap(),
            "{line}"
        );
        assert!(line["timestamp"].as_str() < summary["timestamp"].as_str(), "{line} {summary}");
    }
    world.stop().await;
}

#[tokio::test]
async fn an_invocation_stops_in_time_and_the_next_goes_on() {
    let mut world = start().await;
    let slow = DELETE.replace(
        "ORDER BY n LIMIT $1",
        "ORDER BY n LIMIT $1) AND (SELECT pg_sleep(0.05) IS NOT NULL",
    );
    batch(&mut world, &[("slow", &slow)]).await;
    world.run("INSERT INTO items SELECT generate_series(1, 1000)").await;
    let event = r#"{"query":"slow","run":"r"}"#;
    let (mut calls, mut chunks) = (0, 0);
    loop {
        // Another sandbox each time.
        let mut function = world.function_with_timeout(std::time::Duration::from_secs(2)).await;
        let response = function.ok(event).await;
        function.stop().await;
        calls += 1;
        assert!(response["chunks"].as_u64().unwrap() > chunks, "progress: {response}");
        chunks = response["chunks"].as_u64().unwrap();
        if response["done"] == true {
            assert_eq!(
                response,
                json!({"job":"slow","run":"r","done":true,"step":1,"query":"slow","chunks":101,"rows":1000,"this_call":response["this_call"]})
            );
            assert!(response["this_call"]["rows"].as_u64().unwrap() < 1000, "{response}");
            break;
        }
    }
    assert!(calls >= 3, "the work is longer than two time-outs: {calls}");
    let row = &world.rows("SELECT invocations, status FROM job_runs").await[0];
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1)), (calls, "finished"));
    world.stop().await;
}

#[tokio::test]
async fn a_chunk_that_violates_a_constraint_fails_the_run_and_keeps_what_was_done() {
    let mut world = start().await;
    batch(&mut world, &[("purge", DELETE)]).await;
    world
        .run(
            "INSERT INTO items SELECT generate_series(1, 100);
              CREATE TABLE uses (n int REFERENCES items); INSERT INTO uses VALUES (35)",
        )
        .await;
    let mut function = world.function().await;
    for invocation in 1..=2 {
        let error = function.error(r#"{"query":"purge","run":"r"}"#).await;
        assert_eq!(error.error_type, "Query.Failed", "{}", error.error_message);
        assert!(error.error_message.contains("uses_n_fkey"), "{}", error.error_message);
        let row = &world
            .rows("SELECT status, chunks, rows, invocations, error_type, message FROM job_runs")
            .await[0];
        let counts = (row.get::<_, i64>(1), row.get::<_, i64>(2), row.get::<_, i32>(3));
        assert_eq!((row.get::<_, &str>(0), counts), ("failed", (3, 30, invocation)));
        assert_eq!(row.get::<_, &str>(4), "Query.Failed");
        assert_eq!(row.get::<_, &str>(5), error.error_message);
    }
    world.run("DELETE FROM uses").await;
    let response = function.ok(r#"{"query":"purge","run":"r"}"#).await;
    assert_eq!((&response["rows"], &response["chunks"]), (&json!(100), &json!(11)), "{response}");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn max_chunks_ends_a_step_and_sizes_adapt_to_the_time() {
    let mut world = start().await;
    let forever = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\nmax_chunks = 7\n+++*/
        UPDATE items SET n = n";
    let adapt = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n\
        adapt = { param = \"chunk\", seconds = 0.05 }\nparams = [{ name = \"chunk\", default = 1 }]\n+++*/
        DELETE FROM items WHERE n IN (SELECT n FROM items LIMIT $1) AND (SELECT pg_sleep(0.0005 * $1) IS NOT NULL)";
    batch(&mut world, &[("forever", forever), ("adapt", adapt)]).await;
    world.run("INSERT INTO items SELECT generate_series(1, 2000)").await;
    let mut function = world.function().await;
    let response =
        function.ok(r#"{"job":"both","queries":["forever","adapt"],"params":{"chunk":1}}"#).await;
    let chunks = response["chunks"].as_u64().unwrap();
    assert_eq!(response["rows"], 7 * 2000 + 2000, "{response}");
    // From one row, doubling, to about a hundred rows a chunk: some 8 + 20 of them; 7 before, 1 after.
    assert!((20..70).contains(&chunks), "{response}");
    let log = function.stop().await;
    assert!(log.iter().any(|line| line.contains("ended at its max_chunks")), "{log:#?}");
    world.stop().await;
}
