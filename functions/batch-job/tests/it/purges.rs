//! The example purges take what is due and nothing else: of partitions and tables that inherit, where rows
//! of several tables have one address, and while another session renews a row.

use crate::common;

use std::time::Duration;

use common::start;
use rds_local::testing::World;
use serde_json::json;
use tokio::time::sleep;

/// Each with three orders that are due, and five that are not. `orders_archive` stays as it is.
const TABLES: [(&str, &str); 4] = [
    ("plain", "CREATE TABLE orders (LIKE orders_archive INCLUDING INDEXES)"),
    (
        "partitioned by time",
        "CREATE TABLE orders (LIKE orders_archive) PARTITION BY RANGE (received_at);
         CREATE TABLE orders_old PARTITION OF orders FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
         CREATE TABLE orders_new PARTITION OF orders FOR VALUES FROM ('2020-01-01') TO (MAXVALUE)",
    ),
    (
        "partitioned by key",
        "CREATE TABLE orders (LIKE orders_archive) PARTITION BY HASH (order_id);
         CREATE INDEX ON orders (received_at);
         CREATE TABLE orders_0 PARTITION OF orders FOR VALUES WITH (MODULUS 3, REMAINDER 0);
         CREATE TABLE orders_1 PARTITION OF orders FOR VALUES WITH (MODULUS 3, REMAINDER 1)
            PARTITION BY LIST (total);
         CREATE TABLE orders_1_1 PARTITION OF orders_1 DEFAULT;
         CREATE TABLE orders_2 PARTITION OF orders FOR VALUES WITH (MODULUS 3, REMAINDER 2)",
    ),
    (
        "inherited",
        "CREATE TABLE orders (LIKE orders_archive);
         CREATE TABLE orders_child () INHERITS (orders)",
    ),
];
const ROWS: &str =
    "INSERT INTO orders SELECT 'old' || n, n, '2019-01-01'::timestamptz + n * interval '1 d'
        FROM generate_series(1, 3) n;
    INSERT INTO orders SELECT 'new' || n, n, now() FROM generate_series(1, 5) n";
const LEFT: &str = "SELECT coalesce(string_agg(order_id, ' ' ORDER BY order_id), '') FROM orders";

async fn remake(world: &World, name: &str, tables: &str) {
    world.run("DROP TABLE orders CASCADE; TRUNCATE orders_archive").await;
    world.run(tables).await;
    world.run("GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO iam_rw_user").await;
    world.run(ROWS).await;
    if name == "inherited" {
        let child = "INSERT INTO orders_child SELECT * FROM ONLY orders WHERE order_id > 'o';
            DELETE FROM ONLY orders WHERE order_id > 'o'";
        world.run(child).await;
    }
}

async fn text(world: &World, sql: &str) -> String {
    world.rows(sql).await[0].get(0)
}

#[tokio::test]
async fn only_what_is_due_goes_whatever_the_table_is_made_of() {
    let world = start().await;
    let mut function = world.function().await;
    for (name, tables) in TABLES {
        for query in ["purge_orders", "archive_orders"] {
            for chunk in [1, 2, 3, 1000] {
                remake(&world, name, tables).await;
                let event = json!({
                    "query": query, "run": format!("{name}, {query}, {chunk}"), "params": { "chunk": chunk }
                });
                let response = function.ok(event.to_string()).await;
                assert_eq!(response["rows"], 3, "{name}: {response}");
                let left = text(&world, LEFT).await;
                assert_eq!(left, "new1 new2 new3 new4 new5", "{name}, {query}, {chunk}");
                let archived = text(&world, &LEFT.replace("orders", "orders_archive")).await;
                let expected = if query == "archive_orders" { "old1 old2 old3" } else { "" };
                assert_eq!(archived, expected, "{name}, {query}, {chunk}");
            }
        }
    }
    function.stop().await;
    world.stop().await;
}

/// Runs a job while another session is changing a row that the job has chosen. Returns its answer.
async fn run_beside(world: &World, change: &str, event: serde_json::Value) -> serde_json::Value {
    let other = world.server.database.superuser(rds_local::DATABASE).await.unwrap();
    other.batch_execute(&format!("BEGIN; {change}")).await.unwrap();
    let mut function = world.function().await;
    let waits = "SELECT count(*)::text FROM pg_stat_activity
        WHERE usename = 'iam_rw_user' AND wait_event_type = 'Lock'";
    let commit = async {
        while text(world, waits).await == "0" {
            sleep(Duration::from_millis(10)).await;
        }
        other.batch_execute("COMMIT").await.unwrap();
    };
    let (response, ()) = tokio::join!(function.ok(event.to_string()), commit);
    function.stop().await;
    response
}

