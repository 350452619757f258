//! Every fault, met by a cold sandbox, a warm one, and one that was frozen while its connection
//! died, for a read and for a write: what comes of it is what docs/faults.md says, within the
//! invocation's time, and PostgreSQL holds what was reported.

use std::time::Duration;

use rds_iam::session::PROBE_AFTER;
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World, example, matrix};
use rds_local::{Options, READ_WRITE_USER};
use tokio::time::sleep;

/// Long enough for a probe that fails and a slow login, and for a slow restart and a read that runs again.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Worlds at a time: each has a PostgreSQL.
const AT_ONCE: usize = 7;
const DOCUMENT: (&str, &str) = ("docs/faults.md", include_str!("../../../docs/faults.md"));

const QUERIES: [(&str, &str); 5] = [
    ("warm", "SELECT 1 AS one"),
    ("read", "/*+++\nparams = [{ name = \"cell\" }]\n+++*/ SELECT $1::text AS cell"),
    (
        "write",
        "/*+++\nmode = \"write\"\nparams = [{ name = \"cell\" }]\n+++*/
         INSERT INTO marks (cell) VALUES ($1) RETURNING cell",
    ),
    (
        "read-slowly",
        "/*+++\nparams = [{ name = \"cell\" }]\n+++*/
         SELECT $1::text AS cell FROM (SELECT pg_sleep(CASE WHEN pg_advisory_xact_lock(7) IS NULL
         THEN 0 ELSE 2 END)) AS slept",
    ),
    (
        "write-slowly",
        "/*+++\nmode = \"write\"\nparams = [{ name = \"cell\" }]\n+++*/
         INSERT INTO marks (cell) SELECT $1 FROM (SELECT pg_sleep(CASE WHEN pg_advisory_xact_lock(7)
         IS NULL THEN 0 ELSE 2 END)) AS slept RETURNING cell",
    ),
];

/// When a fault strikes.
#[derive(Clone, Copy, PartialEq)]
enum When {
    /// From before the invocation until after it.
    Throughout,
    /// As it does, for the first connection only that meets it.
    Once,
    /// While the statement runs, and until after the invocation.
    Meanwhile,
}

/// The rows of the document, in its order.
const ROWS: [(&str, Fault, When); 21] = [
    ("none", Fault::None, When::Throughout),
    ("latency", Fault::None, When::Throughout),
    ("stall", Fault::Stall, When::Throughout),
    ("stall, meanwhile", Fault::Stall, When::Meanwhile),
    ("drop", Fault::Drop, When::Throughout),
    ("reset", Fault::Reset, When::Throughout),
    ("reset, meanwhile", Fault::Reset, When::Meanwhile),
    ("reset-before-login", Fault::ResetBeforeLogin, When::Throughout),
    ("reset-before-query", Fault::ResetBeforeQuery, When::Throughout),
    ("reset-before-query, once", Fault::ResetBeforeQuery, When::Once),
    ("reset-before-answer", Fault::ResetBeforeAnswer, When::Throughout),
    ("reset-before-answer, once", Fault::ResetBeforeAnswer, When::Once),
    ("reset-at-commit", Fault::ResetAtCommit, When::Throughout),
    ("reset-at-commit, once", Fault::ResetAtCommit, When::Once),
    ("refuse", Fault::Refuse, When::Throughout),
    ("slow-login", Fault::SlowLogin, When::Throughout),
    ("throttle", Fault::Throttle, When::Throughout),
    ("restart", Fault::Restart, When::Throughout),
    ("restart, meanwhile", Fault::Restart, When::Meanwhile),
    ("read-only", Fault::ReadOnly, When::Throughout),
    ("failover", Fault::Failover, When::Throughout),
];

#[derive(Clone, Copy, PartialEq)]
enum State {
    Cold,
    Warm,
    Frozen,
}

