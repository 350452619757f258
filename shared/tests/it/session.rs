//! One session across invocations: idle spells, refused logins, cancelled callers. The clock and the
//! credentials are the test's, everything else is real.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_smithy_async::test_util::ManualTimeSource;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::Report;
use rds_iam::Work;
use rds_iam::deadline::Deadline;
use rds_iam::query::Answer;
use rds_iam::query::{Parameters, Query};
use rds_iam::session::{PROBE_AFTER, PROBE_TIMEOUT};
use rds_iam::{Config, Error, ErrorKind, Session};
use rds_local::gate::Fault;
use rds_local::{Options, Server};
use tempfile::TempDir;

/// Gives out the credentials of a list, the last one for good, and counts.
#[derive(Clone, Debug)]
struct Listed {
    list: Vec<Credentials>,
    calls: Arc<AtomicUsize>,
}

impl ProvideCredentials for Listed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let call = self.calls.fetch_add(1, SeqCst);
        future::ProvideCredentials::ready(Ok(self.list[call.min(self.list.len() - 1)].clone()))
    }
}

struct World {
    server: Server,
    session: Session,
    clock: ManualTimeSource,
    resolved: Arc<AtomicUsize>,
    _folder: TempDir,
}

impl World {
    /// With as many refused credentials before the good ones.
    async fn start(refused: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(Options::new(folder.path())).await.unwrap();
        let variables: BTreeMap<String, String> = server.variables();
        let config = Config::from_vars(|name| variables.get(name).map(OsString::from)).unwrap();
        let keys = |secret: &str, number: usize| {
            let id = if number == 0 {
                variables["AWS_ACCESS_KEY_ID"].clone()
            } else {
                format!("ASIA{number}")
            };
            let token = Some(variables["AWS_SESSION_TOKEN"].clone());
            Credentials::new(id, secret, token, None, "test")
        };
        let mut list: Vec<Credentials> =
            (1..=refused).map(|number| keys("wrong", number)).collect();
        list.push(keys(&variables["AWS_SECRET_ACCESS_KEY"], 0));
        let resolved = Arc::new(AtomicUsize::new(0));
        let provider = SharedCredentialsProvider::new(Listed { list, calls: resolved.clone() });
        let clock = ManualTimeSource::new(SharedTimeSource::default().now());
        let session =
            Session::with_credentials(config, provider, SharedTimeSource::new(clock.clone()))
                .unwrap();
        Self { server, session, clock, resolved, _folder: folder }
    }

    async fn read(&self, sql: &str) -> (Result<Answer, Error>, Report) {
        let query = Query::parse("q", sql).unwrap();
        let parameters = Parameters::bind(&query, &BTreeMap::new()).unwrap();
        let mut work = Work::new(Deadline::after(Duration::from_secs(20)));
        let answer = self.session.read(&query, &parameters, &mut work).await;
        (answer, work.report)
    }

    fn logins(&self) -> usize {
        self.server.gate.log().records().iter().filter(|record| record.outcome.is_ok()).count()
    }
}

#[tokio::test]
async fn a_long_idle_connection_is_probed_and_used_on_if_it_lives() {
    let world = World::start(0).await;
    world.read("SELECT 1 AS n").await.0.unwrap();
    world.clock.advance(PROBE_AFTER * 100);
    let (answer, report) = world.read("SELECT 1 AS n").await;
    answer.unwrap();
    assert!(report.reused);
    assert_eq!(world.logins(), 1);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_died_silently_in_a_freeze_costs_only_the_probe() {
    let world = World::start(0).await;
    world.read("SELECT 1 AS n").await.0.unwrap();
    world.clock.advance(PROBE_AFTER);
    world.server.gate.set_fault(Fault::Stall);
    let answer = async {
        // The network is back by the time of the new login; the old connection stays dead for us.
        let (answer, report) = world.read("SELECT 1 AS n").await;
        answer.unwrap();
        report
    };
    let recover = async {
        tokio::time::sleep(PROBE_TIMEOUT + Duration::from_millis(100)).await;
        world.server.gate.set_fault(Fault::None);
    };
    let (report, ()) = tokio::join!(answer, recover);
    assert!(!report.reused && report.login.is_some());
    assert_eq!(world.logins(), 2);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_refused_token_is_signed_again_with_fresh_credentials() {
    let world = World::start(2).await;
    let (answer, report) = world.read("SELECT 1 AS n").await;
    answer.unwrap();
    assert_eq!(report.login_attempts, 3);
    assert_eq!(world.resolved.load(SeqCst), 3);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn credentials_are_resolved_once_for_many_logins() {
    let world = World::start(0).await;
    for _ in 0..5 {
        world.read("SELECT 1 AS n").await.0.unwrap();
        let admin = world.server.database.superuser("sample_db").await.unwrap();
        let kill =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'iam_ro_user'";
        admin.execute(kill, &[]).await.unwrap();
    }
    world.read("SELECT 1 AS n").await.0.unwrap();
    assert_eq!(world.logins(), 6);
    assert_eq!(world.resolved.load(SeqCst), 1);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_cancelled_read_poisons_nothing() {
    let world = World::start(0).await;
    world.read("SELECT 1 AS n").await.0.unwrap();
    let abandoned = tokio::time::timeout(
        Duration::from_millis(100),
        world.read("SELECT 'of the cancelled one' AS n FROM pg_sleep(60)"),
    );
    assert!(abandoned.await.is_err());
    let (answer, _) = world.read("SELECT 'of this one' AS n").await;
    let Answer::Rows(rows) = answer.unwrap() else { panic!("rows were asked for") };
    assert_eq!(rows.iter().collect::<Vec<_>>(), [r#"{"n":"of this one"}"#]);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn callers_at_once_share_the_connection_and_wait_no_longer_than_they_may() {
    let world = World::start(0).await;
    let reads = (0..20).map(|_| world.read("SELECT 1 AS n"));
    for (answer, _) in futures_util::future::join_all(reads).await {
        answer.unwrap();
    }
    assert_eq!(world.logins(), 1);

    let query = Query::parse("q", "SELECT 1 AS n").unwrap();
    let parameters = Parameters::bind(&query, &BTreeMap::new()).unwrap();
    let slow = world.read("SELECT 1 AS n FROM pg_sleep(2)");
    let hurried = async {
        tokio::task::yield_now().await;
        let deadline = Deadline::after(Duration::from_millis(500));
        world.session.read(&query, &parameters, &mut Work::new(deadline)).await
    };
    let ((answer, _), hurried) = tokio::join!(biased; slow, hurried);
    answer.unwrap();
    assert_eq!(hurried.unwrap_err().kind(), ErrorKind::QueryTimeout);
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_query_that_writes_is_denied_before_any_login() {
    let world = World::start(0).await;
    let (answer, _) = world.read("/*+++\nmode = \"write\"\n+++*/ DELETE FROM customers").await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::QueryDenied);
    assert!(world.server.gate.log().records().is_empty());
    world.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_unwrapped_statement_returns_its_count() {
    let world = World::start(0).await;
    let (answer, _) =
        world.read("/*+++\nresult = \"affected\"\n+++*/ SELECT * FROM customers").await;
    assert!(matches!(answer.unwrap(), Answer::Affected(3)));
    world.server.stop().await.unwrap();
}
