//! A message without its envelopes: the source of a statement's parameters.
//!
//! A message of SNS, EventBridge or S3 may arrive directly or inside SQS, and one of S3 inside SNS too.
//! The id is the innermost message's, so that it stays the same when a service wraps the message again.
//!
//! - SNS: <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
//! - S3: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
//! - EventBridge: <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use rds_iam::json::Object;
use rds_iam::lambda::{is_of_eventbridge, named_ledger_id};
use rds_iam::query::{Field, Query, Source, resolve};
use rds_iam::{Error, ErrorKind};
use serde_json::value::{RawValue, to_raw_value};

use crate::envelopes::Envelopes;

/// The maximum number of nested envelopes: SQS, SNS, S3, and one in reserve.
const DEEPEST: usize = 4;

/// One message.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The innermost message's own id.
    pub(crate) id: String,
    /// The query that an attribute names.
    pub(crate) query: Option<String>,
    /// When it was sent, as RFC 3339.
    pub(crate) timestamp: Option<String>,
    /// Its text.
    pub(crate) body: String,
    /// The bucket of an S3 notification.
    pub(crate) bucket: Option<String>,
    /// The object's key, decoded.
    pub(crate) key: Option<String>,
}

/// Shows nothing that a sender wrote.
impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

impl Message {
    /// Unwraps the envelopes in a message's text. Returns none for S3's test event.
    pub(crate) fn unwrap(self, expected: Envelopes) -> Result<Vec<Self>, Error> {
        self.unwrap_at(expected, 0)
    }

    fn unwrap_at(self, expected: Envelopes, depth: usize) -> Result<Vec<Self>, Error> {
        if depth > DEEPEST {
            return Err(invalid("it has too many envelopes"));
        }
        let body = self.body.clone();
        let Some(object) = Object::parse(&body) else { return Ok(vec![self]) };
        if expected.sns
            && let Some(inner) = self.in_sns(&object)
        {
            return inner.unwrap_at(expected, depth + 1);
        }
        if expected.s3
            && let Some(inner) = self.in_s3_event(&object)
        {
            return inner;
        }
        if expected.eventbridge
            && let Some(inner) = self.in_eventbridge(&object)
        {
            return Ok(vec![inner]);
        }
        Ok(vec![self])
    }

    /// The message in a notification of SNS.
    fn in_sns(&self, object: &Object<'_>) -> Option<Self> {
        let notification = object.text("Type").as_deref() == Some("Notification");
        if !notification || !object.has("TopicArn") {
            return None;
        }
        Some(Self {
            id: object.text("MessageId").filter(|id| !id.is_empty())?,
            query: attribute(object, "Value").or_else(|| self.query.clone()),
            timestamp: object.text("Timestamp").or_else(|| self.timestamp.clone()),
            body: object.text("Message")?,
            ..Self::default()
        })
    }

    /// The records of an event of S3, or none of its test event.
    fn in_s3_event(&self, object: &Object<'_>) -> Option<Result<Vec<Self>, Error>> {
        if object.text("Event").as_deref() == Some("s3:TestEvent") {
            return Some(Ok(Vec::new()));
        }
        let records = object.array("Records")?;
        let first = Object::parse(records.first()?.get())?;
        if first.text("eventSource").as_deref() != Some("aws:s3") {
            return None;
        }
        let query = &self.query;
        Some(records.iter().map(|record| Self::from_s3(record, query.clone())).collect())
    }

    /// An event of EventBridge.
    pub(crate) fn in_eventbridge(&self, object: &Object<'_>) -> Option<Self> {
        if !is_of_eventbridge(object) {
            return None;
        }
        let id = object.text("id").filter(|id| !id.is_empty())?;
        let detail = object.object("detail");
        let s3 = |outer: &str, inner: &str| {
            let aws_s3 = object.text("source").as_deref() == Some("aws.s3");
            detail.as_ref().filter(|_| aws_s3)?.object(outer)?.text(inner)
        };
        Some(Self {
            id,
            query: self.query.clone(),
            timestamp: object.text("time").or_else(|| self.timestamp.clone()),
            body: self.body.clone(),
            // EventBridge does not encode the key.
            bucket: s3("bucket", "name"),
            key: s3("object", "key"),
        })
    }

    /// One record of an S3 notification.
    pub(crate) fn from_s3(record: &RawValue, query: Option<String>) -> Result<Self, Error> {
        let incomplete = || invalid("an S3 record lacks its bucket or key");
        let object = Object::parse(record.get()).ok_or_else(incomplete)?;
        let s3 = object.object("s3").ok_or_else(incomplete)?;
        let bucket = s3.object("bucket").and_then(|bucket| bucket.text("name"));
        let bucket = bucket.ok_or_else(incomplete)?;
        let stored = s3.object("object").ok_or_else(incomplete)?;
        let key = decode(&stored.text("key").ok_or_else(incomplete)?)?;
        let event = object.text("eventName").unwrap_or_default();
        let version = stored.text("versionId").unwrap_or_default();
        let timestamp = object.text("eventTime");
        // S3 gives a sequencer for PUT and DELETE only. Without one, the time distinguishes two events.
        let order = match (stored.text("sequencer"), &timestamp) {
            (Some(sequencer), _) => format!("sequencer={sequencer}"),
            (None, time) => format!("time={}", time.as_deref().unwrap_or_default()),
        };
        Ok(Self {
            id: format!("s3:{event}:{bucket}/{key}?version={version}&{order}"),
            query,
            timestamp,
            body: record.get().to_owned(),
            bucket: Some(bucket),
            key: Some(key),
        })
    }

