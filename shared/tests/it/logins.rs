//! Logins that fail for a while, and connections that die for good: what is tried again, and when
//! it is given up.

use crate::common;

use std::time::Duration;

use common::{Database, run, run_within};
use rds_iam::ErrorKind;
use rds_local::gate::Fault;
use tokio::time::{Instant, sleep};

const READ: &str = "SELECT 1 AS n";

#[tokio::test]
async fn a_full_database_is_tried_again_and_then_an_error() {
    let database = Database::start(|options| options).await;
    database.admin("ALTER ROLE iam_rw_user CONNECTION LIMIT 0").await;
    let session = database.session(&[("DB_LOGIN_ATTEMPTS", "3")]);
    let (answer, report) = run_within(&session, Duration::from_secs(20), READ, "{}").await;
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable);
    assert!(error.to_string().contains("53300"), "{error}");
    assert_eq!(report.login_attempts, 3);
    database.server.stop().await.unwrap();
}

/// Each remedy is about what the server looked at, and pg_hba is not blamed for a role.
#[tokio::test]
async fn a_refused_login_says_what_to_change() {
    let database = Database::start(|options| options).await;
    for (break_it, mend, kind, remedy) in [
        (
            "ALTER ROLE iam_rw_user NOLOGIN",
            "LOGIN",
            ErrorKind::AuthRejected,
            "ALTER ROLE iam_rw_user LOGIN",
        ),
        (
            "ALTER ROLE iam_rw_user CONNECTION LIMIT 0",
            "CONNECTION LIMIT -1",
            ErrorKind::DatabaseUnavailable,
            "ALTER ROLE iam_rw_user CONNECTION LIMIT -1",
        ),
    ] {
        database.admin(break_it).await;
        let session = database.session(&[("DB_LOGIN_ATTEMPTS", "1")]);
        let error = run(&session, READ, "{}").await.unwrap_err();
        let text = error.to_string();
        assert!(
            error.kind() == kind && text.contains(remedy) && !text.contains("pg_hba"),
            "{text}"
        );
        database.admin(&format!("ALTER ROLE iam_rw_user {mend}")).await;
        run(&session, READ, "{}").await.unwrap();
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn short_faults_are_not_noticed() {
    let mut database = Database::start(|options| options).await;
    let patience = [("DB_LOGIN_ATTEMPTS", "50")];
    for fault in [Fault::Refuse, Fault::Throttle, Fault::ResetBeforeLogin] {
        database.server.inject(fault).await.unwrap();
        let session = database.session(&patience);
        let server = &mut database.server;
        let lift = async {
            sleep(Duration::from_millis(500)).await;
            server.inject(Fault::None).await.unwrap();
        };
        let (answer, ()) =
            tokio::join!(run_within(&session, Duration::from_secs(20), READ, "{}"), lift);
        let (answer, report) = answer;
        answer.unwrap();
        assert!(report.login_attempts > 1, "{fault:?}");
    }
    // The server itself.
    database.admin("ALTER ROLE iam_rw_user CONNECTION LIMIT 0").await;
    let session = database.session(&patience);
    let lift = async {
        sleep(Duration::from_millis(500)).await;
        database.admin("ALTER ROLE iam_rw_user CONNECTION LIMIT -1").await;
    };
    let (answer, ()) = tokio::join!(run(&session, READ, "{}"), lift);
    answer.unwrap();
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn retries_end_within_a_quarter_of_the_time() {
    let mut database = Database::start(|options| options).await;
    database.server.inject(Fault::Throttle).await.unwrap();
    let session = database.session(&[("DB_LOGIN_ATTEMPTS", "100")]);
    let (start, left) = (Instant::now(), Duration::from_secs(12));
    let (answer, report) = run_within(&session, left, READ, "{}").await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::AuthRejected);
    assert!(report.login_attempts > 2);
    // A quarter is 2.75 s, and the last login may begin just before: retry.rs holds the quarter exactly.
    assert!(start.elapsed() < left / 2, "{:?}", start.elapsed());
    database.server.stop().await.unwrap();
}

/// Keepalive and its time-out are the kernel's: this takes the half minute that it takes.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_dies_silently_in_a_long_query_is_found_out() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    run(&session, READ, "{}").await.unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let silence = async {
        while database.number(sleeping).await == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        // Until the kernel has acknowledged the answer to BEGIN: the gate's would send that again.
        sleep(Duration::from_secs(1)).await;
        database.server.gate.set_fault(Fault::Drop);
    };
    // Longer than keepalive takes the first time, and quick the second.
    let query =
        "SELECT 1 AS n FROM pg_sleep(CASE WHEN EXISTS (SELECT FROM marks) THEN 0 ELSE 600 END)";
    let start = Instant::now();
    let invocation = run_within(&session, Duration::from_secs(120), query, "{}");
    let second_is_quick = async {
        silence.await;
        database.admin("INSERT INTO marks VALUES (1, 'x')").await;
    };
    let ((answer, report), ()) = tokio::join!(invocation, second_is_quick);
    answer.unwrap();
    assert!(report.login.is_some() && !report.reused);
    // The query that died would have run for ten minutes.
    assert!(start.elapsed() > Duration::from_secs(20), "{:?}", start.elapsed());
    database.server.stop().await.unwrap();
}

/// RDS does not throttle a login with a token that is in use already.
#[tokio::test]
async fn a_reconnect_uses_the_token_that_is_in_use() {
    let database =
        Database::start(|options| rds_local::Options { throttle: Some((0, 1)), ..options }).await;
    let session = database.session(&[("DB_LOGIN_ATTEMPTS", "1")]);
    common::run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    let cut =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'iam_rw_user'";
    database.admin(cut).await;
    common::run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    // Another sandbox has another token, and is throttled.
    let other = database.sandbox(&[("DB_LOGIN_ATTEMPTS", "1")]);
    let error = common::run(&other, "SELECT 1 AS n", "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AuthRejected);
    database.server.stop().await.unwrap();
}
