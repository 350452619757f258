//! Batch jobs: who runs when several want to, and what a broken ledger or server means.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::time::Duration;

use common::{Database, prepare};
use rds_iam::deadline::Deadline;
use rds_iam::session::{JobEnd, JobReport, JobRun, JobState, Overlap, Step};
use rds_iam::{Error, ErrorKind, Session, Work};
use rds_local::Options;
use rds_local::gate::Fault;

const PURGE: &str =
    "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n+++*/
    DELETE FROM marks WHERE id IN (SELECT id FROM marks ORDER BY id LIMIT 10)";

fn steps(text: &str) -> Vec<Step> {
    let (query, parameters) = prepare(text, "{}");
    vec![Step { query, parameters }]
}

struct Ask<'a> {
    job: &'a str,
    run: &'a str,
    input: &'a str,
    overlap: Overlap,
    left: Duration,
}

const ASK: Ask<'_> =
    Ask { job: "j", run: "r", input: "i", overlap: Overlap::Skip, left: Duration::from_secs(10) };

async fn run(session: &Session, text: &str, ask: Ask<'_>) -> (Result<JobState, Error>, JobReport) {
    let Ask { job, run, input, overlap, left } = ask;
    let steps = steps(text);
    let lease = Duration::from_secs(1);
    let run = JobRun { job, run, steps: &steps, input, overlap, lease };
    let (mut work, mut report) = (Work::new(Deadline::after(left)), JobReport::default());
    let ended = session.run_job(&run, &mut work, &mut report).await;
    (ended, report)
}

async fn fill(database: &Database) {
    database.admin("INSERT INTO marks SELECT generate_series(1, 100)").await;
}

/// As if another invocation had the lease of a run of the same job.
async fn other_run(database: &Database, seconds: i32) {
    database
        .admin(&format!(
            "INSERT INTO job_runs (job, run, status, step, query, owner, lease_until, input)
             VALUES ('j', 'other', 'running', 1, 'q', 7, now() + interval '{seconds} s', '')"
        ))
        .await;
}

#[tokio::test]
async fn another_run_of_the_job_is_skipped_refused_waited_for_or_replaced() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    fill(&database).await;
    other_run(&database, 60).await;
    let (skipped, report) = run(&session, PURGE, ASK).await;
    let JobEnd::Skipped(who) = &skipped.as_ref().unwrap().end else { panic!("{skipped:?}") };
    assert!(who.starts_with("run other has been running since "), "{who}");
    assert_eq!(report.chunks, 0);
    // A skipped run is over, also when it comes again.
    database.admin("DELETE FROM job_runs WHERE run = 'other'").await;
    assert_eq!(run(&session, PURGE, ASK).await.0, skipped);

    other_run(&database, 60).await;
    let fail = Ask { run: "r2", overlap: Overlap::Fail, ..ASK };
    let error = run(&session, PURGE, fail).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobOverlap, "{error}");
    let wait = || Ask { run: "r3", overlap: Overlap::Wait, left: Duration::from_secs(2), ..ASK };
    let error = run(&session, PURGE, wait()).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::JobOverlap, "{error}");
    assert_eq!(database.number("SELECT count(*) FROM marks").await, 100);
    // Another job may run the same query meanwhile.
    let (ended, _) = run(&session, PURGE, Ask { job: "k", ..ASK }).await;
    assert_eq!(ended.unwrap().rows, 100);

    // Its lease ends while one waits: it is silent, and gives way.
    fill(&database).await;
    database
        .admin("UPDATE job_runs SET lease_until = now() + interval '0.5 s' WHERE run = 'other'")
        .await;
    let (ended, _) = run(&session, PURGE, wait()).await;
    let ended = ended.unwrap();
    assert_eq!((ended.end, ended.chunks, ended.rows), (JobEnd::Finished, 11, 100));
    let abandoned = "SELECT count(*) FROM job_runs WHERE run = 'other' AND status = 'abandoned'";
    assert_eq!(database.number(abandoned).await, 1);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_run_keeps_to_what_it_began_with() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    fill(&database).await;
    run(&session, PURGE, ASK).await.0.unwrap();
    let error = run(&session, PURGE, Ask { input: "other", ..ASK }).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::EventInvalid, "{error}");
    let (again, report) = run(&session, PURGE, ASK).await;
    assert_eq!((again.unwrap().rows, report.chunks), (100, 0));
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_broken_ledger_or_server_is_named_and_a_failover_is_survived() {
    let mut database = Database::start(|options| options).await;
    let session = database.session(&[]);
    fill(&database).await;
    database.admin("REVOKE UPDATE ON job_runs FROM iam_rw_user").await;
    let error = run(&session, PURGE, ASK).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryDenied, "{error}");
    database
        .admin("GRANT UPDATE ON job_runs TO iam_rw_user; ALTER TABLE job_runs RENAME TO away")
        .await;
    let error = run(&session, PURGE, ASK).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryDenied, "{error}");
    assert!(error.to_string().contains("sql/jobs.sql"), "{error}");
    database.admin("ALTER TABLE away RENAME TO job_runs").await;
    assert_eq!(database.number("SELECT count(*) FROM marks").await, 100);

    database.server.inject(Fault::ReadOnly).await.unwrap();
    let short = Ask { left: Duration::from_secs(2), ..ASK };
    let error = run(&session, PURGE, short).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{error}");
    // The open connection leads to the old writer; a new one works.
    database.server.inject(Fault::Failover).await.unwrap();
    let (ended, _) = run(&session, PURGE, ASK).await;
    assert_eq!(ended.unwrap().rows, 100);
    database.server.stop().await.unwrap();
}

/// Locks time out and deadlocks end; the chunk runs again.
#[tokio::test]
async fn contention_is_waited_out() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    fill(&database).await;
    let locked = PURGE.replace("result =", "timeout = 0.4\nresult =");
    let admin = database.server.database.superuser(rds_local::DATABASE).await.unwrap();
    admin.batch_execute("BEGIN; UPDATE marks SET note = 'x' WHERE id = 45").await.unwrap();
    let release = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        admin.batch_execute("COMMIT").await.unwrap();
    };
    let ((ended, report), ()) = tokio::join!(run(&session, &locked, ASK), release);
    assert_eq!((ended.unwrap().rows, report.chunks), (100, 11));
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_job_pins_nothing_behind_rds_proxy() {
    let database = Database::start(|options| Options { proxy: true, ..options }).await;
    let session = database.session(&[]);
    fill(&database).await;
    let (ended, _) = run(&session, PURGE, ASK).await;
    assert_eq!(ended.unwrap().rows, 100);
    other_run(&database, 60).await;
    run(&session, PURGE, Ask { run: "r2", ..ASK }).await.0.unwrap();
    assert_eq!(database.server.gate.pinned(), 0);
    database.server.stop().await.unwrap();
}
