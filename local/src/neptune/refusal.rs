//! An answer that is an error, in the form that Neptune documents
//! (<https://docs.aws.amazon.com/neptune/latest/userguide/errors-engine-codes.html>).

use axum::http::StatusCode;

/// An error, with what only the gate's log says of it.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) reason: String,
}

impl Refusal {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        message: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        Self { status, code, message: message.into(), reason: reason.into() }
    }

    /// The caller is not known, or may not. Neptune has one code for both.
    pub(super) fn denied(message: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "AccessDeniedException", message, reason)
    }

    /// The request is wrong.
    pub(super) fn bad_request(message: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequestException", message, reason)
    }

    /// The engine refused a query; its own words are the message.
    pub(super) fn query(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self::new(status, code, message, "refused by the engine")
    }

    /// The body of the answer.
    pub(super) fn body(&self, request_id: &str) -> String {
        serde_json::json!({
            "requestId": request_id, "code": self.code, "detailedMessage": self.message
        })
        .to_string()
    }
}
