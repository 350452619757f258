//! The events that the function takes, as deliveries: what succeeds or fails together.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use rds_iam::Error;
use rds_iam::json::Object;
use rds_iam::lambda::{DirectEvent, invalid_event, is_of_eventbridge, parse_object};
use serde_json::value::RawValue;

use crate::delivery::Delivery;
use crate::envelopes::Envelopes;
use crate::message::{Message, attribute, invalid};
use crate::streams::{Sender, from_dynamodb, from_kinesis};
use crate::url::from_url;

const OTHERS: &str = "or an event of a source that docs/events.md lists";

/// What an event holds.
#[derive(Debug)]
pub(crate) enum Event {
    /// `{"query": …, "params": {…}}`
    Direct(DirectEvent),
    /// Records of a queue, stream or pipe, which takes one result for each.
    Queue(Vec<Delivery>),
    /// A request to the function's URL, whose sender waits for its response.
    Url(Delivery),
    /// SNS, S3 or EventBridge, which Lambda delivers again as a whole.
    Whole(Vec<Delivery>),
}

impl Event {
    /// Reads an event; `expected` are the envelopes inside messages.
    pub(crate) fn parse(text: &str, expected: Envelopes) -> Result<Self, Error> {
        let unknown = |why: &str| invalid_event(why, OTHERS);
        // A pipe sends an array.
        if let Ok(records) = serde_json::from_str::<Vec<&RawValue>>(text) {
            return Self::of_records(&records, Sender::Pipe, expected);
        }
        let object = parse_object(text, OTHERS)?;
        if let Some(records) = object.array("Records") {
            return Self::of_records(&records, Sender::Mapping, expected);
        }
        if object.object("requestContext").is_some_and(|context| context.has("http")) {
            let open = "it is no request that IAM has authorized: the URL needs AuthType AWS_IAM";
            return from_url(&object).map(Self::Url).ok_or_else(|| unknown(open));
        }
        if is_of_eventbridge(&object) {
            let event = Message { body: text.to_owned(), ..Message::default() };
            let message = event
                .in_eventbridge(&object)
                .ok_or_else(|| unknown("an event of EventBridge has no id"))?;
            return Ok(Self::whole([Ok(vec![message])].into_iter()));
        }
        DirectEvent::parse(&object, OTHERS).map(Self::Direct)
    }

    fn of_records(
        records: &[&RawValue],
        sender: Sender,
        expected: Envelopes,
    ) -> Result<Self, Error> {
        let first = records.first().and_then(|record| Object::parse(record.get()));
        let source = first
            .and_then(|record| record.text("eventSource").or_else(|| record.text("EventSource")));
        let each = |read: &dyn Fn(&RawValue) -> Option<Delivery>| {
            let all = records.iter().map(|record| read(record)).collect::<Option<_>>();
            let why = "a record has no id by which its source would know it";
            all.map(Self::Queue).ok_or_else(|| invalid_event(why, OTHERS))
        };
        match (source.as_deref(), sender) {
            (Some("aws:sqs"), _) => each(&|record| from_sqs(record, expected)),
            (Some("aws:kinesis"), _) => each(&|record| from_kinesis(record, sender)),
            (Some("aws:dynamodb"), _) => each(&|record| from_dynamodb(record, sender)),
            (Some("aws:sns"), Sender::Mapping) => {
                Ok(Self::whole(records.iter().map(|record| from_sns(record, expected))))
            }
            (Some("aws:s3"), Sender::Mapping) => {
                Ok(Self::whole(records.iter().map(|r| Message::from_s3(r, None).map(|m| vec![m]))))
            }
            _ => {
                let why = "its records are of no source that this function knows";
                Err(invalid_event(why, OTHERS))
            }
        }
    }

    fn whole(records: impl Iterator<Item = Result<Vec<Message>, Error>>) -> Self {
        let deliveries = records.enumerate().map(|(index, messages)| Delivery {
            id: index.to_string(),
            group: None,
            messages,
        });
        Self::Whole(deliveries.collect())
    }
}

/// `None` if the record has no id to report to the queue.
fn from_sqs(record: &RawValue, expected: Envelopes) -> Option<Delivery> {
    let object = Object::parse(record.get())?;
    let id = object.text("messageId").filter(|id| !id.is_empty())?;
    let attributes = object.object("attributes");
    let own = |name: &str| attributes.as_ref().and_then(|attributes| attributes.text(name));
    let messages = match object.text("body") {
        None => Err(invalid("it has no body")),
        Some(body) => {
            let sent = own("SentTimestamp").and_then(|text| text.parse().ok());
            let timestamp =
                sent.and_then(|ms| DateTime::from_millis(ms).fmt(Format::DateTime).ok());
            let query = attribute(&object, "stringValue");
            Message { id: id.clone(), query, timestamp, body, ..Message::default() }
                .unwrap(expected)
        }
    };
    Some(Delivery { id, group: own("MessageGroupId").filter(|_| is_fifo(&object)), messages })
}

/// Standard queues may carry group ids too, for fairness, and promise no order.
fn is_fifo(record: &Object<'_>) -> bool {
    record.text("eventSourceARN").is_some_and(|arn| arn.ends_with(".fifo"))
}

fn from_sns(record: &RawValue, expected: Envelopes) -> Result<Vec<Message>, Error> {
    let incomplete = || invalid("an SNS record lacks its MessageId or Message");
    let object = Object::parse(record.get()).ok_or_else(incomplete)?;
    let sns = object.object("Sns").ok_or_else(incomplete)?;
    let id = sns.text("MessageId").filter(|id| !id.is_empty()).ok_or_else(incomplete)?;
    let body = sns.text("Message").ok_or_else(incomplete)?;
    let (query, timestamp) = (attribute(&sns, "Value"), sns.text("Timestamp"));
    Message { id, query, timestamp, body, ..Message::default() }.unwrap(expected)
}
