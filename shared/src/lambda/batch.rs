//! The response to an event source that delivers records in batches, and the log line of a record that failed.

use std::collections::HashSet;
use std::time::Duration;

use serde::Serialize;

use super::{Invocation, QueryMessage};
use crate::error::{Error, ErrorKind};

/// A partial batch response: the records that failed, which then arrive again
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

impl BatchResponse {
    /// The response that names these records as failed: by message id, or by sequence number for a
    /// stream.
    pub fn of_failures(identifiers: impl IntoIterator<Item = String>) -> Self {
        let failures = identifiers.into_iter();
        let batch_item_failures =
            failures.map(|item_identifier| ItemFailure { item_identifier }).collect();
        Self { batch_item_failures }
    }
}

/// Writes the log line of a record that failed. A transient failure may succeed on the next delivery; a
/// permanent one ends in the dead-letter queue.
pub fn log_failed_record(id: &str, error: &Error) {
    tracing::warn!(
        recordId = id,
        errorType = error.kind().error_type(),
        errorMessage = error.to_string(),
        transient = error.is_transient(),
        "record failed"
    );
}

/// Writes the log line of a record whose write was committed: `affected` is 0 for an upsert that changed
/// nothing, and `None` for a message that was written before.
pub fn log_written_record(id: &str, query: &str, affected: Option<u64>) {
    match affected {
        Some(affected) => tracing::info!(recordId = id, query, affected, "record written"),
        None => tracing::info!(recordId = id, query, "record was written before"),
    }
}

/// Delivers each message of a queue, one after another, and answers with those that failed. A message fails
/// alone; after a failure the rest of its FIFO group is not tried, so that the group's order holds. Without a
/// connection, or the time for one, the rest is not tried either: it would fail in the same way.
///
/// # Errors
/// As the first message, if there was no connection for it: nothing was tried.
pub async fn deliver_each(
    messages: Vec<QueryMessage>,
    invocation: &mut Invocation,
    mut deliver: impl AsyncFnMut(&QueryMessage, &mut Invocation) -> Result<(), Error>,
) -> Result<BatchResponse, Error> {
    let (total, mut failures) = (messages.len(), Vec::new());
    let mut stopped: HashSet<String> = HashSet::new();
    let mut unconnected = false;
    // The line of the invocation says what the first message met, and how long all statements took.
    let (mut reused, mut took): (_, Option<Duration>) = (None, None);
    for (index, message) in messages.into_iter().enumerate() {
        let waits = message.group.as_ref().is_some_and(|group| stopped.contains(group));
        if !waits && !unconnected {
            let result = deliver(&message, invocation).await;
            let report = &mut invocation.work.report;
            if let Some(query) = report.query.take() {
                reused.get_or_insert(report.reused);
                took = Some(query + took.unwrap_or_default());
            }
            let Err(error) = result else { continue };
            unconnected = is_of_the_connection(error.kind());
            if unconnected && index == 0 {
                return Err(error);
            }
            log_failed_record(&message.id, &error);
        }
        stopped.extend(message.group);
        failures.push(message.id);
    }
    invocation.work.report.reused = reused.unwrap_or_default();
    invocation.work.report.query = took;
    let counters = [("records", total), ("failed_records", failures.len())];
    invocation.counters.extend(counters.map(|(name, count)| (name, count as u64)));
    Ok(BatchResponse::of_failures(failures))
}

/// Whether the next message would fail in the same way.
fn is_of_the_connection(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(
        kind,
        CredentialsUnavailable
            | CredentialsExpired
            | NetworkUnreachable
            | NetworkTimeout
            | TlsUntrusted
            | AuthRejected
            | DatabaseUnavailable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_has_the_shape_that_lambda_reads() {
        let response = BatchResponse::of_failures(["a".to_owned()]);
        let json = serde_json::to_string(&response).unwrap();
        assert_eq!(json, r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#);
        let none = serde_json::to_string(&BatchResponse::of_failures([])).unwrap();
        assert_eq!(none, r#"{"batchItemFailures":[]}"#);
    }

    fn message(id: &str, group: Option<&str>) -> QueryMessage {
        QueryMessage { id: id.into(), group: group.map(str::to_owned), ..QueryMessage::default() }
    }

    /// The ids that were tried, and the response.
    async fn delivered(
        messages: Vec<QueryMessage>,
        fails: impl Fn(&str) -> Option<ErrorKind>,
    ) -> (Vec<String>, Result<BatchResponse, Error>) {
        let deadline = crate::deadline::Deadline::after(std::time::Duration::from_secs(1));
        let (mut invocation, mut tried) = (Invocation::new(deadline), Vec::new());
        let response = deliver_each(messages, &mut invocation, async |message, _| {
            tried.push(message.id.clone());
            fails(&message.id).map_or(Ok(()), |kind| Err(Error::new(kind, "it failed")))
        });
        let response = response.await;
        (tried, response)
    }

    #[tokio::test]
    async fn a_message_fails_alone_and_its_group_waits() {
        let messages = vec![
            message("1", Some("a")),
            message("2", Some("b")),
            message("3", Some("a")),
            message("4", None),
            message("5", None),
            message("6", Some("b")),
        ];
        let fails = |id: &str| matches!(id, "1" | "4").then_some(ErrorKind::QueryFailed);
        let (tried, response) = delivered(messages, fails).await;
        assert_eq!(tried, ["1", "2", "4", "5", "6"]);
        let json = serde_json::to_value(response.unwrap()).unwrap();
        let failed: Vec<&str> = json["batchItemFailures"]
            .as_array()
            .unwrap()
            .iter()
            .map(|failure| failure["itemIdentifier"].as_str().unwrap())
            .collect();
        assert_eq!(failed, ["1", "3", "4"]);
    }

    #[tokio::test]
    async fn without_a_connection_the_rest_is_not_tried() {
        let three = || vec![message("1", None), message("2", None), message("3", None)];
        let (tried, response) = delivered(three(), |_| Some(ErrorKind::NetworkUnreachable)).await;
        assert_eq!(tried, ["1"]);
        assert_eq!(response.unwrap_err().kind(), ErrorKind::NetworkUnreachable);
        let fails = |id: &str| (id == "2").then_some(ErrorKind::AuthRejected);
        let (tried, response) = delivered(three(), fails).await;
        assert_eq!(tried, ["1", "2"]);
        assert_eq!(response.unwrap().batch_item_failures.len(), 2);
    }
}
