//! A purge by three sandboxes that are killed, frozen past their lease and thawed, and cut off from the
//! network, while its one event is delivered again and again: every row goes once, the counts are exact,
//! and no two owners take turns. The evidence is the database's own: each chunk notes who wrote it.
//!
//! `ROWS`, `FAULTS` (at least so many) and `SEED` set the run; the seed is printed.

use crate::common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::start;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World, summaries};
use serde_json::Value;
use tokio::time::{sleep, timeout};

const SANDBOXES: usize = 3;
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_secs(900);

/// A chunk says who wrote it: the connection's own name, the owner that the row had, its transaction.
const PURGE: &str = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n\
    params = [{ name = \"chunk\" }]\n+++*/
    WITH gone AS (
        DELETE FROM items WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM items LIMIT $1)
            AND (SELECT pg_sleep(0.02) IS NOT NULL) RETURNING n
    ), noted AS (
        INSERT INTO audit (sandbox, owner, transaction, rows)
        SELECT current_setting('application_name'), r.owner, txid_current(), (SELECT count(*) FROM gone)
        FROM job_runs r WHERE r.job = 'purge' AND r.run = 'r'
    )
    INSERT INTO gone_items SELECT n FROM gone";
const TABLES: &str = "CREATE TABLE items (n int);
    CREATE TABLE gone_items (n int);
    CREATE TABLE audit (at bigserial, sandbox text NOT NULL, owner bigint NOT NULL, transaction bigint, rows bigint);
    GRANT SELECT, INSERT, DELETE ON items, gone_items, audit TO iam_rw_user;
    GRANT USAGE ON audit_at_seq TO iam_rw_user";

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// What the sandboxes and the faults share.
struct Stage {
    processes: Mutex<[Option<(i32, String)>; SANDBOXES]>,
    event: String,
    started: AtomicUsize,
    delivered: AtomicUsize,
    lost: AtomicUsize,
    over: AtomicBool,
}

/// One sandbox after another in this place: each delivers the event until the run is finished, and then
/// once more. Returns the two answers.
async fn deliver(
    place: usize,
    stage: Arc<Stage>,
    mut variables: BTreeMap<String, String>,
) -> [Value; 2] {
    let mut answers = Vec::new();
    let mut logs = Vec::new();
    while answers.len() < 2 {
        let name = format!("sandbox-{}", stage.started.fetch_add(1, SeqCst));
        variables.insert("PGAPPNAME".into(), name.clone());
        let binary = env!("CARGO_BIN_EXE_batch-job");
        let mut function = Function::start(binary, &variables, FUNCTION_TIMEOUT).await;
        let process = function.sandbox.process_id().map(|id| i32::try_from(id).unwrap());
        stage.processes.lock().unwrap()[place] = process.map(|process| (process, name));
        loop {
            stage.delivered.fetch_add(1, SeqCst);
            let outcome = function.invoke(stage.event.as_bytes()).await;
            match &outcome {
                Outcome::Response(body) => {
                    let answer: Value = serde_json::from_slice(body).unwrap();
                    if answer["done"] == true {
                        answers.push(answer);
                        if answers.len() == 2 {
                            break;
                        }
                    }
                }
                Outcome::Error(_) => match outcome.error().unwrap().error_type.as_str() {
                    "Runtime.ExitError" | "Sandbox.Timedout" => break,
                    "Network.Unreachable"
                    | "Network.Timeout"
                    | "Auth.Rejected"
                    | "Database.Unavailable"
                    | "Query.Timeout" => {}
                    _ => panic!("{outcome:?}"),
                },
            }
        }
        stage.processes.lock().unwrap()[place] = None;
        logs.extend(function.stop().await);
    }
    let lost = summaries(&logs).iter().filter_map(|line| line["lease_lost"].as_u64()).sum::<u64>();
    stage.lost.fetch_add(usize::try_from(lost).unwrap(), SeqCst);
    answers.try_into().unwrap()
}

fn signal(stage: &Stage, place: usize, signal: Signal) -> bool {
    let process = stage.processes.lock().unwrap()[place].as_ref().map(|(process, _)| *process);
    process.is_some_and(|process| kill(Pid::from_raw(process), signal).is_ok())
}

const KINDS: [&str; 3] = ["killed", "frozen", "cut off"];
const CUTS: [Fault; 6] = [
    Fault::Reset,
    Fault::ResetBeforeQuery,
    Fault::ResetBeforeAnswer,
    Fault::ResetAtCommit,
    Fault::Stall,
    Fault::Drop,
];

/// Mostly the place of the sandbox that works.
async fn target(world: &World, stage: &Stage, random: &mut fastrand::Rng) -> usize {
    let last = world.rows("SELECT sandbox FROM audit ORDER BY at DESC LIMIT 1").await;
    let last = last.first().map(|row| row.get::<_, String>(0));
    let processes = stage.processes.lock().unwrap();
    let place =
        processes.iter().position(|one| one.as_ref().map(|(_, name)| name) == last.as_ref());
    place.filter(|_| random.u32(0..4) > 0).unwrap_or_else(|| random.usize(0..SANDBOXES))
}

/// Strikes until the run is over, and counts how often, by kind.
async fn strike(world: &World, stage: &Stage, random: &mut fastrand::Rng) -> [u64; 3] {
    let mut struck = [0; 3];
    let mut order = [0, 1, 2];
    random.shuffle(&mut order);
    while !stage.over.load(SeqCst) {
        sleep(Duration::from_millis(random.u64(100..500))).await;
        let kind = order[struck.iter().sum::<u64>() as usize % 3];
        let place = target(world, stage, random).await;
        let hit = match kind {
            0 => signal(stage, place, Signal::SIGKILL),
            1 => {
                let frozen = signal(stage, place, Signal::SIGSTOP);
                // The lease is one second.
                sleep(Duration::from_millis(random.u64(1200..2000))).await;
                signal(stage, place, Signal::SIGCONT);
                frozen
            }
            _ => {
                let cut = CUTS[random.usize(0..CUTS.len())];
                world.server.gate.set_fault(cut);
                sleep(Duration::from_millis(random.u64(5..300))).await;
                world.server.gate.set_fault(Fault::None);
                true
            }
        };
        struck[kind] += u64::from(hit);
    }
    struck
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_goes_once_whatever_happens_to_the_sandboxes() {
    let (rows, least) = (number("ROWS", 20_000), number("FAULTS", 8));
    let seed = number("SEED", fastrand::u64(..));
    println!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut world = start().await;
    world.run(TABLES).await;
    world.run(&format!("INSERT INTO items SELECT generate_series(1, {rows})")).await;
    world.queries(&[("purge", PURGE)]);
    world.set("JOB_LEASE", "1");
    let chunk = (rows / (least * 30)).max(1);
    let stage = Arc::new(Stage {
        processes: Mutex::default(),
        event: format!(r#"{{"query":"purge","run":"r","params":{{"chunk":{chunk}}}}}"#),
        started: AtomicUsize::new(0),
        delivered: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
        over: AtomicBool::new(false),
    });
    let places: Vec<_> = (0..SANDBOXES)
        .map(|place| tokio::spawn(deliver(place, stage.clone(), world.variables.clone())))
        .collect();
    let work = async {
        let mut answers = Vec::new();
        for place in places {
            answers.extend(place.await.unwrap());
        }
        stage.over.store(true, SeqCst);
        answers
    };
    let both = async { tokio::join!(work, strike(&world, &stage, &mut random)) };
    let Ok((answers, struck)) = timeout(PATIENCE, both).await else {
        panic!(
            "SEED={seed}: not finished; {}",
            text(&world, "SELECT job_runs::text FROM job_runs").await
        )
    };
    check(&world, &answers, rows, seed).await;
    let owners = text(&world, "SELECT count(DISTINCT owner)::text FROM audit").await;
    println!(
        "{rows} rows in chunks of {chunk}; the event was delivered {} times to {} sandboxes; {}; {owners} owners, {} lost their lease and saw it",
        stage.delivered.load(SeqCst),
        stage.started.load(SeqCst),
        KINDS
            .iter()
            .zip(struck)
            .map(|(kind, n)| format!("{n} {kind}"))
            .collect::<Vec<_>>()
            .join(", "),
        stage.lost.load(SeqCst),
    );
    assert!(struck.iter().sum::<u64>() >= least, "SEED={seed}: only {struck:?} faults");
    assert!(struck.iter().all(|count| *count > 0), "SEED={seed}: {struck:?}");
    world.stop().await;
}

async fn text(world: &World, sql: &str) -> String {
    world.rows(sql).await[0].get(0)
}

/// The database's evidence.
async fn check(world: &World, answers: &[Value], rows: u64, seed: u64) {
    let gone = "SELECT count(*) || ' ' || count(DISTINCT n) || ' ' || (SELECT count(*) FROM items) FROM gone_items";
    assert_eq!(text(world, gone).await, format!("{rows} {rows} 0"), "SEED={seed}");
    let ledger = "SELECT status || ' ' || chunks || ' ' || rows FROM job_runs";
    // The last chunk, which affects no rows, runs twice in its transaction.
    let audit = "SELECT 'finished ' || count(DISTINCT transaction) || ' ' || sum(rows) FROM audit";
    assert_eq!(text(world, ledger).await, text(world, audit).await, "SEED={seed}");
    let chunks: u64 = text(world, "SELECT chunks::text FROM job_runs").await.parse().unwrap();
    for answer in answers {
        assert_eq!(
            (&answer["rows"], &answer["chunks"]),
            (&rows.into(), &chunks.into()),
            "SEED={seed}"
        );
    }
    // In the order of the chunks, each owner is there once, in one piece, and is one sandbox.
    let turns = "SELECT (count(*) FILTER (WHERE owner IS DISTINCT FROM before))::text || ' ' || count(DISTINCT owner)
        FROM (SELECT owner, lag(owner) OVER (ORDER BY at) AS before FROM audit) AS chunks";
    let turns = text(world, turns).await;
    let (turns, owners) = turns.split_once(' ').unwrap();
    assert_eq!(turns, owners, "SEED={seed}: owners took turns");
    let shared = "SELECT count(*)::text FROM (SELECT FROM audit GROUP BY owner HAVING count(DISTINCT sandbox) > 1) AS shared";
    assert_eq!(text(world, shared).await, "0", "SEED={seed}: an owner was two sandboxes");
    let twice = "SELECT count(*)::text FROM (SELECT FROM audit WHERE rows > 0 GROUP BY transaction HAVING count(*) > 1) AS twice";
    assert_eq!(text(world, twice).await, "0", "SEED={seed}: two chunks in one transaction");
}
