//! The event shapes that the function takes.
//!
//! - direct: `{"query": "customers", "params": {"min_age": 26}}`, both optional;
//! - EventBridge, a rule's or Scheduler's: runs the default query. Scheduler's `detail` is the
//!   string `"{}"` (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html>).

use std::collections::BTreeMap;

use rds_iam::query::is_query_name;
use rds_iam::{Error, ErrorKind};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What an event asks for.
#[derive(Debug, Default)]
pub(crate) struct Event {
    /// The query named, if any.
    pub(crate) query: Option<String>,
    /// Parameter values by name.
    pub(crate) params: BTreeMap<String, Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Direct {
    query: Option<String>,
    params: Option<BTreeMap<String, Box<RawValue>>>,
}

impl Event {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |why: String| {
            Error::new(ErrorKind::EventInvalid, "the event is not one that this function takes")
                .because(why)
                .remedy("Send {\"query\": \"NAME\", \"params\": {…}}, or let EventBridge send its own event")
        };
        let fields: BTreeMap<String, &RawValue> =
            serde_json::from_str(text).map_err(|error| invalid(describe(&error)))?;
        if fields.contains_key("detail-type") && fields.contains_key("source") {
            return Ok(Self::default());
        }
        if let Some(unknown) = fields.keys().find(|key| !matches!(key.as_str(), "query" | "params"))
        {
            let shown: String = unknown.chars().take(40).collect();
            return Err(invalid(format!(
                "it has the key {shown:?}; only query and params are known"
            )));
        }
        let direct: Direct = serde_json::from_str(text).map_err(|_| {
            invalid("query must be a string, and params an object of values by name".into())
        })?;
        if direct.query.as_ref().is_some_and(|name| !is_query_name(name)) {
            return Err(invalid("query is a name of letters, digits, _ and -, not a path".into()));
        }
        Ok(Self { query: direct.query, params: direct.params.unwrap_or_default() })
    }
}

/// Where JSON is broken, without repeating any of it.
fn describe(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => "it is not a JSON object".into(),
        _ => format!("it is not JSON (line {}, column {})", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_events_name_query_and_params() {
        let event = Event::parse(r#"{"query":"customers","params":{"min_age":26}}"#).unwrap();
        assert_eq!(event.query.as_deref(), Some("customers"));
        assert_eq!(event.params["min_age"].get(), "26");
        assert!(Event::parse("{}").unwrap().query.is_none());
        assert!(Event::parse(r#"{"query":null,"params":null}"#).unwrap().params.is_empty());
    }

    #[test]
    fn eventbridge_events_run_the_default() {
        for detail in ["{}", "\"{}\"", r#"{"query":"x"}"#] {
            let event = format!(
                r#"{{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{detail}}}"#
            );
            assert!(Event::parse(&event).unwrap().query.is_none());
        }
    }

    #[test]
    fn anything_else_is_invalid_and_not_repeated() {
        for event in [
            "",
            "s3cret",
            "[]",
            "null",
            "3",
            "\"x\"",
            r#"{"query":5}"#,
            r#"{"params":[1]}"#,
            r#"{"query":"../s3cret"}"#,
            r#"{"query":""}"#,
            r#"{"parms":{}}"#,
            r#"{"query":"a""#,
        ] {
            let error = Event::parse(event).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EventInvalid, "{event}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
