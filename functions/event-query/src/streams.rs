//! Records of Kinesis and DynamoDB Streams, from Lambda's event source mapping or from a pipe.
//!
//! - <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html>
//! - <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
//! - <https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-kinesis.html>

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rds_iam::Error;
use rds_iam::json::Object;
use serde_json::value::RawValue;

use crate::delivery::Delivery;
use crate::message::{Message, invalid};

/// The sender of a batch. It decides which field identifies a failed record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sender {
    /// Lambda's event source mapping: the sequence number.
    Mapping,
    /// An EventBridge pipe: the event id.
    Pipe,
}

/// A batch comes from one shard, whose order holds: all its records are one group.
const SHARD: &str = "shard";

/// A record of Kinesis; `None` if it has no id to report to the stream.
pub(crate) fn from_kinesis(record: &RawValue, sender: Sender) -> Option<Delivery> {
    let object = Object::parse(record.get())?;
    // A pipe has no inner object.
    let inner = match sender {
        Sender::Mapping => object.object("kinesis")?,
        Sender::Pipe => Object::parse(record.get())?,
    };
    let message = || {
        let data = inner.text("data").ok_or_else(|| invalid("it has no data"))?;
        Ok(Message {
            id: own_id("kinesis", &object)?,
            timestamp: time(&inner, "approximateArrivalTimestamp"),
            body: decode(&data)?,
            ..Message::default()
        })
    };
    delivery(&object, &inner, "sequenceNumber", sender, message())
}

/// A record of DynamoDB Streams, whose message is the record; `None` if it has no id to report.
pub(crate) fn from_dynamodb(record: &RawValue, sender: Sender) -> Option<Delivery> {
    let object = Object::parse(record.get())?;
    let inner = object.object("dynamodb")?;
    let message = own_id("dynamodb", &object).map(|id| Message {
        id,
        timestamp: time(&inner, "ApproximateCreationDateTime"),
        body: record.get().to_owned(),
        ..Message::default()
    });
    delivery(&object, &inner, "SequenceNumber", sender, message)
}

fn delivery(
    object: &Object<'_>,
    inner: &Object<'_>,
    sequence_number: &str,
    sender: Sender,
    message: Result<Message, Error>,
) -> Option<Delivery> {
    let id = match sender {
        Sender::Mapping => inner.text(sequence_number),
        Sender::Pipe => object.text("eventID"),
    };
    let id = id.filter(|id| !id.is_empty())?;
    Some(Delivery { id, group: Some(SHARD.to_owned()), messages: message.map(|one| vec![one]) })
}

/// The ledger's id: AWS's own for the event, which stays the same when the record arrives again. Two
/// streams may count alike, so it holds the stream.
fn own_id(source: &str, object: &Object<'_>) -> Result<String, Error> {
    let text = |name: &str| object.text(name).filter(|text| !text.is_empty());
    match (text("eventSourceARN"), text("eventID")) {
        (Some(stream), Some(id)) => Ok(format!("{source}:{stream}/{id}")),
        _ => Err(invalid("it lacks its eventSourceARN or eventID")),
    }
}

/// Seconds since 1970, with a fraction, as RFC 3339.
fn time(object: &Object<'_>, name: &str) -> Option<String> {
    let seconds: f64 = object.get(name)?.get().parse().ok()?;
    // No stream sends timestamps this large, and f64 would round them.
    let plausible = (0.0..1e11).contains(&seconds);
    plausible.then(|| DateTime::from_secs_f64(seconds).fmt(Format::DateTime).ok())?
}

/// Text in base64.
pub(crate) fn decode(data: &str) -> Result<String, Error> {
    let bytes = STANDARD.decode(data).map_err(|_| invalid("its data is not base64"))?;
    String::from_utf8(bytes).map_err(|_| invalid("its data is not text in UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    const KINESIS: &str = r#"{"eventID":"shardId-000000000006:4959","eventSourceARN":"arn:s","kinesis":
        {"sequenceNumber":"4959","data":"eyJhIjoxfQ==","approximateArrivalTimestamp":1763899200.25}}"#;

    #[test]
    fn kinesis_gives_text_time_and_ids() {
        let delivery = from_kinesis(&raw(KINESIS), Sender::Mapping).unwrap();
        assert_eq!(delivery.id, "4959");
        let [message] = &delivery.messages.unwrap()[..] else { panic!() };
        assert_eq!(message.id, "kinesis:arn:s/shardId-000000000006:4959");
        assert_eq!(message.body, r#"{"a":1}"#);
        assert_eq!(message.timestamp.as_deref(), Some("2025-11-23T12:00:00.25Z"));
    }

    #[test]
    fn a_pipe_is_told_of_the_event_and_has_no_inner_object() {
        let flat = r#"{"eventID":"shardId-1:7","eventSourceARN":"arn:s","sequenceNumber":"7","data":"eA=="}"#;
        let delivery = from_kinesis(&raw(flat), Sender::Pipe).unwrap();
        assert_eq!(delivery.id, "shardId-1:7");
        assert_eq!(delivery.messages.unwrap()[0].body, "x");
    }

    #[test]
    fn what_is_not_text_fails_alone_and_what_has_no_id_fails_the_event() {
        for data in ["!", "/w=="] {
            let record = KINESIS.replace("eyJhIjoxfQ==", data);
            assert!(from_kinesis(&raw(&record), Sender::Mapping).unwrap().messages.is_err());
        }
        let record = KINESIS.replace("\"sequenceNumber\"", "\"other\"");
        assert!(from_kinesis(&raw(&record), Sender::Mapping).is_none());
        assert!(from_dynamodb(&raw(KINESIS), Sender::Mapping).is_none());
    }
}
