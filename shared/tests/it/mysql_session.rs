//! A session on Aurora MySQL across invocations, against MariaDB behind the gate: idle spells, refused
//! logins, connections that break at each point of a statement, and the ledger. The clock and the
//! credentials are the test's.

use crate::common::mysql as common;

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::test_util::ManualTimeSource;
use aws_smithy_async::time::SharedTimeSource;
use common::{bind, config, count, credentials, json, start};
use rds_iam::deadline::Deadline;
use rds_iam::query::{Answer, Delivered, Query};
use rds_iam::session::{PROBE_AFTER, PROBE_TIMEOUT};
use rds_iam::{Error, ErrorKind, MysqlSession, Report, Work};
use rds_local::gate::Fault;
use rds_local::{DATABASE, Server};
use tempfile::TempDir;

pub const ADD: &str = "/*+++\nmode = \"write\"\nresult = \"affected\"\nparams = [{ name = \"id\" }]\n+++*/\n\
                   INSERT INTO orders (order_id, total) VALUES (?, 1)";
pub const LIMIT: Duration = Duration::from_secs(20);

pub struct World {
    pub server: Server,
    pub session: MysqlSession,
    clock: ManualTimeSource,
    _folder: TempDir,
}

impl World {
    pub async fn start(user: &str) -> Self {
        let (server, folder) = start().await;
        let provider = SharedCredentialsProvider::new(credentials(&server));
        let clock = ManualTimeSource::new(SharedTimeSource::default().now());
        let own = SharedTimeSource::new(clock.clone());
        let session = MysqlSession::with_credentials(config(&server, user), provider, own);
        Self { server, session, clock, _folder: folder }
    }

    pub async fn run(
        &self,
        text: &str,
        values: &[(&str, &str)],
    ) -> (Result<Answer, Error>, Report) {
        let query = Query::parse("q", text).unwrap();
        let mut work = Work::new(Deadline::after(LIMIT));
        let answer = self.session.run(&query, &bind(&query, values), &mut work).await;
        (answer, work.report)
    }

    async fn deliver(&self, text: &str, order: &str, message: &str) -> Result<Delivered, Error> {
        let query = Query::parse("q", text).unwrap();
        let order = format!("\"{order}\"");
        let values = [("id", order.as_str())];
        let mut work = Work::new(Deadline::after(LIMIT));
        self.session.deliver(&query, &bind(&query, &values), message, &mut work).await
    }

    pub async fn ask(&self, sql: &str) -> String {
        self.server.database.mariadb().unwrap().run(DATABASE, sql).await.unwrap().trim().to_owned()
    }

    pub fn logins(&self) -> usize {
        self.server.gate.log().records().iter().filter(|record| record.outcome.is_ok()).count()
    }

    pub async fn stop(self) {
        self.session.close().await;
        self.server.stop().await.unwrap();
    }
}

fn is_duplicate(delivered: &Delivered) -> bool {
    matches!(delivered, Delivered::Duplicate)
}

#[tokio::test]
async fn a_connection_is_used_again_and_probed_after_an_idle_spell() {
    let world = World::start("iam_ro_user").await;
    let (answer, report) = world.run("SELECT 1 AS n", &[]).await;
    answer.unwrap();
    assert!(!report.reused && report.login.is_some() && report.login_attempts == 1);
    for idle in [Duration::ZERO, PROBE_AFTER * 100] {
        world.clock.advance(idle);
        let (answer, report) = world.run("SELECT 1 AS n", &[]).await;
        answer.unwrap();
        assert!(report.reused && report.query.is_some());
    }
    assert_eq!(world.logins(), 1);

    // It dies silently in a freeze, and the network is back by the time of the new login.
    world.clock.advance(PROBE_AFTER);
    world.server.gate.set_fault(Fault::Stall);
    let recover = async {
        tokio::time::sleep(PROBE_TIMEOUT + Duration::from_millis(100)).await;
        world.server.gate.set_fault(Fault::None);
    };
    let ((answer, report), ()) = tokio::join!(world.run("SELECT 1 AS n", &[]), recover);
    answer.unwrap();
    assert!(!report.reused && report.login.is_some());
    assert_eq!(world.logins(), 2);
    let check = "/*+++ result = \"check\" +++*/ SELECT * FROM customers";
    assert_eq!(world.run(check, &[]).await.1.violations, Some(3));
    world.stop().await;
}

