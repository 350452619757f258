//! Whatever fails: a whole object or none, no upload left open, and an error that says which.

use crate::common;

use std::time::Duration;

use common::{Fault, FaultyS3, Plan};
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World};
use serde_json::{Value, json};

/// 20 MB: three parts.
const BIG: &str = "SELECT n, repeat(md5(n::text), 3000) AS t FROM generate_series(1, 200) n";
const BIG_ROWS: u64 = 200;
const SMALL: &str = "SELECT n FROM generate_series(1, 10) n";
/// Lambda's time-out, where it must not matter.
const LONG: Duration = Duration::from_secs(30);
/// The same, where a run waits for its end.
const SHORT: Duration = Duration::from_secs(8);

struct Bench {
    world: World,
    s3: FaultyS3,
    function: Function,
    hasty: Function,
    /// Uploads that stay open, as the function's error said.
    admitted: Vec<String>,
}

impl Bench {
    async fn start(queries: &[(&str, &str)]) -> Self {
        let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
        let s3 = FaultyS3::start(&world.s3().endpoint).await;
        world.set("AWS_ENDPOINT_URL_S3", s3.endpoint.clone());
        world.queries(queries);
        let function = world.function_with_timeout(LONG).await;
        let hasty = world.function_with_timeout(SHORT).await;
        Self { world, s3, function, hasty, admitted: Vec::new() }
    }

    async fn run(&mut self, query: &str, plan: Option<Plan>) -> Result<Value, (String, String)> {
        self.s3.plan(plan);
        let event = json!({ "query": query, "to": "x.ndjson" }).to_string();
        let waits = matches!(query, "stalls" | "waits")
            || plan.is_some_and(|plan| plan.fault == Fault::Silence);
        let function = if waits { &mut self.hasty } else { &mut self.function };
        let outcome = function.invoke(event).await;
        match &outcome {
            Outcome::Response(body) => Ok(serde_json::from_slice(body).unwrap()),
            Outcome::Error(_) => {
                let error = outcome.error().unwrap();
                assert!(!error.error_message.contains("s3cret"), "{}", error.error_message);
                Err((error.error_type, error.error_message))
            }
        }
    }

    /// What must be true after any run, however it ended. Then removes the object.
    async fn check(&mut self, plan: &str, outcome: &Result<Value, (String, String)>, rows: u64) {
        let object = self.world.s3().get("x.ndjson").await;
        if let Some(object) = &object {
            let lines = object.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines as u64, rows, "half an object after {plan}: {outcome:?}");
        }
        match outcome {
            Ok(answer) => {
                let object = object.as_ref().unwrap_or_else(|| panic!("no object: {plan}"));
                assert_eq!(answer["bytes"], json!(object.len()), "{plan}");
                assert_eq!(answer["rows"], json!(rows), "{plan}");
            }
            Err((kind, message)) => {
                let unknown = kind == "Export.OutcomeUnknown";
                assert!(object.is_none() || unknown, "an object after {plan}: {kind} {message}");
            }
        }
        let mut open = self.world.s3().open_uploads().await;
        open.retain(|id| !self.admitted.contains(id));
        let admitted = outcome.as_ref().is_err_and(|(_, message)| message.contains("life-cycle"));
        assert!(open.is_empty() || admitted, "an open upload after {plan}: {outcome:?}");
        self.admitted.extend(open);
        if object.is_some() {
            self.world.s3().delete("x.ndjson").await;
        }
    }

    async fn stop(self) {
        let mut log = self.function.stop().await;
        log.extend(self.hasty.stop().await);
        assert!(
            !log.iter().any(|line| line.contains("s3cret") || line.contains("panic")),
            "{log:#?}"
        );
        self.world.stop().await;
    }
}

