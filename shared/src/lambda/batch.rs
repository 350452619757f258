//! What an event source that delivers records in batches reads, and the log line of a record that failed.

use serde::Serialize;

use crate::error::Error;

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
        // The same in its former words.
        failure = if error.is_transient() { "passing" } else { "permanent" },
        "record failed"
    );
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
}
