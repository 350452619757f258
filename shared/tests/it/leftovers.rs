//! An invocation finds the session as the first one did: what a statement left in it is released in the
//! flight that ended its transaction, on the same connection.

use crate::common;

use std::time::Duration;

use common::{Database, prepare, rows, run, run_within};
use rds_iam::deadline::Deadline;
use rds_iam::postgres::RowForm;
use rds_iam::query::{Answer, Parameters, Query};
use rds_iam::session::{BatchItem, JobReport, JobRun, Overlap, Step};
use rds_iam::{ErrorKind, Session, Work};
use rds_local::Options;

/// All of a session's state that a query can see.
const STATE: &str = "SELECT current_user AS who, session_user AS login,
    (SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings
     WHERE source = 'session' AND name NOT LIKE 'transaction%'
       AND name NOT IN ('statement_timeout', 'lock_timeout',
           'idle_in_transaction_session_timeout')) AS set,
    current_setting('TimeZone') AS zone, current_setting('search_path') AS path,
    (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
    (SELECT count(*) FROM pg_prepared_statements) AS prepared,
    (SELECT count(*) FROM pg_cursors WHERE is_holdable) AS cursors,
    (SELECT count(*) FROM pg_listening_channels()) AS channels,
    (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) AS temporary";
const LOCKS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
const LONG: Duration = Duration::from_secs(20);

fn read(sql: &str) -> String {
    format!("/*+++\nresult = \"affected\"\n+++*/ {sql}")
}

fn write(sql: &str) -> String {
    format!("/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/ {sql}")
}

async fn start(change: impl FnOnce(Options) -> Options) -> Database {
    let database = Database::start(change).await;
    database
        .admin(
            "CREATE ROLE other; GRANT other TO iam_rw_user; GRANT pg_read_all_settings TO other;
             CREATE FUNCTION tag() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', false); RETURN new; END $$;
             CREATE TABLE tagged (id serial PRIMARY KEY, n int);
             CREATE TRIGGER tag BEFORE INSERT ON tagged FOR EACH ROW EXECUTE FUNCTION tag();
             GRANT ALL ON tagged, tagged_id_seq TO iam_rw_user;
             CREATE FUNCTION hidden() RETURNS int LANGUAGE sql AS $$
             SELECT set_config('TimeZone', 'Asia/Tokyo', false); SELECT pg_advisory_lock(9); SELECT 1 $$;
             CREATE PROCEDURE procedure() LANGUAGE sql AS $$
             SELECT set_config('search_path', 'x', false); SELECT pg_advisory_lock(9) $$;
             CREATE VIEW set_by_update AS SELECT * FROM pg_settings",
        )
        .await;
    database
}

async fn state(session: &Session) -> String {
    let (answer, report) = run_within(session, LONG, STATE, "{}").await;
    assert!(report.reused);
    rows(&answer.unwrap())[0].to_owned()
}

#[tokio::test]
async fn each_invocation_finds_the_session_as_the_first_did() {
    let database = start(|options| options).await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    let first = state(&session).await;
    let mut texts: Vec<String> = [
        "SET TimeZone TO 'Asia/Tokyo'",
        "/* SELECT */ set session timezone to 'Asia/Tokyo'",
        "SELECT set_config('TimeZone', 'Asia/Tokyo', false)",
        "SELECT pg_catalog . \"set_config\" ('search_path', 'x', false)",
        "SELECT U&\"set\\005fconfig\"('search_path', 'x', false)",
        "SET client_encoding TO 'LATIN1'",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET default_transaction_isolation TO 'serializable'",
        "SET ROLE other",
        "SET SESSION AUTHORIZATION iam_rw_user",
        "SELECT pg_try_advisory_lock(7), pg_advisory_lock_shared(8)",
        "PREPARE p AS SELECT 1",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "LISTEN channel",
        "SELECT hidden()",
        "CALL procedure()",
        "DO $$ BEGIN PERFORM set_config('TimeZone', 'Asia/Tokyo', false); END $$",
        "UPDATE set_by_update SET setting = 'Asia/Tokyo' WHERE name = 'TimeZone'",
        "EXPLAIN ANALYZE SELECT hidden()",
    ]
    .iter()
    .flat_map(|sql| [read(sql), write(sql)])
    .collect();
    texts.extend([
        "SELECT hidden() AS n".into(),
        "/*+++\nresult = \"one\"\n+++*/ SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS n"
            .into(),
        "/*+++\nresult = \"check\"\n+++*/ SELECT hidden() AS n".into(),
        write("CREATE TEMP TABLE t (n int)"),
        write("CREATE TABLE pg_temp.t (n int)"),
        write("SELECT 1 AS n INTO TEMP t"),
        write("INSERT INTO tagged (n) VALUES (1)"),
        "/*+++\nmode = \"write\"\n+++*/ INSERT INTO tagged (n) VALUES (1) RETURNING id".into(),
    ]);
    for text in texts {
        let (answer, report) = run_within(&session, LONG, &text, "{}").await;
        // The view has no privileges for the user; what is refused leaves nothing either.
        if let Err(error) = answer {
            assert_eq!(error.kind(), ErrorKind::QueryDenied, "{text}: {error}");
        }
        assert!(report.reused, "{text}");
        // Before the next begins: a frozen sandbox would hold it.
        assert_eq!(database.number(LOCKS).await, 0, "{text}");
        assert_eq!(state(&session).await, first, "{text}");
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn numbers_of_sequences_are_not_seen_by_the_next() {
    let database = start(|options| options).await;
    let session = database.session(&[]);
    run(&session, &write("INSERT INTO tagged (n) VALUES (1)"), "{}").await.unwrap();
    for sql in ["SELECT lastval() AS n", "SELECT currval('tagged_id_seq') AS n"] {
        let error = run(&session, sql, "{}").await.unwrap_err();
        assert!(error.to_string().contains("55000"), "{error}");
    }
    database.server.stop().await.unwrap();
}

/// A session that ALTER ROLE gives a role and settings keeps these.
#[tokio::test]
async fn what_the_login_set_stays() {
    let database = start(|options| options).await;
    database
        .admin(
            "ALTER ROLE iam_rw_user SET role = 'other'; ALTER ROLE iam_rw_user SET search_path = 'public', 'y';
             ALTER DATABASE sample_db SET TimeZone = 'Europe/Berlin'",
        )
        .await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    let first = state(&session).await;
    assert!(first.contains(r#""who":"other""#) && first.contains("Europe/Berlin"), "{first}");
    for sql in ["SET ROLE NONE", "RESET ROLE", "SET TimeZone TO 'UTC'", "SET search_path TO x"] {
        run(&session, &read(sql), "{}").await.unwrap();
        assert_eq!(state(&session).await, first, "{sql}");
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn what_fails_or_takes_too_long_leaves_nothing() {
    let database = start(|options| options).await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    let first = state(&session).await;
    let all = "set_config('TimeZone', 'Asia/Tokyo', false), pg_advisory_lock(7)";
    for (mode, kind, sql) in [
        ("read", ErrorKind::QueryFailed, format!("SELECT {all}, 1 / 0 AS n")),
        ("write", ErrorKind::QueryFailed, format!("SELECT {all}, 1 / 0 AS n")),
        ("read", ErrorKind::QueryTimeout, format!("SELECT {all}, pg_sleep(60)::text AS s")),
        ("write", ErrorKind::QueryTimeout, format!("SELECT {all}, pg_sleep(60)::text AS s")),
    ] {
        let text = format!("/*+++\nmode = \"{mode}\"\ntimeout = 0.3\n+++*/ {sql}");
        let (answer, report) = run_within(&session, LONG, &text, "{}").await;
        assert_eq!(answer.unwrap_err().kind(), kind, "{mode}: {sql}");
        assert!(report.reused, "{mode}: {sql}");
        assert_eq!(database.number(LOCKS).await, 0, "{mode}: {sql}");
        assert_eq!(state(&session).await, first, "{mode}: {sql}");
    }
    // Rows that break the result's rule roll a write back.
    let two = format!(
        "/*+++\nmode = \"write\"\nresult = \"one\"\n+++*/ SELECT {all} FROM generate_series(1, 2)"
    );
    let error = run(&session, &two, "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResultNotOne, "{error}");
    assert_eq!(database.number(LOCKS).await, 0);
    assert_eq!(state(&session).await, first);
    // More rows than a response holds: the connection is dropped, and with it what it held.
    let huge = format!("SELECT {all}, repeat('x', 1000) AS t FROM generate_series(1, 9000)");
    let error = run(&session, &huge, "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResultTooLarge, "{error}");
    while database.number(LOCKS).await > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    database.server.stop().await.unwrap();
}

async fn batch(session: &Session, texts: &[String], keeps_rows: bool) -> Vec<String> {
    let prepared: Vec<(Query, Parameters)> = texts.iter().map(|text| prepare(text, "{}")).collect();
    let ids: Vec<String> = (0..texts.len()).map(|n| format!("{}-{n}", fastrand::u64(..))).collect();
    let jobs: Vec<BatchItem<'_>> = prepared
        .iter()
        .zip(&ids)
        .map(|((query, parameters), message_id)| BatchItem {
            query,
            parameters,
            message_id,
            keeps_rows,
        })
        .collect();
    let outcomes = session.run_batch(&jobs, &mut Work::new(Deadline::after(LONG))).await.unwrap();
    outcomes.into_iter().map(|outcome| format!("{outcome:?}")).collect()
}

#[tokio::test]
async fn a_record_of_a_batch_does_not_see_what_another_left() {
    let database = start(|options| options).await;
    let session = database.session(&[]);
    let zone = "INSERT INTO marks (id, note) SELECT coalesce(max(id), 0) + 1,
        current_setting('TimeZone') || (SELECT count(*) FROM pg_locks
        WHERE locktype = 'advisory' AND pid = pg_backend_pid()) FROM marks";
    let returning = |sql: &str| format!("/*+++\nmode = \"write\"\n+++*/ {sql} RETURNING id");
    let leaving = [
        read("SET TimeZone TO 'Asia/Tokyo'"),
        "SELECT hidden() AS n".to_owned(),
        write("SELECT hidden()"),
        returning("INSERT INTO tagged (n) VALUES (hidden())"),
    ];
    for text in leaving {
        let texts = [text.clone(), returning(zone), text.clone(), write(zone)];
        let outcomes = batch(&session, &texts, false).await;
        assert!(outcomes.iter().all(|outcome| outcome.starts_with("Ok")), "{outcomes:?}");
        assert_eq!(database.number(LOCKS).await, 0, "{text}");
    }
    let other = "SELECT count(*) FROM marks WHERE note LIKE 'Asia%' OR note NOT LIKE '%0'";
    assert_eq!(
        (database.number("SELECT count(*) FROM marks").await, database.number(other).await),
        (8, 0)
    );
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_chunk_of_a_job_does_not_see_what_another_left() {
    let database = start(|options| options).await;
    let session = database.session(&[]);
    let note = write(
        "INSERT INTO marks (id, note) SELECT count(*), current_setting('TimeZone') || (SELECT count(*)
         FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) FROM marks",
    );
    let texts = [
        read("SELECT hidden()"),
        note.clone(),
        write("SELECT hidden()"),
        note.clone(),
        write("PREPARE p AS SELECT 1"),
        write("PREPARE p AS SELECT 1"),
        write("SELECT hidden(), 1 / 0"),
    ];
    let steps: Vec<Step> = texts
        .iter()
        .map(|text| prepare(text, "{}"))
        .map(|(query, parameters)| Step { query, parameters })
        .collect();
    let (overlap, lease) = (Overlap::Skip, Duration::from_secs(30));
    let job = JobRun { job: "j", run: "r", steps: &steps, input: "", overlap, lease };
    let mut work = Work::new(Deadline::after(LONG));
    let error = session.run_job(&job, &mut work, &mut JobReport::default()).await.unwrap_err();
    assert!(error.to_string().contains("22012"), "{error}");
    assert_eq!((work.report.login_attempts, database.number(LOCKS).await), (1, 0));
    let other = "SELECT count(*) FROM marks WHERE note LIKE 'Asia%' OR note NOT LIKE '%0'";
    assert_eq!(
        (database.number("SELECT count(*) FROM marks").await, database.number(other).await),
        (2, 0)
    );
    assert!(state(&session).await.contains(r#""locks":0,"prepared":0"#));
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_export_leaves_nothing_and_its_driver_can_describe_again() {
    let database = start(|options| options).await;
    database.admin("CREATE TYPE mood AS ENUM ('good')").await;
    let session = database.session(&[]);
    let plain = "SELECT 'good'::mood AS m";
    let leaving = "SELECT 'good'::mood AS m, set_config('TimeZone', 'Asia/Tokyo', false) AS z";
    for form in [RowForm::Json, RowForm::Members, RowForm::Fields, RowForm::Values] {
        for text in [plain, leaving, plain, "SELECT hidden() AS n", plain] {
            let (query, parameters) = prepare(text, "{}");
            let mut work = Work::new(Deadline::after(LONG));
            let mut rows = session.stream(&query, &parameters, form, &mut work).await.unwrap();
            while rows.next().await.unwrap().is_some() {}
            drop(rows);
            while database.number(LOCKS).await > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let zone =
                run(&session, "SELECT current_setting('TimeZone') AS z", "{}").await.unwrap();
            assert!(!rows_of(&zone).contains("Tokyo"), "{form:?}: {text}");
        }
    }
    database.server.stop().await.unwrap();
}

fn rows_of(answer: &Answer) -> String {
    rows(answer).join(" ")
}

#[tokio::test]
async fn behind_the_proxy_nothing_is_sent_and_a_pinned_connection_is_not_kept() {
    let database = start(|options| Options { proxy: true, ..options }).await;
    let session = database.session(&[]);
    let reused = async |text: &str| {
        let (answer, report) = run_within(&session, LONG, text, "{}").await;
        answer.unwrap();
        report.reused
    };
    reused("SELECT 1 AS n").await;
    // A function may do anything, and does not pin.
    for text in [
        "SELECT coalesce(1, 2) AS n".to_owned(),
        "SELECT hidden() AS n".into(),
        write("DELETE FROM marks"),
    ] {
        assert!(reused(&text).await, "{text}");
        assert!(reused("SELECT set_config('a.b', 'x', true) AS n").await, "{text}");
    }
    let pinned = database.server.gate.pinned();
    for text in
        [read("SET TimeZone TO 'Asia/Tokyo'"), "SELECT pg_advisory_lock(7)::text AS n".into()]
    {
        assert!(reused(&text).await, "{text}");
        assert!(!reused("SELECT 1 AS n").await, "{text}");
        assert_eq!(database.number(LOCKS).await, 0);
    }
    // A batch: one connection for each of them.
    let set = read("SET TimeZone TO 'Asia/Tokyo'");
    let zone = "SELECT current_setting('TimeZone') AS z".to_owned();
    let texts = [set.clone(), zone.clone(), set.clone(), set, zone];
    let outcomes = batch(&session, &texts, true).await;
    assert!(outcomes.iter().all(|outcome| outcome.starts_with("Ok")), "{outcomes:?}");
    assert!(!outcomes.iter().any(|outcome| outcome.contains("Tokyo")), "{outcomes:?}");
    // Only what the files themselves say.
    assert!(database.server.gate.pinned() - pinned <= 5);
    database.server.stop().await.unwrap();
}
