//! A write that is refused because its transaction is read-only: a setting is permanent and named, a
//! reader is not.

use crate::common;

use std::time::Duration;

use common::{Database, prepare, run, run_within};
use rds_iam::deadline::Deadline;
use rds_iam::session::{BatchItem, JobReport, JobRun, Overlap, Step};
use rds_iam::{Error, ErrorKind, Report, Session, Work};
use rds_local::Options;
use rds_local::gate::Fault;

const INSERT: &str =
    "/*+++\nmode = \"write\"\n+++*/ INSERT INTO marks VALUES (1, 'x') RETURNING id";
const AFFECTED: &str =
    "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/ INSERT INTO marks VALUES (1, 'x')";
const LONG: Duration = Duration::from_secs(20);
/// Who sets it, and what the message says.
const SETTINGS: [(&str, &str); 4] = [
    ("ROLE iam_rw_user", "ALTER ROLE iam_rw_user RESET"),
    ("DATABASE sample_db", "ALTER DATABASE sample_db RESET"),
    (
        "ROLE iam_rw_user IN DATABASE sample_db",
        "ALTER ROLE iam_rw_user IN DATABASE sample_db RESET",
    ),
    ("ROLE ALL", "ALTER ROLE ALL RESET"),
];

async fn set(database: &Database, whose: &str, what: &str) {
    let admin = database.server.database.superuser("postgres").await.unwrap();
    admin.batch_execute("SET default_transaction_read_only = off").await.unwrap();
    admin
        .batch_execute(&format!("ALTER {whose} {what} default_transaction_read_only"))
        .await
        .unwrap();
}

async fn turn_on(database: &Database, whose: &str) {
    let admin = database.server.database.superuser("postgres").await.unwrap();
    let sql = format!("ALTER {whose} SET default_transaction_read_only = on");
    admin.batch_execute(&sql).await.unwrap();
}

fn is_the_setting(error: &Error, told: &str) {
    assert_eq!(error.kind(), ErrorKind::QueryDenied, "{error}");
    let text = error.to_string();
    assert!(text.contains("default_transaction_read_only is on") && text.contains(told), "{error}");
    assert!(!error.is_transient(), "{error}");
}

async fn write(session: &Session, text: &str) -> (Error, Report) {
    let (answer, report) = run_within(session, LONG, text, "{}").await;
    (answer.unwrap_err(), report)
}

async fn batch(session: &Session, text: &str, keeps_rows: bool) -> (Vec<Error>, Report) {
    let (query, parameters) = prepare(text, "{}");
    let job =
        |message_id| BatchItem { query: &query, parameters: &parameters, message_id, keeps_rows };
    let mut work = Work::new(Deadline::after(LONG));
    let outcomes = session.run_batch(&[job("1"), job("2"), job("3")], &mut work).await.unwrap();
    (outcomes.into_iter().map(|outcome| outcome.unwrap_err()).collect(), work.report)
}

async fn job(session: &Session) -> (Error, Report) {
    let (query, parameters) = prepare(AFFECTED, "{}");
    let steps = [Step { query, parameters }];
    let (overlap, lease) = (Overlap::Skip, Duration::from_secs(30));
    let job = JobRun { job: "j", run: "r", steps: &steps, input: "", overlap, lease };
    let mut work = Work::new(Deadline::after(LONG));
    let ended = session.run_job(&job, &mut work, &mut JobReport::default()).await;
    (ended.unwrap_err(), work.report)
}