const ALWAYS: usize = usize::MAX / 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_s3_has_its_error_and_leaves_nothing() {
    let mut bench = Bench::start(&[("big", BIG), ("small", SMALL)]).await;
    use Fault::*;
    for (query, operation, from, times, fault, expected) in [
        // What passes is repeated.
        ("big", "part", 0, 1, ResetMidway, ""),
        ("big", "part", 1, 1, SlowDown, ""),
        ("big", "part", 0, 1, LoseAnswer, ""),
        ("big", "part", 0, 2, Slow, ""),
        ("big", "create", 0, 1, InternalError, ""),
        ("big", "complete", 0, 1, ErrorIn200, ""),
        ("big", "complete", 0, 1, SlowDown, ""),
        ("small", "put", 0, 1, InternalError, ""),
        ("small", "put", 0, 1, ResetBefore, ""),
        ("small", "put", 0, 2, Throttled, ""),
        ("big", "create", 0, 1, Throttled, ""),
        ("big", "part", 1, 1, Throttled, ""),
        ("big", "complete", 0, 2, Throttled, ""),
        // What does not is an error.
        ("big", "part", 1, ALWAYS, ResetMidway, "Export.Unavailable"),
        ("big", "part", 1, ALWAYS, Full, "Export.Unavailable"),
        ("big", "part", 1, ALWAYS, Silence, "Export.Timeout"),
        ("big", "part", 1, 1, Denied, "Export.Denied"),
        ("big", "part", 1, 1, OtherTag, "Export.Failed"),
        ("big", "create", 0, ALWAYS, ResetBefore, "Export.Unavailable"),
        ("big", "complete", 0, ALWAYS, ErrorIn200, "Export.OutcomeUnknown"),
        ("big", "complete", 0, ALWAYS, LoseAnswer, "Export.OutcomeUnknown"),
        ("big", "complete", 0, 1, Denied, "Export.Denied"),
        ("big", "complete", 0, ALWAYS, SlowDown, "Export.Unavailable"),
        ("big", "complete", 0, ALWAYS, Silence, "Export.OutcomeUnknown"),
        ("small", "put", 0, ALWAYS, ResetBefore, "Export.OutcomeUnknown"),
        ("small", "put", 0, 1, LoseAnswer, "Export.OutcomeUnknown"),
        ("small", "put", 0, 1, CutAnswer, "Export.OutcomeUnknown"),
        ("small", "put", 0, 1, Denied, "Export.Denied"),
        ("small", "put", 0, ALWAYS, Throttled, "Export.Unavailable"),
        ("big", "create", 0, ALWAYS, Throttled, "Export.Unavailable"),
        ("big", "part", 0, ALWAYS, Throttled, "Export.Unavailable"),
        ("big", "complete", 0, ALWAYS, Throttled, "Export.Unavailable"),
        ("small", "put", 0, 1, Elsewhere, "Export.Failed"),
        ("big", "create", 0, 1, Elsewhere, "Export.Failed"),
    ] {
        let plan = Plan { operation, from, times, fault };
        let start = tokio::time::Instant::now();
        let outcome = bench.run(query, Some(plan)).await;
        println!("{plan:?} {:?}", start.elapsed());
        let kind = outcome.as_ref().err().map_or("", |(kind, _)| kind.as_str());
        assert_eq!(kind, expected, "{plan:?}: {outcome:?} {:?}", bench.s3.operations());
        let rows = if query == "big" { BIG_ROWS } else { 10 };
        bench.check(&format!("{plan:?}"), &outcome, rows).await;
    }
    // An abort that fails is admitted, and the upload stays.
    bench.s3.fail_aborts();
    let plan = Plan { operation: "part", from: 1, times: 1, fault: Denied };
    let (kind, message) = bench.run("big", Some(plan)).await.unwrap_err();
    assert!(kind == "Export.Denied" && message.contains("life-cycle rule"), "{kind} {message}");
    assert_eq!(bench.world.s3().open_uploads().await.len(), 1);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_fails_halfway_leaves_nothing() {
    // Three parts, then nothing for a while.
    let stalls =
        "SELECT n, repeat(md5(n::text), 3000) AS t, CASE WHEN n = 190 THEN pg_sleep(60) END AS s
        FROM generate_series(1, 200) n";
    let fails = "SELECT n, repeat(md5(n::text), 3000) AS t, 1 / (n - 190) AS d FROM generate_series(1, 200) n";
    let waits = "SELECT n, pg_sleep(60)::text AS t FROM generate_series(1, 2) n";
    let long = "SELECT 1 AS n, repeat('x', 8000000) AS t";
    let mut bench = Bench::start(&[
        ("big", BIG),
        ("stalls", stalls),
        // Its run does not wait for the function's time-out.
        ("killed", stalls),
        ("fails", fails),
        ("waits", waits),
        ("long", long),
    ])
    .await;
    for (query, expected) in [
        ("fails", "Query.Failed"),
        ("stalls", "Query.Timeout"),
        ("waits", "Query.Timeout"),
        ("long", "Result.TooLarge"),
    ] {
        let outcome = bench.run(query, None).await;
        assert_eq!(outcome.as_ref().unwrap_err().0, expected, "{query}: {outcome:?}");
        bench.check(query, &outcome, BIG_ROWS).await;
    }
    // PostgreSQL's backend is killed while it stalls.
    let admin = bench.world.server.database.superuser(rds_local::DATABASE).await.unwrap();
    let killer = tokio::spawn(async move {
        let kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE usename = 'iam_ro_user' AND query LIKE '%pg_sleep%' AND wait_event = 'PgSleep'";
        loop {
            let killed: i64 = admin.query_one(kill, &[]).await.unwrap().get(0);
            if killed > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let outcome = bench.run("killed", None).await;
    killer.await.unwrap();
    assert_eq!(outcome.as_ref().unwrap_err().0, "Database.Unavailable", "{outcome:?}");
    bench.check("kill", &outcome, BIG_ROWS).await;
    // The statements have ended too.
    let left = bench
        .world
        .rows("SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_ro_user' AND state = 'active'")
        .await;
    assert!(left.is_empty(), "{} statements still run", left.len());
    // And the next run works.
    let outcome = bench.run("big", None).await;
    bench.check("none", &outcome, BIG_ROWS).await;
    assert!(outcome.is_ok());
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sandbox_that_is_killed_leaves_a_whole_object_or_none() {
    let mut bench = Bench::start(&[("big", BIG), ("small", SMALL)]).await;
    use Fault::*;
    for (query, operation, from, fault) in [
        ("big", "create", 0, Silence),
        ("big", "part", 1, Silence),
        ("big", "complete", 0, Silence),
        ("big", "complete", 0, LoseAnswer),
        ("small", "put", 0, Silence),
        ("small", "put", 0, LoseAnswer),
    ] {
        let plan = Plan { operation, from, times: ALWAYS, fault };
        bench.s3.plan(Some(plan));
        let event = json!({ "query": query, "to": "x.ndjson" }).to_string();
        tokio::select! {
            outcome = bench.function.invoke(event) => panic!("{plan:?} came too late: {outcome:?}"),
            () = bench.s3.met(operation, from + 1) => {}
        }
        // Dropping the other one kills its process.
        bench.function = bench.world.function_with_timeout(LONG).await;
        let rows = if query == "big" { BIG_ROWS } else { 10 };
        let object = bench.world.s3().get("x.ndjson").await;
        let lines = object.map(|object| object.iter().filter(|byte| **byte == b'\n').count());
        assert!(fault == LoseAnswer || lines.is_none(), "{plan:?}: {lines:?} lines");
        assert!(lines.is_none_or(|lines| lines as u64 == rows), "{plan:?}: {lines:?} lines");
        // Nobody is left to abort the upload: the bucket's life-cycle rule does.
        for id in bench.world.s3().open_uploads().await {
            bench.world.s3().delete(&format!("x.ndjson?uploadId={id}")).await;
        }
        bench.world.s3().delete("x.ndjson").await;
        let outcome = bench.run(query, None).await;
        bench.check(&format!("the run after {plan:?}"), &outcome, rows).await;
        assert!(outcome.is_ok(), "{plan:?}: {outcome:?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_never_leave_half_an_object() {
    let runs: usize = std::env::var("EXPORT_FAULTS").map_or(8, |text| text.parse().unwrap());
    let seed = std::env::var("SEED").map_or(fastrand::u64(..), |text| text.parse().unwrap());
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bench = Bench::start(&[("big", BIG), ("small", SMALL)]).await;
    use Fault::*;
    let faults = [
        ResetBefore,
        ResetMidway,
        LoseAnswer,
        CutAnswer,
        SlowDown,
        InternalError,
        ErrorIn200,
        Full,
        Denied,
        Throttled,
        Elsewhere,
        OtherTag,
        Slow,
        Silence,
    ];
    let mut kinds = std::collections::BTreeMap::new();
    for run in 0..runs {
        let query = if random.u8(0..4) == 0 { "small" } else { "big" };
        let operations: &[&'static str] =
            if query == "small" { &["put"] } else { &["create", "part", "complete"] };
        let operation = operations[random.usize(0..operations.len())];
        let fault = faults[random.usize(0..faults.len())];
        let times = [1, 2, 3, ALWAYS][random.usize(0..4)];
        let from = if operation == "part" { random.usize(0..3) } else { 0 };
        let plan = Plan { operation, from, times, fault };
        let outcome = bench.run(query, Some(plan)).await;
        let kind = outcome.as_ref().err().map_or("none".to_owned(), |(kind, _)| kind.clone());
        *kinds.entry(kind).or_insert(0) += 1;
        let rows = if query == "big" { BIG_ROWS } else { 10 };
        // An upload whose name was lost nobody can abort: the life-cycle rule removes it.
        let nameless = operation == "create" && matches!(fault, LoseAnswer | CutAnswer | Slow);
        if nameless {
            for id in bench.world.s3().open_uploads().await {
                bench.world.s3().delete(&format!("x.ndjson?uploadId={id}")).await;
            }
        }
        bench.check(&format!("run {run}, SEED={seed}, {query}, {plan:?}"), &outcome, rows).await;
    }
    println!("{runs} runs: {kinds:?}");
    bench.stop().await;
}
