//! Batch jobs: who runs when several want to, and what a broken ledger or server means.

use crate::common;

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
    let wait = |seconds| {
        let left = Duration::from_secs(seconds);
        Ask { run: "r3", overlap: Overlap::Wait, left, ..ASK }
    };
    let error = run(&session, PURGE, wait(2)).await.0.unwrap_err();
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
    let (ended, _) = run(&session, PURGE, wait(60)).await;
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

/// The sizes of the chunks that were tried, three digits for each behind a 1. No rollback takes a sequence's
/// value back.
const SIZES: &str = "
    CREATE SEQUENCE sizes;
    CREATE FUNCTION tried(size int) RETURNS int SECURITY DEFINER LANGUAGE plpgsql AS $$
    DECLARE before bigint := (SELECT last_value FROM sizes);
    BEGIN
        IF before < 1e12 THEN PERFORM setval('sizes', before * 1000 + size); END IF;
        RETURN size;
    END $$";
const ADAPTED: &str = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"
    timeout = 0.4\nadapt = { param = \"chunk\", seconds = 60 }
    params = [{ name = \"chunk\", default = 64 }]\n+++*/
    DELETE FROM marks WHERE id IN (SELECT id FROM marks ORDER BY id LIMIT tried($1))";

/// A row that another session renews, with a lock that is not granted in time and with a snapshot that is too
/// old: the chunk has a quarter of its rows when it is tried again.
#[tokio::test]
async fn a_chunk_that_met_another_transaction_is_a_quarter_the_next_time() {
    for isolation in ["read committed", "repeatable read"] {
        let database = Database::start(|options| options).await;
        let isolated =
            format!("ALTER ROLE iam_rw_user SET default_transaction_isolation = '{isolation}'");
        database.admin(&format!("{SIZES}; {isolated}")).await;
        let session = database.session(&[]);
        fill(&database).await;
        let renew = "BEGIN; UPDATE marks SET note = 'renewed' WHERE id = 40";
        let other = second(&database, renew).await;
        let tried = |count: u32| {
            format!("SELECT (last_value >= {})::int::bigint FROM sizes", 1000_u64.pow(count))
        };
        let go_on = async {
            match isolation {
                "read committed" => until(&database, &tried(2)).await,
                _ => until(&database, BLOCKED).await,
            }
            other.batch_execute("COMMIT").await.unwrap();
        };
        let ask = Ask { left: Duration::from_secs(20), ..ASK };
        let ((ended, report), ()) = tokio::join!(run(&session, ADAPTED, ask), go_on);
        let ended = ended.unwrap();
        assert_eq!((ended.end, ended.rows, report.rows), (JobEnd::Finished, 100, 100));
        assert_eq!(database.number("SELECT count(*) FROM marks").await, 0);
        let counted = "SELECT rows FROM job_runs WHERE status = 'finished'";
        assert_eq!(database.number(counted).await, 100);
        let sizes = database.number("SELECT last_value FROM sizes").await.to_string();
        assert!(sizes.starts_with("1064016"), "{isolation}: {sizes}");
        database.server.stop().await.unwrap();
    }
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

/// A second session that holds a lock on a row until it is told to go on.
async fn second(database: &Database, sql: &str) -> tokio_postgres::Client {
    let client = database.server.database.superuser(rds_local::DATABASE).await.unwrap();
    client.batch_execute(sql).await.unwrap();
    client
}

async fn until(database: &Database, sql: &str) {
    while database.number(sql).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const BLOCKED: &str = "SELECT count(*) FROM pg_stat_activity
    WHERE usename = 'iam_rw_user' AND wait_event_type = 'Lock'";

#[tokio::test]
async fn the_victim_of_a_deadlock_runs_again() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    fill(&database).await;
    let lock = "SET deadlock_timeout = '60s'; BEGIN; UPDATE marks SET note = 'x' WHERE id = 49";
    let other = second(&database, lock).await;
    let cross = async {
        until(&database, BLOCKED).await;
        // The chunk waits for 49, and has deleted 42.
        other.batch_execute("UPDATE marks SET note = 'x' WHERE id = 42; COMMIT").await.unwrap();
    };
    let ask = Ask { left: Duration::from_secs(20), ..ASK };
    let ((ended, report), ()) = tokio::join!(run(&session, PURGE, ask), cross);
    assert_eq!((ended.unwrap().rows, report.chunks), (100, 11));
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    until(&database, deadlocks).await;
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_serialization_failure_is_run_again_at_the_statement_and_at_commit() {
    let database = Database::start(|options| options).await;
    database
        .admin("ALTER ROLE iam_rw_user SET default_transaction_isolation = 'repeatable read'")
        .await;
    let session = database.session(&[]);
    fill(&database).await;
    let other = second(&database, "BEGIN; UPDATE marks SET note = 'x' WHERE id = 45").await;
    let change = async {
        until(&database, BLOCKED).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let ((ended, report), ()) = tokio::join!(run(&session, PURGE, ASK), change);
    assert_eq!((ended.unwrap().rows, report.chunks), (100, 11));

    // The foreign key is checked at COMMIT, and cannot lock the row that it refers to.
    database
        .admin(
            "CREATE TABLE parents (id int PRIMARY KEY); INSERT INTO parents VALUES (1);
             CREATE TABLE gone (id int, parent int REFERENCES parents DEFERRABLE INITIALLY DEFERRED);
             GRANT SELECT, INSERT ON gone TO iam_rw_user",
        )
        .await;
    fill(&database).await;
    let other = second(&database, "BEGIN; SELECT FROM parents FOR UPDATE").await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        other.batch_execute("COMMIT").await.unwrap();
    };
    let archive = PURGE.replace("result =", "timeout = 0.4\nresult =").replace(
        "DELETE FROM marks WHERE id IN (SELECT id FROM marks ORDER BY id LIMIT 10)",
        "WITH old AS (DELETE FROM marks WHERE id IN (SELECT id FROM marks ORDER BY id LIMIT 10)
             RETURNING id)
         INSERT INTO gone SELECT id, 1 FROM old",
    );
    let again = Ask { run: "r2", ..ASK };
    let ((ended, report), ()) = tokio::join!(run(&session, &archive, again), release);
    assert_eq!((ended.unwrap().rows, report.chunks), (100, 11));
    assert_eq!(database.number("SELECT count(DISTINCT id) FROM gone").await, 100);
    database.server.stop().await.unwrap();
}

/// A write holds its row; a read has a longer lease. Nobody takes over, though the lease is one second.
#[tokio::test]
async fn a_statement_longer_than_the_lease_keeps_others_out() {
    let database = Database::start(|options| options).await;
    fill(&database).await;
    let write = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/
        DELETE FROM marks WHERE (SELECT pg_sleep(2) IS NOT NULL)";
    for (job, text) in [("write", write), ("read", "SELECT pg_sleep(2)::text AS slept")] {
        let sessions = [(); 3].map(|()| database.session(&[]));
        let first = run(&sessions[0], text, Ask { job, ..ASK });
        let later = async |session, ask| {
            tokio::time::sleep(Duration::from_millis(300)).await;
            run(session, text, ask).await
        };
        let same = later(&sessions[1], Ask { job, ..ASK });
        let wait = Ask { job, run: "r2", overlap: Overlap::Wait, ..ASK };
        let (first, same, next) = tokio::join!(first, same, later(&sessions[2], wait));
        let ended = first.0.unwrap();
        assert_eq!((&ended.end, first.1.chunks, first.1.lease_lost), (&JobEnd::Finished, 1, 0));
        assert_eq!((same.0.unwrap(), same.1.chunks), (ended, 0), "{job}");
        assert_eq!((next.0.unwrap().end, next.1.chunks), (JobEnd::Finished, 1), "{job}");
        let once = "SELECT count(*) FROM job_runs WHERE status = 'finished' AND invocations = 1";
        assert_eq!(database.number(&format!("{once} AND job = '{job}'")).await, 2);
    }
    database.server.stop().await.unwrap();
}

/// A future that is not polled is a sandbox that is frozen: no timer of it runs.
#[tokio::test]
async fn an_owner_that_thaws_between_two_chunks_commits_nothing() {
    let database = Database::start(|options| options).await;
    let sessions = [(); 2].map(|()| database.session(&[]));
    database.admin("INSERT INTO marks SELECT generate_series(1, 50)").await;
    let paused = PURGE.replace("repeat =", "pause = 0.5\nrepeat =");
    let long = Ask { left: Duration::from_secs(60), ..ASK };
    let mut frozen = std::pin::pin!(run(&sessions[0], &paused, long));
    let one = "SELECT chunks FROM job_runs UNION ALL SELECT 0 ORDER BY 1 DESC LIMIT 1";
    let paused_once = async {
        until(&database, one).await;
        // It takes the answer, and pauses.
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        ended = &mut frozen => panic!("{ended:?}"),
        () = paused_once => {}
    }
    let before = database.number("SELECT chunks FROM job_runs").await;
    let rival = Ask { left: Duration::from_secs(30), ..ASK };
    let (ended, report) = run(&sessions[1], &paused, rival).await;
    let ended = ended.unwrap();
    assert_eq!((&ended.end, ended.chunks, ended.rows), (&JobEnd::Finished, 6, 50));
    assert_eq!(report.chunks + u64::try_from(before).unwrap(), 6, "the other went on from there");
    database.admin("INSERT INTO marks VALUES (1)").await;
    let (thawed, report) = frozen.await;
    assert_eq!(thawed.unwrap(), ended);
    assert_eq!((report.lease_lost, report.chunks), (1, u64::try_from(before).unwrap()));
    assert_eq!(
        database.number("SELECT count(*) FROM marks").await,
        1,
        "no chunk after the takeover"
    );
    database.server.stop().await.unwrap();
}

/// Where the time ends, chunks do not go on without their pause.
#[tokio::test]
async fn a_pause_is_kept_at_the_end_of_an_invocation() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    fill(&database).await;
    let paused = PURGE.replace("repeat =", "pause = 5\nrepeat =");
    let start = tokio::time::Instant::now();
    let (ended, report) = run(&session, &paused, Ask { left: Duration::from_secs(2), ..ASK }).await;
    assert_eq!((ended.unwrap().end, report.chunks), (JobEnd::Unfinished, 1));
    assert!(start.elapsed() > Duration::from_millis(500), "{:?}", start.elapsed());
    assert_eq!(database.number("SELECT count(*) FROM job_runs WHERE owner IS NULL").await, 1);
    database.server.stop().await.unwrap();
}
