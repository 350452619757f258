//! A request's parameters: in the query string, in a form, in a JSON object, or as the body itself.

use axum::http::header;
use axum::http::request::Parts;
use serde_json::Value;

use super::refusal::Refusal;
use crate::sigv4;

/// The parameters, by name, and the answer's wanted form.
pub(super) struct Form {
    values: Vec<(String, String)>,
    pub(super) accept: String,
}

impl Form {
    /// The query string's come first; a name may stand once.
    pub(super) fn parse(
        parts: &Parts,
        query: Vec<(String, String)>,
        body: &[u8],
    ) -> Result<Self, Refusal> {
        let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let content_type = header(header::CONTENT_TYPE).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim();
        let malformed =
            || Refusal::bad_request("The request body is malformed", "the body is malformed");
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let mut values = query;
        match content_type {
            "application/sparql-query" => values.push(("query".into(), text.to_owned())),
            "application/sparql-update" => values.push(("update".into(), text.to_owned())),
            // awscurl says that forms are JSON too.
            _ if text.trim_start().starts_with('{') => {
                let object: serde_json::Map<String, Value> =
                    serde_json::from_str(text).map_err(|_| malformed())?;
                values.extend(object.into_iter().map(|(name, value)| match value {
                    Value::String(text) => (name, text),
                    other => (name, other.to_string()),
                }));
            }
            _ => values.extend(sigv4::parse_query(text, true).ok_or_else(malformed)?),
        }
        for (index, (name, _)) in values.iter().enumerate() {
            if values[..index].iter().any(|(earlier, _)| earlier == name) {
                let message = "A parameter stands twice in the request";
                return Err(Refusal::bad_request(message, format!("{name:?} stands twice")));
            }
        }
        let accept = header(header::ACCEPT).filter(|accept| *accept != "*/*");
        Ok(Self { values, accept: accept.unwrap_or("application/sparql-results+json").to_owned() })
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn query(&self, name: &str) -> Result<&str, Refusal> {
        self.get(name).filter(|text| !text.trim().is_empty()).ok_or_else(|| {
            let status = axum::http::StatusCode::BAD_REQUEST;
            let message = format!("The parameter {name} is missing");
            Refusal::new(status, "MissingParameterException", message.clone(), message)
        })
    }

    /// openCypher's parameters, an object.
    pub(super) fn parameters(&self) -> Result<Value, Refusal> {
        let text = self.get("parameters").unwrap_or("{}");
        match serde_json::from_str(text) {
            Ok(object @ Value::Object(_)) => Ok(object),
            _ => Err(Refusal::new(
                axum::http::StatusCode::BAD_REQUEST,
                "InvalidParameterException",
                "The parameter parameters is not a JSON object",
                "parameters is not a JSON object",
            )),
        }
    }
}
