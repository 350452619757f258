//! Writes: committed only when every answer was looked at, and rolled back by any refusal.

use crate::common;

use std::time::Duration;

use common::{Database, rows, run, run_within};
use rds_iam::ErrorKind;
use rds_iam::query::Answer;

const INSERT: &str = "/*+++\nmode = \"write\"\nparams = [{ name = \"id\" }]\n+++*/
    INSERT INTO marks (id, note) VALUES ($1, 'n') RETURNING id, note";
const COUNT: &str = "SELECT count(*) FROM marks";

#[tokio::test]
async fn a_write_returns_its_rows_and_is_committed() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let answer = run(&session, INSERT, r#"{"id":1}"#).await.unwrap();
    assert_eq!(rows(&answer), [r#"{"id":1,"note":"n"}"#]);
    let delete = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/ DELETE FROM marks";
    assert_eq!(database.number(COUNT).await, 1);
    assert!(matches!(run(&session, delete, "{}").await.unwrap(), Answer::Affected(1)));
    assert_eq!(database.number(COUNT).await, 0);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_refused_write_is_rolled_back_and_the_connection_kept() {
    let database = Database::start(|options| options).await;
    database
        .admin(
            "ALTER TABLE marks ADD other int REFERENCES marks DEFERRABLE INITIALLY DEFERRED;
             CREATE FUNCTION fail_after(n int) RETURNS int LANGUAGE plpgsql AS
             'BEGIN INSERT INTO marks VALUES (n, ''x''); RAISE EXCEPTION ''no''; END'",
        )
        .await;
    let session = database.session(&[]);
    run(&session, INSERT, r#"{"id":1}"#).await.unwrap();
    let write = |sql: &str| format!("/*+++\nmode = \"write\"\n+++*/ {sql}");
    let huge = "INSERT INTO marks (id, note) SELECT n, repeat('x', 1000) FROM generate_series(10, 9000) n RETURNING *";
    for (sql, kind) in [
        ("INSERT INTO marks VALUES (1, 'again') RETURNING id", ErrorKind::QueryFailed),
        ("SELECT fail_after(7) AS n", ErrorKind::QueryFailed),
        // Only COMMIT finds this one.
        ("INSERT INTO marks VALUES (2, 'x', 99) RETURNING id", ErrorKind::QueryFailed),
        ("INSERT INTO marks VALUES (3, 'x') RETURNING nothing", ErrorKind::QueryInvalid),
        ("DELETE FROM marks", ErrorKind::QueryInvalid),
        ("SELECT pg_sleep(60)::text AS s", ErrorKind::QueryTimeout),
    ] {
        let left = Duration::from_secs(2);
        let (answer, report) = run_within(&session, left, &write(sql), "{}").await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), kind, "{sql}: {error}");
        assert!(report.reused, "{sql}");
    }
    // Here the connection is in the middle of an answer, and is dropped.
    let error = run(&session, &write(huge), "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResultTooLarge, "{error}");
    assert_eq!(database.number(COUNT).await, 1);
    run(&session, INSERT, r#"{"id":4}"#).await.unwrap();
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_lock_is_waited_for_half_of_the_time() {
    let database = Database::start(|options| options).await;
    database.admin("INSERT INTO marks VALUES (1, 'x')").await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS one", "{}").await.unwrap();
    let holder = database.server.database.superuser(rds_local::DATABASE).await.unwrap();
    holder.batch_execute("BEGIN; UPDATE marks SET note = 'held' WHERE id = 1").await.unwrap();
    let update = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/ UPDATE marks SET note = 'mine' WHERE id = 1";
    let (answer, report) = run_within(&session, Duration::from_secs(3), update, "{}").await;
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryTimeout);
    assert!(error.to_string().contains("lock"), "{error}");
    let waited = report.query.unwrap();
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert!(matches!(run(&session, update, "{}").await.unwrap(), Answer::Affected(1)));
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_sandbox_gone_between_statement_and_commit_holds_no_lock_for_long() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS one", "{}").await.unwrap();
    let slowly = "/*+++\nmode = \"write\"\n+++*/ INSERT INTO marks SELECT 1, 'x' FROM pg_sleep(0.5) RETURNING id";
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let holding = "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'marks'";
    let left = Duration::from_secs(3);
    // The network goes silent, for good: the answer does not come, nor does COMMIT, nor a FIN.
    let silence = async {
        while database.number(sleeping).await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        database.server.gate.set_fault(rds_local::gate::Fault::Stall);
    };
    let ((answer, _), ()) = tokio::join!(run_within(&session, left, slowly, "{}"), silence);
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryTimeout);
    assert!(error.to_string().contains("nothing was written"), "{error}");
    assert_eq!(database.number(sleeping).await, 0);
    let released = async {
        while database.number(holding).await > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(left, released).await.unwrap();
    assert_eq!(database.number(COUNT).await, 0);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_deadlock_is_transient() {
    let database = Database::start(|options| options).await;
    database.admin("INSERT INTO marks VALUES (1, 'a'), (2, 'b')").await;
    // The function's wait begins first, so it is the one that looks for a deadlock and gives way.
    let admin = database.server.database.superuser(rds_local::DATABASE).await.unwrap();
    admin
        .batch_execute(
            "SET deadlock_timeout = '1min'; BEGIN; UPDATE marks SET note = 'x' WHERE id = 1",
        )
        .await
        .unwrap();
    let session = database.session(&[]);
    let text = "/*+++\nmode = \"write\"\n+++*/ UPDATE marks SET note = 'y'
        WHERE id IN (SELECT id FROM marks ORDER BY id DESC FOR UPDATE) RETURNING id";
    let function = common::run(&session, text, "{}");
    let other = async {
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
        while database.number(waiting).await == 0 {}
        admin.batch_execute("UPDATE marks SET note = 'x' WHERE id = 2").await.unwrap();
        admin.batch_execute("ROLLBACK").await.unwrap();
    };
    let (error, ()) = tokio::join!(function, other);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryFailed);
    assert!(error.is_transient() && error.to_string().contains("40P01"), "{error}");
    assert!(!ErrorKind::QueryFailed.is_transient());
    database.server.stop().await.unwrap();
}

/// A deferred trigger's notice arrives after COMMIT was sent.
#[tokio::test]
async fn a_huge_message_in_the_answer_to_commit_leaves_the_outcome_unknown() {
    let database = Database::start(|options| options).await;
    database
        .admin(
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
             $$BEGIN RAISE NOTICE '%', repeat('x', 8000000); RETURN NULL; END$$;
             CREATE CONSTRAINT TRIGGER shout AFTER INSERT ON marks DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION shout()",
        )
        .await;
    let session = database.session(&[]);
    let error = run(&session, INSERT, r#"{"id":1}"#).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryOutcomeUnknown, "{error}");
    database.server.stop().await.unwrap();
}

/// The text of a RAISE, and every other field of it, is the database's code's to fill in.
#[tokio::test]
async fn no_text_of_the_databases_own_code_is_repeated() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    for (n, raise) in [
        "RAISE EXCEPTION 's3cret' USING ERRCODE = '42501'",
        "RAISE EXCEPTION 's3cret' USING ERRCODE = '53100'",
        "RAISE EXCEPTION 's3cret' USING ERRCODE = '57P03'",
        "RAISE EXCEPTION 's3cret' USING ERRCODE = '42601'",
        "RAISE EXCEPTION 's3cret' USING ERRCODE = '23505', CONSTRAINT = 's3cret', TABLE = 's3cret', COLUMN = 's3cret'",
        "RAISE EXCEPTION USING MESSAGE = 's3cret', DETAIL = 's3cret', HINT = 's3cret', SCHEMA = 's3cret', ERRCODE = '40001'",
        "EXECUTE 'SELECT ' || quote_ident('s3cret')",
        "EXECUTE 's3cret'",
        "PERFORM 's3cret'::int",
        "PERFORM set_config('s3cret', 'x', false)",
        "EXECUTE 'SELECT * FROM ' || quote_ident('s3cret')",
    ]
    .iter()
    .enumerate()
    {
        let raise = raise.replace('\'', "''");
        database
            .admin(&format!(
                "CREATE FUNCTION raise_{n}() RETURNS int LANGUAGE plpgsql AS 'BEGIN {raise}; RETURN 1; END'"
            ))
            .await;
        for text in [
            format!("SELECT raise_{n}() AS n"),
            format!("/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/ INSERT INTO marks VALUES (raise_{n}())"),
        ] {
            let error = common::run(&session, &text, "{}").await.unwrap_err();
            let message = format!("{error} {error:?}");
            assert!(!message.contains("s3cret"), "{raise}: {message}");
        }
    }
    // What the server itself says of the file's own text still helps.
    let error = common::run(&session, "SELECT missing FROM marks", "{}").await.unwrap_err();
    assert!(error.to_string().contains("\"missing\" does not exist"), "{error}");
    let error = common::run(&session, "SELECT * FROM pg_authid", "{}").await.unwrap_err();
    assert!(error.to_string().contains("permission denied for table pg_authid"), "{error}");
    database.server.stop().await.unwrap();
}

/// The server's own messages repeat arguments too.
#[tokio::test]
async fn no_argument_is_repeated() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    database.admin("CREATE ROLE s3cret").await;
    for call in [
        "set_config('role', $1, true)",
        "set_config('session_authorization', $1, true)",
        "set_config($1, 'x', true)",
        "current_setting($1)",
        "pg_read_file($1)",
        "to_regclass($1)::text || $1::text::regclass",
        "$1::text::regtype::text",
        "$1::text::jsonpath::text",
        "to_tsquery($1 || ' s3cret :')::text",
        "query_to_xml($1, true, true, '')::text",
    ] {
        for value in ["s3cret", "\"x message_ledger s3cret\"", "SELECT 's3cret'::int"] {
            let params = serde_json::json!({ "v": value }).to_string();
            let read = format!("/*+++\nparams = [{{ name = \"v\" }}]\n+++*/ SELECT {call} AS v");
            let Err(error) = common::run(&session, &read, &params).await else { continue };
            let message = format!("{error} {error:?}");
            assert!(!message.contains("s3cret"), "{call}: {message}");
        }
    }
    database.server.stop().await.unwrap();
}