#[tokio::test]
async fn a_result_that_is_too_large_is_not_read_to_its_end() {
    let world = World::start("iam_ro_user").await;
    let endless = "SELECT REPEAT('x', 1000) AS x FROM seq_1_to_1000000000";
    let error = world.run(endless, &[]).await.0.unwrap_err();
    // Read to its end, it would be a time-out.
    assert_eq!(error.kind(), ErrorKind::ResultTooLarge, "{error}");
    let running = "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'iam_ro_user' AND command = 'Query'";
    assert_eq!(world.ask(running).await, "0");
    world.run("SELECT 1 AS n", &[]).await.0.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_read_runs_again_on_a_new_connection_once() {
    let world = World::start("iam_ro_user").await;
    world.run("SELECT 1 AS n", &[]).await.0.unwrap();
    for (number, fault) in
        [Fault::ResetBeforeQuery, Fault::ResetBeforeAnswer].into_iter().enumerate()
    {
        world.server.gate.set_fault_once(fault);
        let (answer, report) = world.run("SELECT 1 AS n", &[]).await;
        assert_eq!(json(&answer.unwrap()), r#"[{"n":1}]"#);
        assert!(!report.reused && report.login_attempts == 1);
        assert_eq!(world.logins(), 2 + number);
    }
    // Killed while it was idle, and the server restarted.
    for _ in 0..2 {
        world.ask("SELECT CONCAT('KILL ', id) INTO @k FROM information_schema.processlist WHERE user = 'iam_ro_user'; EXECUTE IMMEDIATE @k").await;
        world.run("SELECT 1 AS n", &[]).await.0.unwrap();
    }
    world.server.database.mariadb().unwrap().restart().await.unwrap();
    world.run("SELECT 1 AS n", &[]).await.0.unwrap();
    // A second failure is the caller's.
    world.server.gate.set_fault(Fault::ResetBeforeAnswer);
    let error = world.run("SELECT 1 AS n", &[]).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    assert!(!error.to_string().contains("Log in"), "{error}");
    world.server.gate.set_fault(Fault::None);
    world.run("SELECT 1 AS n", &[]).await.0.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_write_without_a_ledger_never_runs_twice() {
    let world = World::start("iam_rw_user").await;
    for (id, fault, rows) in [
        ("\"a\"", Fault::ResetBeforeQuery, "0"),
        ("\"b\"", Fault::ResetBeforeAnswer, "0"),
        ("\"c\"", Fault::ResetAtCommit, "1"),
    ] {
        world.run("SELECT 1 AS n", &[]).await.0.unwrap();
        world.server.gate.set_fault_once(fault);
        let error = world.run(ADD, &[("id", id)]).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryOutcomeUnknown, "{fault:?}: {error}");
        assert_eq!(count(&world.server, "orders").await, rows, "{fault:?}");
    }
    // A server that takes no writes is asked for by a new login, once: it may be the old writer.
    let before = world.logins();
    world.run("SELECT 1 AS n", &[]).await.0.unwrap();
    world.server.database.mariadb().unwrap().set_read_only(true).await.unwrap();
    let error = world.run(ADD, &[("id", "\"d\"")]).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DatabaseUnavailable, "{error}");
    assert_eq!(world.logins(), before + 2);
    world.server.database.mariadb().unwrap().set_read_only(false).await.unwrap();
    world.run(ADD, &[("id", "\"d\"")]).await.0.unwrap();
    world.stop().await;
}

#[tokio::test]
async fn a_message_takes_effect_once() {
    let world = World::start("iam_rw_user").await;
    assert!(!is_duplicate(&world.deliver(ADD, "a", "m1").await.unwrap()));
    assert!(is_duplicate(&world.deliver(ADD, "a", "m1").await.unwrap()));
    // The statement's own duplicate is not the ledger's.
    let own = world.deliver(ADD, "a", "m2").await.unwrap_err();
    assert_eq!(own.kind(), ErrorKind::QueryFailed, "{own}");
    assert!(own.to_string().contains("1062"), "{own}");
    // Nor is one that the statement makes in the ledger.
    let inside = ADD.replace(
        "INSERT INTO orders (order_id, total) VALUES (?, 1)",
        "INSERT INTO rds_iam.message_ledger (database_name, query, message_id) VALUES (DATABASE(), 'q', ?)",
    );
    let own = world.deliver(&inside, "m1", "m3").await.unwrap_err();
    assert_eq!(own.kind(), ErrorKind::QueryFailed, "{own}");
    // What failed left no entry, and no order.
    assert!(!is_duplicate(&world.deliver(ADD, "b", "m2").await.unwrap()));
    assert!(!is_duplicate(&world.deliver(ADD, "c", "m3").await.unwrap()));
    // Ids are bytes: no collation takes one for another, and no value ends its literal.
    for (order, id) in [("d", "M1"), ("e", "m1 "), ("f", "'; DROP TABLE orders; --"), ("g", "é")] {
        assert!(!is_duplicate(&world.deliver(ADD, order, id).await.unwrap()), "{id}");
        assert!(is_duplicate(&world.deliver(ADD, order, id).await.unwrap()), "{id}");
    }
    assert_eq!(count(&world.server, "orders").await, "7");
    for id in [String::new(), "x".repeat(2049)] {
        let error = world.deliver(ADD, "h", &id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EventInvalid, "{error}");
    }
    // A read needs no entry.
    let read = "/*+++ params = [{ name = \"id\" }] +++*/ SELECT ? AS id";
    for _ in 0..2 {
        assert!(!is_duplicate(&world.deliver(read, "x", "m9").await.unwrap()));
    }
    assert_eq!(world.ask("SELECT COUNT(*) FROM rds_iam.message_ledger").await, "7");
    world.stop().await;
}

#[tokio::test]
async fn a_message_takes_effect_once_whatever_breaks() {
    let world = World::start("iam_rw_user").await;
    let faults = [Fault::ResetBeforeQuery, Fault::ResetBeforeAnswer, Fault::ResetAtCommit];
    for (number, fault) in faults.into_iter().enumerate() {
        world.run("SELECT 1 AS n", &[]).await.0.unwrap();
        let (order, message) = (format!("o{number}"), format!("m{number}"));
        world.server.gate.set_fault_once(fault);
        let delivered = world.deliver(ADD, &order, &message).await.unwrap();
        // Its answer was lost after COMMIT: the entry tells.
        assert_eq!(is_duplicate(&delivered), fault == Fault::ResetAtCommit, "{fault:?}");
        assert!(is_duplicate(&world.deliver(ADD, &order, &message).await.unwrap()));
    }
    world.server.gate.set_fault(Fault::ResetBeforeAnswer);
    let lost = world.deliver(ADD, "o3", "m3").await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::QueryOutcomeUnknown, "{lost}");
    world.server.gate.set_fault(Fault::None);
    assert!(!is_duplicate(&world.deliver(ADD, "o3", "m3").await.unwrap()));
    assert_eq!(count(&world.server, "orders").await, "4");

    // Without a ledger, nothing runs.
    world.ask("REVOKE INSERT ON rds_iam.message_ledger FROM 'iam_rw_user'@'%'").await;
    let denied = world.deliver(ADD, "o4", "m4").await.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::QueryDenied);
    assert!(denied.to_string().contains("sql/mysql/ledger.sql"), "{denied}");
    world
        .ask("GRANT INSERT ON rds_iam.* TO 'iam_rw_user'@'%'; DROP TABLE rds_iam.message_ledger")
        .await;
    let missing = world.deliver(ADD, "o4", "m4").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::QueryDenied, "{missing}");
    assert_eq!(count(&world.server, "orders").await, "4");
    world.stop().await;
}

#[tokio::test]
async fn a_refused_login_is_tried_again_with_new_credentials_and_explained() {
    let (server, _folder) = start().await;
    let good = credentials(&server);
    let wrong = Credentials::new(good.access_key_id(), "wrong", None, None, "test");
    let mut config = config(&server, "iam_ro_user");
    config.login_attempts = 2;
    let provider = SharedCredentialsProvider::new(wrong);
    let session = MysqlSession::with_credentials(config, provider, SharedTimeSource::default());
    let query = Query::parse("q", "SELECT 1 AS n").unwrap();
    let mut work = Work::new(Deadline::after(LIMIT));
    let error = session.run(&query, &bind(&query, &[]), &mut work).await.unwrap_err();
    assert_eq!((error.kind(), work.report.login_attempts), (ErrorKind::AuthRejected, 2));
    assert!(error.to_string().contains("signed moments ago for rds-local"), "{error}");
    assert!(!error.to_string().contains("X-Amz"), "{error}");
    server.stop().await.unwrap();
}
