//! Deliveries for real: an SQS of someone else's (moto) over HTTP, a driver that behaves as an event
//! source mapping does, and the real binary, whose network breaks and which is killed now and then.
//! Every good message takes effect once, every poison one ends in the dead-letter queue.
//!
//! `MESSAGES` sets how many.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::HashSet;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    Message, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use common::{check_event, check_log, root, start};
use rds_local::gate::Fault;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{Function, World};
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Seconds until a message that was not deleted arrives again; a real queue has six times the
/// function's time-out.
const VISIBILITY: i32 = 2;
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(1);
/// After so many, a message is poison. Good ones fail now and then too.
const RECEIVES: i32 = 8;
const SANDBOXES: usize = 3;
const BACKLOG: usize = 200;

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

/// A queue with its dead-letter queue, in a separate server.
struct Queues {
    client: Client,
    queue: String,
    dead: String,
    arn: String,
    fifo: bool,
    all_sent: AtomicBool,
    _server: Child,
}

/// Starts an SQS that others wrote, on a free port.
async fn start_server() -> (Child, u16) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let moto = root().join("target/venv-sam/bin/moto_server");
    assert!(
        moto.exists(),
        "{} is missing: run make test, or local/setup.sh --tests",
        moto.display()
    );
    let server = Command::new(moto)
        .args(["-p", &port.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    (server, port)
}

impl Queues {
    async fn start(fifo: bool) -> Self {
        let (server, port) = start_server().await;
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(format!("http://127.0.0.1:{port}"))
            .load()
            .await;
        let client = Client::new(&config);
        let suffix = if fifo { ".fifo" } else { "" };
        let create = async |name: &str, more: Vec<(QueueAttributeName, String)>| {
            let mut request = client.create_queue().queue_name(format!("{name}{suffix}"));
            if fifo {
                request = request.attributes(QueueAttributeName::FifoQueue, "true");
            }
            for (name, value) in more {
                request = request.attributes(name, value);
            }
            request.send().await.unwrap().queue_url.unwrap()
        };
        let dead = create("dead", vec![]).await;
        let arn = |name: &str| format!("arn:aws:sqs:us-east-1:123456789012:{name}{suffix}");
        let redrive = json!({ "deadLetterTargetArn": arn("dead"), "maxReceiveCount": RECEIVES });
        let queue = create(
            "orders",
            vec![
                (QueueAttributeName::VisibilityTimeout, VISIBILITY.to_string()),
                (QueueAttributeName::RedrivePolicy, redrive.to_string()),
            ],
        )
        .await;
        Self {
            client,
            queue,
            dead,
            arn: arn("orders"),
            fifo,
            all_sent: AtomicBool::new(false),
            _server: server,
        }
    }

    /// Sends bodies, in groups for a FIFO queue, as fast as they are taken: this queue's server is
    /// slow when it holds thousands.
    async fn send(&self, bodies: &[(String, Option<String>)]) {
        for (number, chunk) in bodies.chunks(10).enumerate() {
            while number % 10 == 0 && self.left(&self.queue).await > BACKLOG {
                sleep(Duration::from_millis(50)).await;
            }
            let entries = chunk.iter().enumerate().map(|(index, (body, group))| {
                let id = format!("{number}-{index}");
                SendMessageBatchRequestEntry::builder()
                    .set_message_deduplication_id(group.as_ref().map(|_| id.clone()))
                    .set_message_group_id(group.clone())
                    .id(id)
                    .message_body(body)
                    .build()
                    .unwrap()
            });
            let request = self.client.send_message_batch().queue_url(&self.queue);
            let sent = request.set_entries(Some(entries.collect())).send().await.unwrap();
            assert!(sent.failed.is_empty());
        }
        self.all_sent.store(true, SeqCst);
    }

    async fn receive(&self) -> Vec<Message> {
        let request =
            self.client.receive_message().queue_url(&self.queue).max_number_of_messages(10);
        let all = request.message_system_attribute_names(MessageSystemAttributeName::All);
        all.send().await.unwrap().messages.unwrap_or_default()
    }

    /// As Lambda hands them to the function.
    fn event(&self, messages: &[Message]) -> Vec<u8> {
        let records: Vec<Value> = messages
            .iter()
            .map(|message| {
                let attributes = message.attributes.iter().flatten();
                let attributes: serde_json::Map<String, Value> = attributes
                    .map(|(name, value)| (name.as_str().to_owned(), value.as_str().into()))
                    .collect();
                json!({
                    "messageId": message.message_id, "receiptHandle": message.receipt_handle,
                    "body": message.body, "attributes": attributes, "messageAttributes": {},
                    "md5OfBody": message.md5_of_body, "eventSource": "aws:sqs",
                    "eventSourceARN": self.arn, "awsRegion": "us-east-1",
                })
            })
            .collect();
        json!({ "Records": records }).to_string().into()
    }

    /// A handle that a slow machine let expire is refused: the message then arrives again.
    async fn delete(&self, message: &Message) {
        let request = self.client.delete_message().queue_url(&self.queue);
        let request = request.receipt_handle(message.receipt_handle.as_ref().unwrap());
        if let Err(error) = request.send().await {
            assert_eq!(error.code(), Some("ReceiptHandleIsInvalid"), "{error:?}");
        }
    }

    /// Makes a message visible again at once. In a FIFO queue the rest of its group waits for it,
    /// which moto forgets as soon as any of the group is deleted.
    async fn release(&self, message: &Message) {
        let request = self.client.change_message_visibility().queue_url(&self.queue);
        let request = request.receipt_handle(message.receipt_handle.as_ref().unwrap());
        if let Err(error) = request.visibility_timeout(0).send().await {
            let expired =
                matches!(error.code(), Some("ReceiptHandleIsInvalid" | "MessageNotInflight"));
            assert!(expired, "{error:?}");
        }
    }

    /// The bodies of the dead-letter queue, which it then no longer holds.
    async fn set_aside(&self) -> Vec<String> {
        let mut bodies = Vec::new();
        while self.left(&self.dead).await > 0 {
            let request = self.client.receive_message().queue_url(&self.dead);
            let received = request.max_number_of_messages(10).send().await.unwrap();
            for message in received.messages.unwrap_or_default() {
                let request = self.client.delete_message().queue_url(&self.dead);
                request.receipt_handle(message.receipt_handle.unwrap()).send().await.unwrap();
                bodies.push(message.body.unwrap());
            }
        }
        bodies
    }

    /// How many messages a queue holds, visible or not.
    async fn left(&self, queue: &str) -> usize {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let request = self.client.get_queue_attributes().queue_url(queue);
        let answer = request.set_attribute_names(Some(names.to_vec())).send().await.unwrap();
        let attributes = answer.attributes.unwrap();
        names.iter().map(|name| attributes[name].parse::<usize>().unwrap()).sum()
    }
}

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
            if queues.all_sent.load(SeqCst) && queues.left(&queues.queue).await == 0 {
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
    let effects = world.rows("SELECT count(*), count(DISTINCT n) FROM effects").await;
    let (effects, distinct): (i64, i64) = (effects[0].get(0), effects[0].get(1));
    let set_aside = queues.set_aside().await;
    assert_eq!(poison_among(&set_aside), poisoned);
    // On a busy machine a good message may meet a fault each time: it is set aside, and not lost.
    let unlucky = set_aside.len() - poisoned;
    println!(
        "{messages} messages, {poisoned} poison, {unlucky} good ones set aside; {struck} faults, {} sandboxes killed",
        kills.load(SeqCst)
    );
    let good = messages - poisoned;
    let expected = i64::try_from(good - unlucky).unwrap();
    assert_eq!((effects, distinct), (expected, expected));
    assert!(unlucky * 50 <= good, "{unlucky} of {good} good messages were set aside");
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