#[tokio::test]
async fn a_row_that_another_session_renews_meanwhile_stays() {
    let world = start().await;
    for (name, tables) in TABLES {
        // In another partition by now, it is a transient error, and the chunk runs again.
        for query in ["purge_orders", "archive_orders"] {
            remake(&world, name, tables).await;
            // Enough rows that their addresses are looked up one by one.
            world.run("INSERT INTO orders SELECT 'x' || n, n, now() FROM generate_series(1, 10000) n; ANALYZE orders").await;
            let renew = "UPDATE orders SET received_at = now() WHERE order_id = 'old2'";
            let event = json!({ "query": query, "run": format!("renewed {name} {query}") });
            let response = run_beside(&world, renew, event).await;
            assert_eq!(response["rows"], 2, "{name}: {response}");
            let left = text(&world, &format!("{LEFT} WHERE order_id < 'x'")).await;
            assert_eq!(left, "new1 new2 new3 new4 new5 old2", "{name}, {query}");
        }
    }
    let old = "INSERT INTO job_runs (job, run, status, step, query, lease_until, input, progressed_at)
        SELECT 'j', n::text, 'failed', 1, 'q', now(), '', '2019-01-01' FROM generate_series(1, 3) n";
    for renew in ["progressed_at = now()", "status = 'running'"] {
        world.run(&format!("TRUNCATE job_runs; {old}")).await;
        let renew = format!("UPDATE job_runs SET {renew} WHERE job = 'j' AND run = '2'");
        let response = run_beside(&world, &renew, json!({ "query": "purge_job_runs" })).await;
        assert_eq!(response["rows"], 2, "{response}");
        assert_eq!(text(&world, "SELECT run FROM job_runs WHERE job = 'j'").await, "2");
    }
    world.stop().await;
}

#[tokio::test]
async fn rows_that_another_session_only_touches_meanwhile_go_all_the_same() {
    let world = start().await;
    for (name, tables) in TABLES {
        for query in ["purge_orders", "archive_orders"] {
            remake(&world, name, tables).await;
            let touch = "UPDATE orders SET total = total + 1 WHERE order_id LIKE 'old%'";
            let event = json!({ "query": query, "run": format!("touched {name} {query}") });
            let response = run_beside(&world, touch, event).await;
            assert_eq!(response["rows"], 3, "{name}: {response}");
            let left = text(&world, LEFT).await;
            assert_eq!(left, "new1 new2 new3 new4 new5", "{name}, {query}");
        }
    }
    world.stop().await;
}

const REPEAT: &str = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n\
    params = [{ name = \"chunk\", default = 2 }]\n+++*/";

#[tokio::test]
async fn a_job_that_would_never_end_or_end_at_once_is_refused_without_a_login() {
    let mut world = start().await;
    let [limit, fetch, count, copy] = [
        "DELETE FROM orders WHERE order_id IN (SELECT order_id FROM orders LIMIT $1)",
        "DELETE FROM orders WHERE order_id IN (SELECT order_id FROM orders FETCH FIRST ($1) ROWS ONLY)",
        "WITH d AS (DELETE FROM orders RETURNING *) SELECT count(*) + $1::int FROM d",
        "COPY orders FROM STDIN",
    ]
    .map(|sql| format!("{REPEAT} {sql}"));
    world.queries(&[("limit", &limit), ("fetch", &fetch), ("count", &count), ("copy", &copy)]);
    world.run(ROWS).await;
    let mut function = world.function().await;
    for (query, chunk, expected) in [
        ("limit", "0", "Query.BadParameter"),
        ("limit", "-1", "Query.BadParameter"),
        ("fetch", "\"00\"", "Query.BadParameter"),
        ("count", "1", "Query.Invalid"),
        ("copy", "1", "Query.Invalid"),
    ] {
        let event = format!(r#"{{"query":"{query}","run":"r","params":{{"chunk":{chunk}}}}}"#);
        let error = function.error(event).await;
        assert_eq!(error.error_type, expected, "{query}: {}", error.error_message);
    }
    assert_eq!(world.logins(), (0, vec![]));
    assert_eq!(text(&world, "SELECT count(*)::text FROM job_runs").await, "0");
    let response = function.ok(r#"{"query":"limit","run":"r"}"#).await;
    assert_eq!((&response["rows"], &response["chunks"]), (&json!(8), &json!(5)), "{response}");
    function.stop().await;
    world.stop().await;
}
