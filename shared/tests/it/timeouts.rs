//! Time-outs, many in a row: neither side keeps anything of them. `TIMEOUTS` sets how many.

use std::path::Path;
use std::time::Duration;

use rds_iam::deadline::Deadline;
use rds_iam::postgres::RowForm;
use rds_iam::session::BatchItem;
use rds_iam::{Error, ErrorKind, Work};
use rds_local::Options;
use rds_local::testing::{Function, World, example, postgres_17};

use crate::common::{self, Database};

/// Half of them end by the server's time-out, half ignore it once and must be cancelled.
const QUERIES: [(&str, &str); 3] = [
    ("patient", "SELECT pg_sleep(60)::text AS s"),
    ("stubborn", "SELECT sleep_stubbornly() AS s"),
    ("quick", "SELECT 1 AS one"),
];
const STUBBORN: &str = "CREATE FUNCTION sleep_stubbornly() RETURNS int LANGUAGE plpgsql AS '
    BEGIN PERFORM pg_sleep(60); RETURN 1;
    EXCEPTION WHEN query_canceled THEN PERFORM pg_sleep(60); RETURN 2; END'";

/// Resident memory in KiB, and open files.
fn footprint(function: &Function) -> (u64, usize) {
    let process = function.sandbox.process_id().unwrap();
    let files = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count();
    (function.memory_kib("VmRSS"), files)
}

#[tokio::test]
async fn time_outs_leave_nothing_behind() {
    let count: usize = std::env::var("TIMEOUTS").map_or(20, |text| text.parse().unwrap());
    let mut world = World::start(example("run_query")).await;
    world.queries(&QUERIES);
    world.run(STUBBORN).await;
    let mut function = world.function().await;
    function.ok(r#"{"query":"quick"}"#).await;
    function.sandbox.set_timeout(Duration::from_secs(2));
    let running =
        "SELECT query FROM pg_stat_activity WHERE usename = 'iam_ro_user' AND state <> 'idle'";
    let mut first = None;
    for number in 0..count {
        let query = if number % 2 == 0 { "patient" } else { "stubborn" };
        let error = function.error(format!(r#"{{"query":"{query}"}}"#)).await;
        assert_eq!(error.error_type, "Query.Timeout", "{}", error.error_message);
        // A cancel request is on its way to a busy server, at worst.
        let gone = async {
            while !world.rows(running).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), gone).await.expect("no query still runs");
        if number + 1 == count / 4 {
            first = Some(footprint(&function));
        }
    }
    function.ok(r#"{"query":"quick"}"#).await;
    let connections = "SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_ro_user'";
    let connections = world.rows(connections).await.len();
    assert_eq!(connections, 1);
    let (memory_then, files_then) = first.unwrap();
    let (memory, files) = footprint(&function);
    println!("{count} time-outs: {memory_then} then {memory} KiB, {files_then} then {files} files");
    assert!(memory < memory_then + 1024, "{memory_then} then {memory} KiB");
    // One more than while a dropped connection is replaced: the new one.
    assert!(files <= files_then + 1, "{files_then} then {files} files");
    let cancels = std::fs::read_to_string(world.folder().join("gate.log")).unwrap();
    assert!(cancels.matches("cancel request").count() >= count / 2);
    function.stop().await;
    world.stop().await;
}

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// It is told apart from one that took too long, on the machine's
/// PostgreSQL and on 17.
#[tokio::test]
async fn a_cancel_by_somebody_else_is_no_time_out() {
    let newer = postgres_17(checkout());
    for postgres_bin in [None].into_iter().chain(newer.map(Some)) {
        let database = Database::start(|options| Options { postgres_bin, ..options }).await;
        let session = database.session(&[]);
        for text in [
            "SELECT pg_sleep(60)::text AS s",
            "/*+++\nmode = \"write\"\n+++*/ INSERT INTO marks (id, note) SELECT 1, pg_sleep(60)::text RETURNING id",
        ] {
            let (answer, ()) = tokio::join!(common::run(&session, text, "{}"), cancel(&database));
            let error = answer.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryFailed, "{text}: {error}");
            let told = error.to_string();
            assert!(told.contains("was cancelled") && told.contains("57014"), "{told}");
        }
        assert_eq!(database.number("SELECT count(*) FROM marks").await, 0);
        database.server.stop().await.unwrap();
    }
}

/// As `pg_cancel_backend` does for an administrator, once the statement runs.
async fn cancel(database: &Database) {
    let sql = "SELECT count(*) FROM (SELECT pg_cancel_backend(pid) FROM pg_stat_activity
        WHERE usename = 'iam_rw_user' AND wait_event = 'PgSleep') AS cancelled";
    while database.number(sql).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// It ends the session, and so must not be taken for a connection that broke.
#[tokio::test]
async fn a_transaction_timeout_is_a_time_out_and_costs_one_login() {
    let Some(newer) = postgres_17(checkout()) else { return };
    let database =
        Database::start(|options| Options { postgres_bin: Some(newer), ..options }).await;
    database.admin("ALTER ROLE iam_rw_user SET transaction_timeout = '300ms'").await;
    for text in [
        "SELECT pg_sleep(60)::text AS s",
        "/*+++\nmode = \"write\"\n+++*/ INSERT INTO marks (id, note) SELECT 1, pg_sleep(60)::text RETURNING id",
    ] {
        let session = database.session(&[]);
        let (answer, report) =
            common::run_within(&session, Duration::from_secs(20), text, "{}").await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryTimeout, "{error}");
        assert!(error.to_string().contains("25P04"), "{error}");
        assert_eq!(report.login_attempts, 1, "{error}");
    }
    assert_eq!(database.number("SELECT count(*) FROM marks").await, 0);
    database.server.stop().await.unwrap();
}

/// From its first statement on, in reads, writes, batches and streams.
#[tokio::test]
async fn a_session_s_own_limit_wins_where_it_is_shorter_and_is_named() {
    let newer = postgres_17(checkout());
    for postgres_bin in [None].into_iter().chain(newer.map(Some)) {
        let database = Database::start(|options| Options { postgres_bin, ..options }).await;
        database.admin("ALTER ROLE iam_rw_user SET statement_timeout = '300ms'").await;
        let session = database.session(&[]);
        for (index, text) in [READ, WRITE, READ, "SELECT 1 AS n", READ].into_iter().enumerate() {
            let (answer, report) =
                common::run_within(&session, Duration::from_secs(20), text, "{}").await;
            assert_eq!(report.reused, index > 0, "{text}");
            match answer {
                Ok(_) => assert_eq!(text, "SELECT 1 AS n"),
                Err(error) => is_the_session_s(&error),
            }
        }
        let mut deadline = Work::new(Deadline::after(Duration::from_secs(20)));
        let (query, parameters) = common::prepare(WRITE, "{}");
        for keeps_rows in [false, true] {
            let session = database.session(&[]);
            let items =
                [BatchItem { query: &query, parameters: &parameters, message_id: "m", keeps_rows }];
            let outcomes = session.run_batch(&items, &mut deadline).await.unwrap();
            is_the_session_s(outcomes[0].as_ref().unwrap_err());
        }
        let (query, parameters) = common::prepare(READ, "{}");
        let session = database.session(&[]);
        let stream = session.stream(&query, &parameters, RowForm::Json, &mut deadline).await;
        is_the_session_s(&stream.unwrap().next().await.unwrap_err());
        assert_eq!(database.number("SELECT count(*) FROM marks").await, 0);
        database.server.stop().await.unwrap();
    }
}

const READ: &str = "SELECT pg_sleep(60)::text AS s";
const WRITE: &str = "/*+++\nmode = \"write\"\n+++*/ INSERT INTO marks (id, note) SELECT 1, pg_sleep(60)::text RETURNING id";

fn is_the_session_s(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::QueryTimeout, "{error}");
    assert!(error.to_string().contains("the statement_timeout of 0.3 s"), "{error}");
}

