//! Deliveries for real: an SQS of someone else's (moto) over HTTP, a driver that behaves as an event
//! source mapping does, and the real binary, whose network breaks and which is killed now and then.
//! Every good message takes effect once, every poison one ends in the dead-letter queue.
//!
//! `MESSAGES` sets how many.

use crate::common;
use crate::queues;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use common::{check_event, check_log, start};
use queues::Queues;
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World};
use serde_json::Value;
use tokio::time::{sleep, timeout};

const FUNCTION_TIMEOUT: Duration = Duration::from_secs(1);
const SANDBOXES: usize = 3;

const FAULTS: [Fault; 7] = [
    Fault::Reset,
    Fault::ResetBeforeQuery,
    Fault::ResetBeforeAnswer,
    Fault::ResetAtCommit,
    Fault::Throttle,
    Fault::Restart,
    Fault::Stall,
];

const QUERY: &str = "/*+++\nmode = \"write\"\nparams = [{ name = \"n\", from = \"/n\" }, { name = \"lane\", from = \"/lane\", default = \"\" }]\n+++*/
    INSERT INTO effects (n, lane) VALUES ($1::int, $2) RETURNING n";
/// No key: what takes effect twice is there twice.
const TABLE: &str = "CREATE TABLE effects (seen bigserial, n int NOT NULL, lane text NOT NULL)";

