//! An SQS of someone else's (moto) over HTTP: a queue with its dead-letter queue.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::ProvideErrorMetadata;
use aws_sdk_sqs::types::{
    Message, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use rds_local::testing::imitations::Moto;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::common::root;

/// Seconds until a message that was not deleted arrives again; a real queue has six times the
/// function's time-out.
const VISIBILITY: i32 = 2;
/// After so many, a message is poison. Good ones fail now and then too.
const RECEIVES: i32 = 8;
const BACKLOG: usize = 200;

/// A queue with its dead-letter queue, in a separate server.
pub(crate) struct Queues {
    client: Client,
    queue: String,
    dead: String,
    arn: String,
    pub(crate) fifo: bool,
    all_sent: AtomicBool,
    /// Held by whoever changes the queue. Two calls at once make moto lose a message: it deletes by
    /// replacing its list with a copy, and a message that is sent meanwhile is not in the copy.
    turn: Mutex<()>,
    _moto: Moto,
}

impl Queues {
    pub(crate) async fn start(fifo: bool) -> Self {
        let moto = Moto::start(&root()).await;
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(&moto.url)
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
            turn: Mutex::new(()),
            _moto: moto,
        }
    }

    /// Sends bodies, in groups for a FIFO queue, as fast as they are taken: this queue's server is
    /// slow when it holds thousands.
    pub(crate) async fn send(&self, bodies: &[(String, Option<String>)]) {
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
            let request = request.set_entries(Some(entries.collect()));
            let turn = self.turn.lock().await;
            let sent = request.send().await.unwrap();
            drop(turn);
            assert!(sent.failed.is_empty());
        }
        self.all_sent.store(true, SeqCst);
    }

    /// Whether everything was sent, and nothing is left to receive.
    pub(crate) async fn is_done(&self) -> bool {
        self.all_sent.load(SeqCst) && self.left(&self.queue).await == 0
    }

    pub(crate) async fn receive(&self) -> Vec<Message> {
        let request =
            self.client.receive_message().queue_url(&self.queue).max_number_of_messages(10);
        let all = request.message_system_attribute_names(MessageSystemAttributeName::All);
        let _turn = self.turn.lock().await;
        all.send().await.unwrap().messages.unwrap_or_default()
    }

    /// As Lambda hands them to the function.
    pub(crate) fn event(&self, messages: &[Message]) -> Vec<u8> {
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
    pub(crate) async fn delete(&self, message: &Message) {
        let request = self.client.delete_message().queue_url(&self.queue);
        let request = request.receipt_handle(message.receipt_handle.as_ref().unwrap());
        let _turn = self.turn.lock().await;
        if let Err(error) = request.send().await {
            assert_eq!(error.code(), Some("ReceiptHandleIsInvalid"), "{error:?}");
        }
    }

    /// Makes a message visible again at once. In a FIFO queue the rest of its group waits for it,
    /// which moto forgets as soon as any of the group is deleted.
    pub(crate) async fn release(&self, message: &Message) {
        let request = self.client.change_message_visibility().queue_url(&self.queue);
        let request = request.receipt_handle(message.receipt_handle.as_ref().unwrap());
        let _turn = self.turn.lock().await;
        if let Err(error) = request.visibility_timeout(0).send().await {
            let expired =
                matches!(error.code(), Some("ReceiptHandleIsInvalid" | "MessageNotInflight"));
            assert!(expired, "{error:?}");
        }
    }

    /// The bodies of the dead-letter queue, which it then no longer holds.
    pub(crate) async fn set_aside(&self) -> Vec<String> {
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