    /// The values of a query's parameters, by name. One without `from` is the message's member of
    /// its own name.
    pub(crate) fn values(&self, query: &Query) -> BTreeMap<String, Box<RawValue>> {
        let document: Option<&RawValue> = serde_json::from_str(&self.body).ok();
        let value = |name: &str, from: Option<&Source>| match from {
            None => Some(resolve(document?, &[name.to_owned()])?.to_owned()),
            Some(source) => self.value(document, source),
        };
        query
            .params
            .iter()
            .filter_map(|param| {
                Some((param.name.clone(), value(&param.name, param.from.as_ref())?))
            })
            .collect()
    }

    fn value(&self, document: Option<&RawValue>, source: &Source) -> Option<Box<RawValue>> {
        let text = match source {
            Source::Pointer(tokens) => return resolve(document?, tokens).map(ToOwned::to_owned),
            Source::Field(Field::MessageId) => Some(&self.id),
            Source::Field(Field::Timestamp) => self.timestamp.as_ref(),
            Source::Field(Field::Body) => Some(&self.body),
            Source::Field(Field::Bucket) => self.bucket.as_ref(),
            Source::Field(Field::Key) => self.key.as_ref(),
        };
        to_raw_value(text?).ok()
    }

    /// The id under which a write goes into the ledger: the value that the query's `id` names, or else
    /// the message's own.
    pub(crate) fn ledger_id(&self, query: &Query) -> Result<String, Error> {
        let Some(source) = &query.id else { return Ok(self.id.clone()) };
        let document: Option<&RawValue> = serde_json::from_str(&self.body).ok();
        named_ledger_id(query, self.value(document, source))
    }
}

/// The query that a message attribute names: `query`, of the type String.
pub(crate) fn attribute(envelope: &Object<'_>, value: &str) -> Option<String> {
    let attributes =
        envelope.object("MessageAttributes").or_else(|| envelope.object("messageAttributes"))?;
    attributes.object("query")?.text(value)
}

/// S3 writes keys as HTML forms do: a space is `+`, other characters are percent-encoded.
fn decode(key: &str) -> Result<String, Error> {
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| invalid("an object's key is not UTF-8"))
}

pub(crate) fn invalid(why: &str) -> Error {
    Error::new(ErrorKind::EventInvalid, "a record cannot be used")
        .because(why)
        .remedy("Look at what sends it; docs/events.md has the formats")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_that_a_sender_wrote() {
        let secret = || "s3cret".to_owned();
        let message = Message {
            id: secret(),
            query: Some(secret()),
            timestamp: Some(secret()),
            body: secret(),
            bucket: Some(secret()),
            key: Some(secret()),
        };
        assert!(!format!("{message:?}").contains("s3cret"), "{message:?}");
    }

    #[test]
    fn a_notification_without_an_id_is_no_envelope() {
        let id = |given: &str| {
            let body = format!(
                r#"{{"Type":"Notification","TopicArn":"arn:t","MessageId":"{given}","Message":"x"}}"#
            );
            let message = Message { id: "of SQS".into(), body, ..Message::default() };
            let expected = Envelopes { sns: true, ..Envelopes::default() };
            message.unwrap(expected).unwrap().remove(0).id
        };
        assert_eq!(id("of SNS"), "of SNS");
        // Otherwise all of these would be one message in the ledger.
        assert_eq!(id(""), "of SQS");
    }

    #[test]
    fn two_events_of_one_object_have_two_ids() {
        let id = |event: &str, time: &str, sequencer: &str| {
            let record = format!(
                r#"{{"eventName":"{event}","eventTime":"{time}","s3":{{"bucket":{{"name":"b"}},"object":{{"key":"k"{sequencer}}}}}}}"#
            );
            Message::from_s3(&RawValue::from_string(record).unwrap(), None).unwrap().id
        };
        let sequencer = r#","sequencer":"0A""#;
        let ids = [
            id("ObjectTagging:Put", "t1", ""),
            id("ObjectTagging:Delete", "t1", ""),
            id("ObjectTagging:Put", "t2", ""),
            id("ObjectCreated:Put", "t1", sequencer),
            id("ObjectRemoved:Delete", "t1", sequencer),
        ];
        let different: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(different.len(), ids.len(), "{ids:?}");
        // A redelivery is the same event.
        assert_eq!(ids[0], id("ObjectTagging:Put", "t1", ""));
        assert_eq!(ids[3], id("ObjectCreated:Put", "t1", sequencer));
    }
}
