//! Rows that are handed on as they arrive: back-pressure, ends of all kinds, and RDS Proxy.

use crate::common;

use std::time::Duration;

use common::{Database, prepare, run};
use rds_iam::deadline::Deadline;
use rds_iam::postgres::{ColumnKind, RowForm, Value};
use rds_iam::session::RowStream;
use rds_iam::{ErrorKind, Session, Work};
use rds_local::Options;

/// 100 MB, row by row.
const LARGE: &str = "SELECT n, repeat('x', 1000) AS t FROM generate_series(1, 100000) n";

fn work() -> Work {
    Work::new(Deadline::after(Duration::from_secs(60)))
}

async fn start<'s>(
    session: &'s Session,
    sql: &str,
    form: RowForm,
    work: &mut Work,
) -> RowStream<'s> {
    let (query, parameters) = prepare(sql, "{}");
    session.stream(&query, &parameters, form, work).await.unwrap()
}

#[tokio::test]
async fn the_server_waits_for_a_caller_that_takes_no_rows() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let mut rows = start(&session, LARGE, RowForm::Json, &mut work()).await;
    for n in 1..=3 {
        let row = rows.next().await.unwrap().unwrap();
        assert!(row.text().unwrap().starts_with(&format!("{{\"n\":{n},")));
    }
    let waits = "SELECT count(*) FROM pg_stat_activity
        WHERE usename = 'iam_rw_user' AND wait_event = 'ClientWrite'";
    while database.number(waits).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut count = 3;
    while rows.next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 100_000);
    assert!(rows.next().await.unwrap().is_none());
    drop(rows);
    // The connection is kept, and its transaction has ended.
    let mut next = work();
    start(&session, "SELECT 1 AS n", RowForm::Json, &mut next).await.next().await.unwrap();
    assert!(next.report.reused);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_wants_no_more_rows_stops_the_statement() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    // PostgreSQL sends nothing before it has 8 KB.
    let sleeps = "SELECT n, repeat('x', 20000) AS t, CASE WHEN n = 3 THEN pg_sleep(60) END AS s
        FROM generate_series(1, 3) n";
    let mut rows = start(&session, sleeps, RowForm::Json, &mut work()).await;
    rows.next().await.unwrap().unwrap();
    rows.stop().await;
    assert!(rows.next().await.unwrap().is_none());
    let active = "SELECT count(*) FROM pg_stat_activity
        WHERE usename = 'iam_rw_user' AND state = 'active'";
    for _ in 0..100 {
        if database.number(active).await == 0 {
            database.server.stop().await.unwrap();
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the statement still runs");
}

#[tokio::test]
async fn a_dead_connection_is_replaced_and_a_write_is_refused() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    database
        .admin(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'iam_rw_user'",
        )
        .await;
    let mut rows = start(&session, "SELECT 7 AS n", RowForm::Fields, &mut work()).await;
    assert_eq!(rows.columns()[0].name, "n");
    assert_eq!(rows.next().await.unwrap().unwrap().raw(0).unwrap(), Some(&[0, 0, 0, 7][..]));
    drop(rows);
    let write = "/*+++\nmode = \"write\"\n+++*/ INSERT INTO marks (id) VALUES (1) RETURNING id";
    let (query, parameters) = prepare(write, "{}");
    let refused = session.stream(&query, &parameters, RowForm::Json, &mut work()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::QueryDenied);
    // Nor does a read that calls what writes.
    let (query, parameters) = prepare("SELECT * FROM marks FOR UPDATE", "{}");
    let refused = session.stream(&query, &parameters, RowForm::Json, &mut work()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::QueryDenied);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn behind_rds_proxy_json_pins_nothing_and_a_pinned_connection_is_not_kept() {
    let database = Database::start(|options| Options { proxy: true, ..options }).await;
    let session = database.session(&[]);
    for form in [RowForm::Json, RowForm::Members] {
        let mut rows = start(&session, "SELECT 1 AS n", form, &mut work()).await;
        assert!(rows.columns().is_empty());
        while let Some(row) = rows.next().await.unwrap() {
            assert_eq!(row.text().unwrap(), r#"{"n":1}"#);
        }
    }
    assert_eq!(database.server.gate.pinned(), 0);
    let mut rows = start(&session, "SELECT 1 AS n", RowForm::Values, &mut work()).await;
    assert_eq!(rows.columns()[0].kind, ColumnKind::Int32);
    while rows.next().await.unwrap().is_some() {}
    drop(rows);
    let mut next = work();
    start(&session, "SELECT 1 AS n", RowForm::Json, &mut next).await.next().await.unwrap();
    assert!(!next.report.reused);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn no_name_of_a_statement_is_taken_for_the_row() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    for (sql, json, first) in [
        ("SELECT 1 AS _, 2 AS n", r#"{"_":1,"n":2}"#, Some(&[0, 0, 0, 1][..])),
        ("SELECT NULL::customers AS _, 2 AS c1", r#"{"_":null,"c1":2}"#, None),
        ("SELECT 1 AS rds_iam_rows, 2 AS c1", r#"{"rds_iam_rows":1,"c1":2}"#, Some(&[0, 0, 0, 1])),
        ("SELECT 1 AS c2, 2 AS c1", r#"{"c2":1,"c1":2}"#, Some(&[0, 0, 0, 1])),
    ] {
        let mut next = work();
        let mut rows = start(&session, sql, RowForm::Json, &mut next).await;
        assert_eq!(rows.next().await.unwrap().unwrap().text().unwrap(), json, "{sql}");
        assert!(rows.next().await.unwrap().is_none());
        for form in [RowForm::Members, RowForm::Fields] {
            let mut next = work();
            let mut rows = start(&session, sql, form, &mut next).await;
            let row = rows.next().await.unwrap().unwrap();
            assert_eq!(row.raw(0).unwrap(), first, "{form:?}: {sql}");
            assert_eq!(row.raw(1).unwrap(), Some(&[0, 0, 0, 2][..]), "{form:?}: {sql}");
            assert!(rows.next().await.unwrap().is_none());
        }
        let mut next = work();
        let mut rows = start(&session, sql, RowForm::Values, &mut next).await;
        let columns = rows.columns().to_vec();
        let row = rows.next().await.unwrap().unwrap();
        assert_eq!(row.value(1, &columns[1]).unwrap(), Value::Int32(2), "{sql}");
        assert!(rows.next().await.unwrap().is_none());
    }
    database.server.stop().await.unwrap();
}