async fn warm(world: &World) -> Function {
    let mut function = world.function_with_timeout(TIMEOUT).await;
    function.ok(r#"{"query":"warm"}"#).await;
    function
}

/// The result of one cell.
async fn outcome(
    world: &mut World,
    mut function: Function,
    (fault, when): (Fault, When),
    kind: &str,
    cell: &str,
) -> String {
    let slowly = if when == When::Meanwhile { "-slowly" } else { "" };
    let event = format!(r#"{{"query":"{kind}{slowly}","params":{{"cell":"{cell}"}}}}"#);
    match when {
        When::Throughout => world.server.inject(fault).await.unwrap(),
        When::Once => world.server.gate.set_fault_once(fault),
        When::Meanwhile => {}
    }
    let invoke = function.invoke(event);
    let outcome = if when == When::Meanwhile {
        // The statement waits for this lock, so it cannot end before the fault strikes; and then it sleeps, because a
        // restart ends the lock's holder too.
        let holder = world.server.database.superuser(rds_local::DATABASE).await.unwrap();
        holder.batch_execute("SELECT pg_advisory_lock(7)").await.unwrap();
        let strike = async {
            let waits = "SELECT 1 FROM pg_stat_activity
                 WHERE usename = 'iam_rw_user' AND wait_event = 'advisory'";
            while world.rows(waits).await.is_empty() {
                sleep(Duration::from_millis(5)).await;
            }
            if fault == Fault::Stall {
                // The answer to BEGIN may still be on its way: a stall that held it would be the row above.
                sleep(Duration::from_millis(300)).await;
            }
            world.server.inject(fault).await.unwrap();
            drop(holder);
        };
        tokio::join!(invoke, strike).0
    } else {
        invoke.await
    };
    let active =
        "SELECT query FROM pg_stat_activity WHERE usename = 'iam_rw_user' AND state = 'active'";
    let active = world.rows(active).await;
    world.server.inject(Fault::None).await.unwrap();
    // What a lost client left running would be taken for the next cell's.
    world
        .rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'iam_rw_user'",
        )
        .await;
    let told = consistent(world, &outcome, &active, kind, cell).await;
    function.stop().await;
    told
}

/// The error type or `ok`, after a check that the database agrees with it.
async fn consistent(
    world: &World,
    outcome: &Outcome,
    active: &[tokio_postgres::Row],
    kind: &str,
    cell: &str,
) -> String {
    let told = match outcome {
        Outcome::Response(body) => {
            let rows = format!(r#""rows":[{{"cell":"{cell}"}}]"#);
            assert!(String::from_utf8_lossy(body).contains(&rows));
            "ok".to_owned()
        }
        Outcome::Error(_) => outcome.error().unwrap().error_type,
    };
    if told == "Query.Timeout" {
        assert!(active.is_empty(), "{cell}: {} still runs", active[0].get::<_, String>(0));
    }
    if kind == "write" {
        let query = format!("SELECT cell FROM marks WHERE cell = '{cell}'");
        let written = world.rows(&query).await.len();
        let consistent = match told.as_str() {
            "ok" => written == 1,
            "Query.OutcomeUnknown" => written <= 1,
            _ => written == 0,
        };
        assert!(consistent, "{cell}: {told}, with {written} rows written");
    }
    told
}

async fn row(name: &'static str, fault: Fault, when: When) -> Vec<String> {
    let latency = Duration::from_millis(if name == "latency" { 50 } else { 0 });
    let mut world = World::with(example("run_query"), |options| Options {
        user: READ_WRITE_USER.into(),
        latency,
        ..options
    })
    .await;
    world.run("CREATE TABLE marks (cell text); GRANT INSERT, SELECT ON marks TO iam_rw_user").await;
    world.queries(&QUERIES);

    // Both are frozen at once; the freeze is what takes time.
    let mut frozen = Vec::new();
    for _ in 0..2 {
        let function = warm(&world).await;
        assert!(function.sandbox.freeze());
        frozen.push(function);
    }
    world.server.inject(Fault::Drop).await.unwrap();
    sleep(PROBE_AFTER + Duration::from_millis(300)).await;
    assert!(frozen.iter().all(|function| function.sandbox.thaw()));

    let mut cells = Vec::new();
    for kind in ["read", "write"] {
        for state in [State::Cold, State::Warm, State::Frozen] {
            let function = match state {
                State::Cold => world.function_with_timeout(TIMEOUT).await,
                State::Warm => warm(&world).await,
                State::Frozen => frozen.remove(0),
            };
            let cell = format!("{name} {kind} {}", cells.len());
            cells.push(outcome(&mut world, function, (fault, when), kind, &cell).await);
        }
    }
    world.stop().await;
    cells
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_end_as_documented() {
    let rows = ROWS.map(|(name, fault, when)| (name, (fault, when)));
    assert!(rows.len() * 6 >= 40);
    matrix::holds(DOCUMENT, AT_ONCE, rows, |name, (fault, when)| row(name, fault, when)).await;
}