/// Each setting as PostgreSQL writes it, beside the function's own of a little under two seconds.
#[tokio::test]
async fn the_shorter_of_two_limits_is_what_the_statement_sees() {
    let database = Database::start(|options| options).await;
    let show = "SELECT setting::int AS ms FROM pg_settings WHERE name = 'SETTING'";
    for (setting, own, shorter) in [
        ("statement_timeout", "'250ms'", Some("250")),
        ("statement_timeout", "'1s'", Some("1000")),
        ("statement_timeout", "'2min'", None),
        ("statement_timeout", "'10d'", None),
        ("statement_timeout", "0", None),
        ("lock_timeout", "17", Some("17")),
        ("lock_timeout", "'1h'", None),
        ("idle_in_transaction_session_timeout", "'1s'", Some("1000")),
        ("idle_in_transaction_session_timeout", "2147483647", None),
    ] {
        database.admin(&format!("ALTER ROLE iam_rw_user SET {setting} = {own}")).await;
        let session = database.session(&[]);
        for reused in [false, true] {
            let text = show.replace("SETTING", setting);
            let (answer, report) =
                common::run_within(&session, Duration::from_secs(2), &text, "{}").await;
            assert_eq!(report.reused, reused);
            let answer = answer.unwrap();
            let row = common::rows(&answer).remove(0);
            let ms = row.trim_start_matches("{\"ms\":").trim_end_matches('}');
            match shorter {
                Some(shorter) => assert_eq!(ms, shorter, "{setting} = {own}"),
                None => {
                    let most = if setting == "lock_timeout" { 1000 } else { 2000 };
                    let ms: u64 = ms.parse().unwrap();
                    assert!((1..most).contains(&ms), "{setting} = {own}: {ms}");
                }
            }
        }
        database.admin(&format!("ALTER ROLE iam_rw_user RESET {setting}")).await;
    }
    database.server.stop().await.unwrap();
}
