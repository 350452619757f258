//! Behind RDS Proxy: nothing is sent that it refuses, or that pins a session.

use crate::common;

use std::time::Duration;

use common::{Database, prepare, rows, run, run_within};
use rds_iam::ErrorKind;
use rds_iam::Work;
use rds_iam::deadline::Deadline;
use rds_iam::session::BatchItem;
use rds_local::Options;

const INSERT: &str = "/*+++\nmode = \"write\"\nparams = [{ name = \"id\" }]\n+++*/
    INSERT INTO marks (id) VALUES ($1) RETURNING id";

#[tokio::test]
async fn reads_and_writes_pin_nothing() {
    let database = Database::start(|options| Options { proxy: true, ..options }).await;
    assert!(database.variables["PGHOST"].contains(".proxy-"));
    let session = database.session(&[]);
    for id in 1..=3 {
        let answer = run(&session, INSERT, &format!(r#"{{"id":{id}}}"#)).await.unwrap();
        assert_eq!(rows(&answer), [format!(r#"{{"id":{id}}}"#)]);
        run(&session, "SELECT count(*) AS n FROM marks", "{}").await.unwrap();
    }
    // A read stays one, though nothing was SET.
    let error = run(&session, "SELECT * FROM marks FOR UPDATE", "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryDenied, "{error}");
    let (query, parameters) = prepare(INSERT, r#"{"id":4}"#);
    let item =
        BatchItem { query: &query, parameters: &parameters, message_id: "m", keeps_rows: false };
    let deadline = Deadline::after(Duration::from_secs(20));
    for items in [vec![item; 3], vec![BatchItem { keeps_rows: true, ..item }]] {
        let outcomes = session.run_batch(&items, &mut Work::new(deadline)).await.unwrap();
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
    assert_eq!(database.number("SELECT count(*) FROM marks WHERE id = 4").await, 1);
    assert_eq!(database.server.gate.pinned(), 0);

    // The gate does notice: as a plain database's endpoint, each transaction begins with SET.
    let direct = database.session(&[("DB_PROXY", "false")]);
    run(&direct, "SELECT 1 AS n", "{}").await.unwrap();
    assert!(database.server.gate.pinned() > 0);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn time_outs_come_from_the_role_or_else_from_the_deadline() {
    let database = Database::start(|options| Options { proxy: true, ..options }).await;
    let sleep = "SELECT pg_sleep(60)::text AS s";
    let left = Duration::from_secs(1);
    let session = database.session(&[]);
    let (answer, _) = run_within(&session, left, sleep, "{}").await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::QueryTimeout);
    database.admin("ALTER ROLE iam_rw_user SET statement_timeout = '300ms'").await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    let (answer, _) = run_within(&session, left, sleep, "{}").await;
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryTimeout);
    // It was the server's time-out: the connection is good for the next.
    let (answer, report) = run_within(&session, left, "SELECT 1 AS n", "{}").await;
    answer.unwrap();
    assert!(report.reused);
    database.server.stop().await.unwrap();
}
