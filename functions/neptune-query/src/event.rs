//! The events that the function takes:
//!
//! - direct: `{"query": "people", "params": {"name": "Ann"}}`, both optional;
//! - EventBridge, a rule's or Scheduler's: runs the default query;
//! - SQS: runs the default query for each message, whose JSON has the parameters.

use std::collections::BTreeMap;

use rds_iam::json::Object;
use rds_iam::lambda::{DirectEvent, invalid_event, parse_object};
use rds_iam::query::{Field, Query, Source, resolve};
use rds_iam::{Error, ErrorKind};
use serde_json::value::{RawValue, to_raw_value};

const OTHERS: &str = "let EventBridge send its own event, or connect a queue of SQS";

/// What an event holds.
#[derive(Debug)]
pub(crate) enum Event {
    /// One query.
    Direct(DirectEvent),
    /// Messages of a queue.
    Queue(Vec<Message>),
}

/// A message of a queue. Its `Debug` shows nothing that a sender wrote.
pub(crate) struct Message {
    pub(crate) id: String,
    /// The message group of a FIFO queue.
    pub(crate) group: Option<String>,
    pub(crate) body: String,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Event {
    /// Reads an event.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let object = parse_object(text, OTHERS)?;
        if let Some(records) = object.array("Records") {
            let messages: Option<Vec<Message>> = records.into_iter().map(message).collect();
            return messages.map(Self::Queue).ok_or_else(|| {
                invalid_event("its records are not of SQS, or one has no messageId", OTHERS)
            });
        }
        if object.has("detail-type") && object.has("source") {
            return Ok(Self::Direct(DirectEvent::default()));
        }
        DirectEvent::parse(&object, OTHERS).map(Self::Direct)
    }
}

/// `None` if it is not a record of SQS with an id to report.
fn message(record: &RawValue) -> Option<Message> {
    let object = Object::parse(record.get())?;
    if object.text("eventSource")? != "aws:sqs" {
        return None;
    }
    let fifo = object.text("eventSourceARN").is_some_and(|arn| arn.ends_with(".fifo"));
    let attributes = object.object("attributes").filter(|_| fifo);
    Some(Message {
        id: object.text("messageId").filter(|id| !id.is_empty())?,
        group: attributes.and_then(|attributes| attributes.text("MessageGroupId")),
        body: object.text("body").unwrap_or_default(),
    })
}

impl Message {
    /// The values of a query's parameters. One without `from` is the message's member of its own name.
    pub(crate) fn values(&self, query: &Query) -> Result<BTreeMap<String, Box<RawValue>>, Error> {
        let document: Option<&RawValue> = serde_json::from_str(&self.body).ok();
        let mut values = BTreeMap::new();
        for param in &query.params {
            let value = match &param.from {
                None => document
                    .and_then(|body| resolve(body, std::slice::from_ref(&param.name)))
                    .map(ToOwned::to_owned),
                Some(Source::Pointer(tokens)) => {
                    document.and_then(|body| resolve(body, tokens)).map(ToOwned::to_owned)
                }
                Some(Source::Field(Field::MessageId)) => to_raw_value(&self.id).ok(),
                Some(Source::Field(Field::Body)) => to_raw_value(&self.body).ok(),
                Some(Source::Field(_)) => {
                    let what = format!("parameter {} cannot be used", param.name);
                    return Err(Error::new(ErrorKind::QueryInvalid, what)
                        .because("its from is neither a JSON Pointer, message_id nor body")
                        .remedy(
                            "Correct the query's front matter; docs/neptune.md has the sources",
                        ));
                }
            };
            values.extend(value.map(|value| (param.name.clone(), value)));
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_apart() {
        let direct = Event::parse(r#"{"query":"a"}"#).unwrap();
        assert!(matches!(direct, Event::Direct(event) if event.query.as_deref() == Some("a")));
        let rule = Event::parse(r#"{"detail-type":"Scheduled Event","source":"aws.events"}"#);
        assert!(matches!(rule.unwrap(), Event::Direct(event) if event.query.is_none()));
        let record = r#"{"messageId":"m","eventSource":"aws:sqs","body":"{\"a\":1}"}"#;
        let queue = Event::parse(&format!("{{\"Records\":[{record}]}}")).unwrap();
        let Event::Queue(messages) = queue else { panic!("a queue") };
        assert!(!format!("{messages:?}").contains("\\\"a"));
        for wrong in [
            r#"{"Records":[{"eventSource":"aws:sns"}]}"#,
            r#"{"Records":[{"eventSource":"aws:sqs"}]}"#,
            "[]",
        ] {
            assert_eq!(Event::parse(wrong).unwrap_err().kind(), ErrorKind::EventInvalid, "{wrong}");
        }
    }
}
