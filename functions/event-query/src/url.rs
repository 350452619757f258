//! Requests to the function's URL, and their responses.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html>, payload format 2.0.

use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use rds_iam::Error;
use rds_iam::json::Object;
use serde::Serialize;

use crate::delivery::Delivery;
use crate::message::{Message, invalid};
use crate::streams::decode;

/// The response to a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HttpResponse {
    status_code: u16,
    headers: Headers,
    body: String,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "content-type")]
    content_type: &'static str,
}

impl HttpResponse {
    /// A body that is JSON.
    fn new(status_code: u16, body: &serde_json::Value) -> Self {
        let headers = Headers { content_type: "application/json" };
        Self { status_code, headers, body: body.to_string() }
    }

    pub(crate) fn accepted(duplicate: bool) -> Self {
        Self::new(200, &serde_json::json!({ "duplicate": duplicate }))
    }

    /// 503 where the same request may succeed later, and 400 where it needs a change.
    pub(crate) fn failed(error: &Error) -> Self {
        let body = serde_json::json!({
            "errorType": error.kind().error_type(), "errorMessage": error.to_string(),
        });
        Self::new(if error.is_transient() { 503 } else { 400 }, &body)
    }
}

/// The message of a request: its body. `None` if nobody has signed the request, for then the URL is open
/// to everyone.
pub(crate) fn from_url(object: &Object<'_>) -> Option<Delivery> {
    let context = object.object("requestContext")?;
    context.object("authorizer")?.object("iam")?;
    let id = context.text("requestId").filter(|id| !id.is_empty())?;
    let messages = message(object, &context, format!("url:{id}")).map(|message| vec![message]);
    Some(Delivery { id, group: None, messages })
}

fn message(object: &Object<'_>, context: &Object<'_>, id: String) -> Result<Message, Error> {
    if context.object("http").and_then(|http| http.text("method")).as_deref() != Some("POST") {
        return Err(invalid("it is not a POST request"));
    }
    let body = object.text("body").ok_or_else(|| invalid("it has no body"))?;
    let encoded = object.get("isBase64Encoded").is_some_and(|value| value.get() == "true");
    let sent = context.get("timeEpoch").and_then(|ms| ms.get().parse().ok());
    Ok(Message {
        id,
        query: object.object("queryStringParameters").and_then(|given| given.text("query")),
        timestamp: sent.and_then(|ms| DateTime::from_millis(ms).fmt(Format::DateTime).ok()),
        body: if encoded { decode(&body)? } else { body },
        ..Message::default()
    })
}