#[tokio::test]
async fn a_setting_of_the_user_or_database_is_permanent_and_named() {
    for proxy in [false, true] {
        let database = Database::start(|options| Options { proxy, ..options }).await;
        for (whose, told) in SETTINGS {
            turn_on(&database, whose).await;
            for text in [INSERT, AFFECTED] {
                let session = database.session(&[]);
                let (error, report) = write(&session, text).await;
                is_the_setting(&error, told);
                assert_eq!(report.login_attempts, 1, "{whose}");
                for keeps_rows in [false, true] {
                    let session = database.session(&[]);
                    let (errors, report) = batch(&session, text, keeps_rows).await;
                    errors.iter().for_each(|error| is_the_setting(error, told));
                    assert_eq!(report.login_attempts, 1, "{whose}");
                }
            }
            let (error, report) = job(&database.session(&[])).await;
            is_the_setting(&error, told);
            assert_eq!(report.login_attempts, 1, "{whose}");
            // Reads go on.
            let session = database.session(&[]);
            run(&session, "SELECT 1 AS n", "{}").await.unwrap();
            // The setting is that of a login: once it is reset, the next one writes.
            write(&session, INSERT).await;
            set(&database, whose, "RESET").await;
            run(&session, INSERT, "{}").await.unwrap();
            database.admin("DELETE FROM marks").await;
        }
        database.server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_wish_for_a_primary_names_the_setting_too() {
    let mut database = Database::start(|options| options).await;
    let wish = [("PGTARGETSESSIONATTRS", "read-write")];
    for (whose, told) in SETTINGS {
        turn_on(&database, whose).await;
        let (answer, report) =
            run_within(&database.session(&wish), LONG, "SELECT 1 AS n", "{}").await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        assert!(error.to_string().contains(told), "{error}");
        assert_eq!((report.login_attempts, error.is_transient()), (1, false));
        set(&database, whose, "RESET").await;
    }
    database.server.inject(Fault::ReadOnly).await.unwrap();
    let (answer, report) = run_within(&database.session(&wish), LONG, "SELECT 1 AS n", "{}").await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::DatabaseUnavailable);
    assert!(report.login_attempts > 1);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_transient() {
    let mut database = Database::start(|options| options).await;
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    database.server.inject(Fault::ReadOnly).await.unwrap();
    for text in [INSERT, AFFECTED] {
        let (error, _) = write(&session, text).await;
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{error}");
        assert!(error.is_transient());
        let (errors, _) = batch(&session, text, false).await;
        assert!(errors.iter().any(|error| error.kind() == ErrorKind::DatabaseUnavailable));
        assert!(errors.iter().all(Error::is_transient), "{errors:?}");
    }
    database.server.inject(Fault::None).await.unwrap();
    run(&session, INSERT, "{}").await.unwrap();
    database.server.stop().await.unwrap();
}

/// The server itself, started again as a standby.
#[tokio::test]
async fn a_real_standby_is_transient() {
    let mut database = Database::start(|options| options).await;
    let folder = database.server.database.postgres().unwrap().socket_folder().to_owned();
    std::fs::write(folder.join("data/standby.signal"), "").unwrap();
    database.server.inject(Fault::Restart).await.unwrap();
    let session = database.session(&[]);
    run(&session, "SELECT 1 AS n WHERE pg_is_in_recovery()", "{}").await.unwrap();
    for (error, _) in
        [write(&session, INSERT).await, write(&session, AFFECTED).await, job(&session).await]
    {
        assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{error}");
        assert!(error.is_transient() && error.to_string().contains("reader or standby"), "{error}");
    }
    let wish = database.session(&[("PGTARGETSESSIONATTRS", "read-write")]);
    let error = run(&wish, "SELECT 1 AS n", "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{error}");
    // What is left in a session of a standby is released as well.
    run(&session, "SELECT set_config('TimeZone', 'Asia/Tokyo', false) AS z", "{}").await.unwrap();
    let (answer, report) =
        run_within(&session, LONG, "SELECT current_setting('TimeZone') AS z", "{}").await;
    assert!(!common::rows(&answer.unwrap())[0].contains("Tokyo") && report.reused);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_transaction_that_the_statement_itself_made_read_only_is_permanent() {
    let database = Database::start(|options| options).await;
    database
        .admin(
            "CREATE FUNCTION strict() RETURNS int LANGUAGE plpgsql AS $$
             BEGIN SET TRANSACTION READ ONLY; INSERT INTO marks VALUES (1, 'x'); RETURN 1; END $$;
             CREATE FUNCTION raised() RETURNS int LANGUAGE plpgsql AS $$
             BEGIN RAISE 'secret' USING ERRCODE = '25006'; END $$",
        )
        .await;
    let session = database.session(&[]);
    let call = "/*+++\nmode = \"write\"\n+++*/ SELECT strict() AS n";
    let (error, _) = write(&session, call).await;
    assert_eq!(error.kind(), ErrorKind::QueryDenied, "{error}");
    assert!(error.to_string().contains("SET TRANSACTION READ ONLY"), "{error}");
    let (errors, _) = batch(&session, call, false).await;
    assert!(errors.iter().all(|error| error.kind() == ErrorKind::QueryDenied), "{errors:?}");
    // What the database's own code raised is that code's.
    let (error, report) =
        write(&session, "/*+++\nmode = \"write\"\n+++*/ SELECT raised() AS n").await;
    assert!(!error.is_transient() && !error.to_string().contains("secret"), "{error}");
    assert_eq!(report.login_attempts, 0);
    database.server.stop().await.unwrap();
}
