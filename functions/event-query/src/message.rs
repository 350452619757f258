//! A message, out of its envelopes: what a statement's parameters come from.
//!
//! Each of SNS, EventBridge and S3 may come by itself or inside SQS, and S3 inside SNS too. The id is
//! the innermost message's, so that it stays the same however often an envelope around it is made
//! anew.
//!
//! - SNS: <https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html>
//! - S3: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html>
//! - EventBridge: <https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use rds_iam::query::{Field, Query, Source, resolve};
use rds_iam::{Error, ErrorKind};
use serde_json::value::{RawValue, to_raw_value};

use rds_iam::json::Object;

/// How many envelopes there may be: SQS, SNS, S3, and one for what may come.
const DEEPEST: usize = 4;

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// What the ledger knows it by.
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

impl Message {
    /// Takes a message out of the envelopes in its text. None of them, if it is one that only tests a
    /// connection.
    pub(crate) fn unwrap(self) -> Result<Vec<Self>, Error> {
        self.unwrap_at(0)
    }

    fn unwrap_at(self, depth: usize) -> Result<Vec<Self>, Error> {
        if depth > DEEPEST {
            return Err(invalid("it has too many envelopes"));
        }
        let body = self.body.clone();
        let Some(object) = Object::parse(&body) else { return Ok(vec![self]) };
        if object.text("Type").as_deref() == Some("Notification")
            && let (Some(id), Some(message), true) =
                (object.text("MessageId"), object.text("Message"), object.has("TopicArn"))
        {
            let inner = Self {
                id,
                query: attribute(&object, "Value").or(self.query),
                timestamp: object.text("Timestamp").or(self.timestamp),
                body: message,
                ..Self::default()
            };
            return inner.unwrap_at(depth + 1);
        }
        if object.text("Event").as_deref() == Some("s3:TestEvent") {
            return Ok(Vec::new());
        }
        if let Some(records) = object.array("Records")
            && let Some(first) = records.first().and_then(|record| Object::parse(record.get()))
            && first.text("eventSource").as_deref() == Some("aws:s3")
        {
            let query = &self.query;
            return records.iter().map(|record| Self::from_s3(record, query.clone())).collect();
        }
        if object.has("detail-type")
            && object.has("source")
            && let Some(id) = object.text("id")
        {
            let timestamp = object.text("time").or(self.timestamp);
            let detail = object.object("detail");
            let s3 = |outer: &str, inner: &str| {
                let aws_s3 = object.text("source").as_deref() == Some("aws.s3");
                detail.as_ref().filter(|_| aws_s3)?.object(outer)?.text(inner)
            };
            // EventBridge does not encode the key.
            let (bucket, key) = (s3("bucket", "name"), s3("object", "key"));
            return Ok(vec![Self {
                id,
                timestamp,
                bucket,
                key,
                query: self.query,
                body: self.body,
            }]);
        }
        Ok(vec![self])
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
        let version = stored.text("versionId").unwrap_or_default();
        let sequencer = stored.text("sequencer").unwrap_or_default();
        Ok(Self {
            // Keys may hold any character, so they come last but for what is hexadecimal.
            id: format!("s3:{bucket}/{key}?version={version}&sequencer={sequencer}"),
            query,
            timestamp: object.text("eventTime"),
            body: record.get().to_owned(),
            bucket: Some(bucket),
            key: Some(key),
        })
    }

    /// The values of a query's parameters, by name. One without `from` is the message's member of
    /// its own name.
    pub(crate) fn values(&self, query: &Query) -> BTreeMap<String, Box<RawValue>> {
        let document: Option<&RawValue> = serde_json::from_str(&self.body).ok();
        let text = |value: Option<&str>| value.and_then(|value| to_raw_value(value).ok());
        let value = |name: &str, from: Option<&Source>| {
            let own = [name.to_owned()];
            let tokens = match from {
                None => &own[..],
                Some(Source::Pointer(tokens)) => tokens,
                Some(Source::Field(field)) => {
                    return match field {
                        Field::MessageId => text(Some(&self.id)),
                        Field::Timestamp => text(self.timestamp.as_deref()),
                        Field::Body => text(Some(&self.body)),
                        Field::Bucket => text(self.bucket.as_deref()),
                        Field::Key => text(self.key.as_deref()),
                    };
                }
            };
            resolve(document?, tokens).map(ToOwned::to_owned)
        };
        query
            .params
            .iter()
            .filter_map(|param| {
                Some((param.name.clone(), value(&param.name, param.from.as_ref())?))
            })
            .collect()
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