/// Ids of the messages that are to be deleted: all but those that the function names as failed. None
/// if it failed itself.
fn acknowledged(outcome: &Outcome, messages: &[Message]) -> HashSet<String> {
    let Outcome::Response(body) = outcome else { return HashSet::new() };
    let response: Value = serde_json::from_slice(body).unwrap();
    let failed: HashSet<&str> = response["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["itemIdentifier"].as_str().unwrap())
        .collect();
    let ids = messages.iter().map(|message| message.message_id.clone().unwrap());
    ids.filter(|id| !failed.contains(id.as_str())).collect()
}

/// One sandbox's share of the work, until the queue is empty. It is killed now and then, and some
/// of what it has done is delivered again.
async fn poll(queues: Arc<Queues>, start: impl AsyncFn() -> Function, kills: Arc<AtomicUsize>) {
    let mut function = start().await;
    loop {
        let messages = queues.receive().await;
        if messages.is_empty() {
            if queues.is_done().await {
                break;
            }
            sleep(Duration::from_millis(100)).await;
            continue;
        }
        let event = queues.event(&messages);
        let outcome = if fastrand::u32(..15) == 0 {
            let patience = Duration::from_micros(fastrand::u64(..6000));
            timeout(patience, function.invoke(event)).await.ok()
        } else {
            Some(function.invoke(event).await)
        };
        let done = match outcome {
            Some(outcome) => {
                check_event(&outcome);
                acknowledged(&outcome, &messages)
            }
            None => {
                // Dropping it kills the process, wherever it is.
                kills.fetch_add(1, SeqCst);
                function = start().await;
                HashSet::new()
            }
        };
        for message in messages {
            // A queue delivers at least once: here, one in fifty arrives again.
            if done.contains(message.message_id.as_ref().unwrap()) && fastrand::u32(..50) > 0 {
                queues.delete(&message).await;
            } else if queues.fifo {
                queues.release(&message).await;
            }
        }
    }
    check_log(&function.stop().await);
}

fn poison_among(bodies: &[String]) -> usize {
    bodies.iter().filter(|body| !body.contains("\"n\":") || body.contains("many")).count()
}

fn count(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

async fn world() -> World {
    let mut world = start().await;
    world.run(&format!("{TABLE}; GRANT INSERT, SELECT ON effects TO iam_rw_user; GRANT USAGE ON effects_seen_seq TO iam_rw_user")).await;
    world.queries(&[("effect", QUERY)]);
    world.set("QUERY", "effect");
    world
}

fn is_poison(number: usize) -> bool {
    number % 100 == 7
}

/// Bodies of messages without a group; the poison ones are wrong in three ways.
fn bodies(messages: usize) -> Vec<(String, Option<String>)> {
    (0..messages)
        .map(|n| {
            let body = match n / 100 % 3 {
                _ if !is_poison(n) => format!(r#"{{"n":{n}}}"#),
                0 => "not JSON".to_owned(),
                1 => r#"{"n":"many"}"#.to_owned(),
                _ => "{}".to_owned(),
            };
            (body, None)
        })
        .collect()
}

#[tokio::test]
async fn every_good_message_takes_effect_once_and_every_poison_one_is_set_aside() {
    let messages = count("MESSAGES", 600);
    let mut world = world().await;
    let queues = Arc::new(Queues::start(false).await);
    let bodies = bodies(messages);
    let kills = Arc::new(AtomicUsize::new(0));
    let variables = world.variables.clone();
    let local = tokio::task::LocalSet::new();
    let mut struck = 0;
    {
        let launcher = std::rc::Rc::new(Launcher { variables });
        let pollers = (0..SANDBOXES).map(|_| {
            let (queues, kills, launcher) = (queues.clone(), kills.clone(), launcher.clone());
            local.spawn_local(async move {
                poll(queues, async || launcher.start().await, kills).await;
            })
        });
        let pollers: Vec<_> = pollers.collect();
        let done = std::cell::Cell::new(false);
        // A fault that has begun is ended too: the server would stay down.
        let faults = async {
            while !done.get() {
                sleep(Duration::from_millis(700)).await;
                world.server.inject(FAULTS[struck % FAULTS.len()]).await.unwrap();
                struck += 1;
                sleep(Duration::from_millis(fastrand::u64(20..120))).await;
                world.server.inject(Fault::None).await.unwrap();
            }
        };
        let work = async {
            queues.send(&bodies).await;
            for poller in pollers {
                poller.await.unwrap();
            }
            done.set(true);
        };
        local.run_until(async { tokio::join!(work, faults) }).await;
    }
    let poisoned = (0..messages).filter(|n| is_poison(*n)).count();
    println!(
        "{messages} messages, {poisoned} poison; {struck} faults, {} sandboxes killed",
        kills.load(SeqCst)
    );
    let effects = world.rows("SELECT count(*), count(DISTINCT n) FROM effects").await;
    let (effects, distinct): (i64, i64) = (effects[0].get(0), effects[0].get(1));
    let good = i64::try_from(messages - poisoned).unwrap();
    assert_eq!((effects, distinct), (good, good));
    assert_eq!(poison_among(&queues.set_aside().await), poisoned);
    assert!(kills.load(SeqCst) > 0 && struck > 0);
    world.stop().await;
}

#[tokio::test]
async fn a_groups_order_holds_under_failures() {
    let messages = count("MESSAGES", 600) / 2;
    let lanes = 10;
    let mut world = world().await;
    let queues = Arc::new(Queues::start(true).await);
    let poison = |n: usize| n % 150 == 77;
    let bodies: Vec<(String, Option<String>)> = (0..messages)
        .map(|n| {
            let lane = format!("lane-{}", n % lanes);
            let body = if poison(n) {
                "not JSON".to_owned()
            } else {
                format!(r#"{{"n":{n},"lane":"{lane}"}}"#)
            };
            (body, Some(lane))
        })
        .collect();
    let launcher = Launcher { variables: world.variables.clone() };
    let kills = Arc::new(AtomicUsize::new(0));
    let faults = async {
        loop {
            sleep(Duration::from_millis(500)).await;
            world.server.inject(Fault::ResetBeforeAnswer).await.unwrap();
            sleep(Duration::from_millis(30)).await;
            world.server.inject(Fault::None).await.unwrap();
        }
    };
    tokio::select! {
        _ = async {
            tokio::join!(
                queues.send(&bodies),
                poll(queues.clone(), async || launcher.start().await, kills)
            )
        } => {}
        () = faults => {}
    }
    let poisoned = (0..messages).filter(|n| poison(*n)).count();
    let disorder = "SELECT a.n, b.n FROM effects a JOIN effects b ON a.lane = b.lane AND a.seen < b.seen AND a.n > b.n";
    assert_eq!(world.rows(disorder).await.len(), 0, "messages out of order");
    let effects = world.rows("SELECT n FROM effects").await;
    let mut there: HashSet<String> = HashSet::new();
    for row in &effects {
        let n: i32 = row.get(0);
        assert!(there.insert(bodies[n as usize].0.clone()), "{n} is there twice");
    }
    let set_aside = queues.set_aside().await;
    assert_eq!(poison_among(&set_aside), poisoned);
    // Who waits behind a poison message is received with it, each time. SQS counts that, and may set
    // it aside together with it; docs/events.md says so.
    there.extend(set_aside);
    assert!(bodies.iter().all(|(body, _)| there.contains(body)), "none is lost");
    println!("{messages} messages in {lanes} groups, {poisoned} poison, in order");
    world.stop().await;
}

/// Starts sandboxes.
struct Launcher {
    variables: std::collections::BTreeMap<String, String>,
}

impl Launcher {
    async fn start(&self) -> Function {
        Function::start(env!("CARGO_BIN_EXE_event-query"), &self.variables, FUNCTION_TIMEOUT).await
    }
}
