//! A message of a queue, or an event of EventBridge: the source of a statement's parameters.

use std::collections::BTreeMap;

use serde_json::value::{RawValue, to_raw_value};

use crate::error::{Error, ErrorKind};
use crate::json::Object;
use crate::query::{Field, Query, Source, resolve};

/// The longest id that a message may name: a ledger's index holds little more.
const LONGEST_ID: usize = 1024;

/// One message. Its `Debug` shows nothing that a sender wrote.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueryMessage {
    /// Its id in the queue, or the event's own id.
    pub id: String,
    /// The message group of a FIFO queue.
    pub group: Option<String>,
    /// Its text.
    pub body: String,
}

impl std::fmt::Debug for QueryMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueryMessage").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl QueryMessage {
    /// A record of SQS; `None` if it is not one, or has no id to report.
    pub(super) fn from_sqs(record: &RawValue) -> Option<Self> {
        let object = Object::parse(record.get())?;
        if object.text("eventSource")? != "aws:sqs" {
            return None;
        }
        // Standard queues may carry group ids too, for fairness, and promise no order.
        let fifo = object.text("eventSourceARN").is_some_and(|arn| arn.ends_with(".fifo"));
        let attributes = object.object("attributes").filter(|_| fifo);
        Some(Self {
            id: object.text("messageId").filter(|id| !id.is_empty())?,
            group: attributes.and_then(|attributes| attributes.text("MessageGroupId")),
            body: object.text("body").unwrap_or_default(),
        })
    }

    /// The values of a query's parameters. One without `from` is the message's member of its own name.
    ///
    /// # Errors
    /// [`QueryInvalid`](ErrorKind::QueryInvalid) if a parameter's `from` is neither a JSON Pointer,
    /// `message_id` nor `body`.
    pub fn values(&self, query: &Query) -> Result<BTreeMap<String, Box<RawValue>>, Error> {
        let mut values = BTreeMap::new();
        for param in &query.params {
            let value = match &param.from {
                None => self.at(std::slice::from_ref(&param.name)),
                Some(source) => self.value(query, source)?,
            };
            values.extend(value.map(|value| (param.name.clone(), value)));
        }
        Ok(values)
    }

    /// The id under which a write goes into a ledger: the value that the query's `id` names, or else the
    /// message's own.
    ///
    /// # Errors
    /// [`EventInvalid`](ErrorKind::EventInvalid) if the message lacks that value, or it is neither text nor
    /// a number, or longer than 1,024 bytes; [`QueryInvalid`](ErrorKind::QueryInvalid) as
    /// [`QueryMessage::values`].
    pub fn ledger_id(&self, query: &Query) -> Result<String, Error> {
        match &query.id {
            None => Ok(self.id.clone()),
            Some(source) => named_ledger_id(query, self.value(query, source)?),
        }
    }

    fn at(&self, tokens: &[String]) -> Option<Box<RawValue>> {
        let document: Option<&RawValue> = serde_json::from_str(&self.body).ok();
        resolve(document?, tokens).map(ToOwned::to_owned)
    }

    fn value(&self, query: &Query, source: &Source) -> Result<Option<Box<RawValue>>, Error> {
        Ok(match source {
            Source::Pointer(tokens) => self.at(tokens),
            Source::Field(Field::MessageId) => to_raw_value(&self.id).ok(),
            Source::Field(Field::Body) => to_raw_value(&self.body).ok(),
            Source::Field(_) => {
                let what = format!("query {} asks for what a message does not have", query.name);
                return Err(Error::new(ErrorKind::QueryInvalid, what)
                    .because("a from or id in it is neither a JSON Pointer, message_id nor body")
                    .remedy("Correct the query's front matter; docs/events.md has the sources"));
            }
        })
    }
}

/// The id of a ledger's entry from the value that the query's `id` names. It has a prefix, so that no
/// sender can make it another message's own id.
///
/// # Errors
/// [`EventInvalid`](ErrorKind::EventInvalid) if there is no such value, or it cannot be an id: the message
/// must not run under another one.
pub fn named_ledger_id(query: &Query, value: Option<Box<RawValue>>) -> Result<String, Error> {
    let bad_id = |why: &str| {
        let what = format!("a record has no id for query {}", query.name);
        Error::new(ErrorKind::EventInvalid, what)
            .because(format!("the value that the query's front matter names as id {why}"))
            .remedy("Send that value in every message, or name another one as id")
    };
    let value = value.ok_or_else(|| bad_id("is missing"))?;
    let text = match value.get().as_bytes().first() {
        Some(b'"') => serde_json::from_str(value.get()).unwrap_or_default(),
        Some(b'-' | b'0'..=b'9') => value.get().to_owned(),
        _ => return Err(bad_id("is neither text nor a number")),
    };
    if text.is_empty() || text.len() > LONGEST_ID || text.contains('\0') {
        return Err(bad_id("is empty, or longer than 1024 bytes"));
    }
    Ok(format!("id:{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(body: &str) -> QueryMessage {
        QueryMessage { id: "m".into(), group: None, body: body.into() }
    }

    #[test]
    fn parameters_come_from_where_the_query_says() {
        let text = "/*+++\nparams = [{ name = \"a\" }, { name = \"b\", from = \"/o/b\" }, \
                    { name = \"i\", from = \"message_id\" }, { name = \"t\", from = \"body\" }]\n+++*/ SELECT 1";
        let query = Query::parse("q", text).unwrap();
        let values = message(r#"{"a":1.10,"o":{"b":"x"}}"#).values(&query).unwrap();
        assert_eq!((values["a"].get(), values["b"].get()), ("1.10", "\"x\""));
        assert_eq!(values["i"].get(), "\"m\"");
        assert_eq!(message("not JSON").values(&query).unwrap()["t"].get(), "\"not JSON\"");
        assert!(!message("not JSON").values(&query).unwrap().contains_key("a"));
        let other = Query::parse("q", &text.replace("message_id", "bucket")).unwrap();
        assert_eq!(message("{}").values(&other).unwrap_err().kind(), ErrorKind::QueryInvalid);
    }

    #[test]
    fn a_query_may_name_its_id() {
        let query = |id: &str| {
            Query::parse("q", &format!("/*+++\nmode = \"write\"\nid = \"{id}\"\n+++*/ SELECT 1"))
                .unwrap()
        };
        let message =
            message(r#"{"order":{"id":12345678901234567890123},"t":"x","n":null,"o":{}}"#);
        let id = |pointer: &str| message.ledger_id(&query(pointer));
        assert_eq!(id("/order/id").unwrap(), "id:12345678901234567890123");
        assert_eq!(id("/t").unwrap(), "id:x");
        assert_eq!(id("message_id").unwrap(), "id:m");
        for bad in ["/n", "/o", "/missing"] {
            assert_eq!(id(bad).unwrap_err().kind(), ErrorKind::EventInvalid, "{bad}");
        }
        let none = Query::parse("q", "SELECT 1").unwrap();
        assert_eq!(message.ledger_id(&none).unwrap(), "m");
        assert!(!format!("{message:?}").contains("order"));
    }
}
