//! The events of a function that runs one query for each:
//!
//! - direct: `{"query": "people", "params": {"name": "Ann"}}`, both optional;
//! - EventBridge, a rule's or Scheduler's: runs the default query;
//! - SQS: runs the default query for each message, whose JSON has the parameters.

use super::{DirectEvent, QueryMessage, invalid_event, is_of_eventbridge, parse_object};
use crate::error::Error;

const OTHERS: &str = "let EventBridge send its own event, or connect a queue of SQS";

/// The content of an event.
#[derive(Debug)]
pub enum QueryEvent {
    /// A query by its name, or the default one.
    Direct(DirectEvent),
    /// An event of EventBridge, as one message.
    Rule(QueryMessage),
    /// Messages of a queue.
    Queue(Vec<QueryMessage>),
}

impl QueryEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// [`EventInvalid`](crate::ErrorKind::EventInvalid) for one that is none of these. The message repeats no
    /// value.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let object = parse_object(text, OTHERS)?;
        if let Some(records) = object.array("Records") {
            let messages: Option<Vec<QueryMessage>> =
                records.into_iter().map(QueryMessage::from_sqs).collect();
            return messages.map(Self::Queue).ok_or_else(|| {
                invalid_event("its records are not of SQS, or one has no messageId", OTHERS)
            });
        }
        if is_of_eventbridge(&object) {
            let id = object.text("id").unwrap_or_default();
            return Ok(Self::Rule(QueryMessage {
                id,
                body: text.to_owned(),
                ..QueryMessage::default()
            }));
        }
        DirectEvent::parse(&object, OTHERS).map(Self::Direct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn events_are_told_apart() {
        let direct = QueryEvent::parse(r#"{"query":"a"}"#).unwrap();
        assert!(matches!(direct, QueryEvent::Direct(event) if event.query.as_deref() == Some("a")));
        let rule = QueryEvent::parse(
            r#"{"id":"r","detail-type":"Scheduled Event","source":"aws.events"}"#,
        );
        assert!(matches!(rule.unwrap(), QueryEvent::Rule(message) if message.id == "r"));
        let record = r#"{"messageId":"m","eventSource":"aws:sqs","body":"{\"a\":1}"}"#;
        let queue = QueryEvent::parse(&format!("{{\"Records\":[{record}]}}")).unwrap();
        let QueryEvent::Queue(messages) = queue else { panic!("a queue") };
        assert!(!format!("{messages:?}").contains("\\\"a"));
        for wrong in [
            r#"{"Records":[{"eventSource":"aws:sns"}]}"#,
            r#"{"Records":[{"eventSource":"aws:sqs"}]}"#,
            "[]",
        ] {
            let error = QueryEvent::parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EventInvalid, "{wrong}");
        }
    }
}
