//! The event that a person or a schedule sends: `{"query": "customers", "params": {"min_age": 26}}`.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::json::Object;
use crate::query::{is_query_name, now, time_of};

/// A query's name and its parameters' values, both optional.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct DirectEvent {
    /// The query that the event names.
    pub query: Option<String>,
    /// Values by the parameter's name.
    pub params: BTreeMap<String, Box<RawValue>>,
}

impl DirectEvent {
    /// Reads an event. `others` describes the other events that the function takes, for the error.
    ///
    /// # Errors
    /// [`EventInvalid`](ErrorKind::EventInvalid) if it has other members, or one of the wrong type.
    /// The message repeats no value.
    pub fn parse(object: &Object<'_>, others: &str) -> Result<Self, Error> {
        Self::parse_beside(object, others, &[])
    }

    /// The same, for an event that may have more members, which the function reads itself.
    ///
    /// # Errors
    /// As [`DirectEvent::parse`].
    pub fn parse_beside(object: &Object<'_>, others: &str, more: &[&str]) -> Result<Self, Error> {
        let known: Vec<&str> = ["query", "params"].iter().chain(more).copied().collect();
        let unknown = object.members().find(|(name, _)| !known.contains(name));
        if let Some((name, _)) = unknown {
            return Err(invalid_event(&unknown_key(name, &known), others));
        }
        let given = |name| object.get(name).map(RawValue::get).filter(|text| *text != "null");
        let query: Option<String> = given("query")
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| invalid_event("query is not a string", others))?;
        if query.as_ref().is_some_and(|name| !is_query_name(name)) {
            let why = "query is a name of letters, digits, _ and -, not a path";
            return Err(invalid_event(why, others));
        }
        let params = given("params")
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| invalid_event("params is not an object of values by name", others))?;
        Ok(Self { query, params: params.unwrap_or_default() })
    }
}

/// Repeats the key only if it is a misspelt one: another might be a value in the wrong place.
fn unknown_key(name: &str, known: &[&str]) -> String {
    let near = known.iter().find(|key| strsim::damerau_levenshtein(key, name) <= 2);
    match (near, known) {
        (Some(key), _) => format!("it has the key {name:?}; did you mean {key:?}?"),
        (None, [others @ .., last]) => {
            format!("it has a key other than {} and {last}", others.join(", "))
        }
        (None, []) => "it has a key".to_owned(),
    }
}

/// Shows no parameter.
impl std::fmt::Debug for DirectEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let params = self.params.len();
        f.debug_struct("DirectEvent").field("query", &self.query).field("params", &params).finish()
    }
}

/// The error of an event that a function does not take, with the events that it does take.
pub fn invalid_event(why: &str, others: &str) -> Error {
    Error::new(ErrorKind::EventInvalid, "the function does not take this event")
        .because(why)
        .remedy(format!("Send {{\"query\": \"NAME\", \"params\": {{…}}}}, {others}"))
}

/// The time that an event's dates count from: its `time`, as EventBridge writes it, or else now. A retry of
/// an event that has one counts from the same day.
///
/// # Errors
/// [`EventInvalid`](ErrorKind::EventInvalid) if its `time` is not in the form of RFC 3339.
pub fn event_time(object: &Object<'_>, others: &str) -> Result<SystemTime, Error> {
    let Some(raw) = object.get("time").map(RawValue::get).filter(|raw| *raw != "null") else {
        return Ok(now());
    };
    let text: Option<String> = serde_json::from_str(raw).ok();
    text.as_deref().and_then(time_of).ok_or_else(|| {
        let why = match text {
            Some(text) if text.starts_with("<aws.") => {
                "its time holds <aws.…> as it is: only EventBridge replaces it, in the Input of a schedule"
            }
            _ => "its time is not of the form 2026-11-24T06:00:00Z",
        };
        invalid_event(why, others)
    })
}

/// Reads an event that must be a JSON object.
///
/// # Errors
/// [`EventInvalid`](ErrorKind::EventInvalid), with the place where the JSON is broken.
pub fn parse_object<'a>(text: &'a str, others: &str) -> Result<Object<'a>, Error> {
    serde_json::from_str(text).map_err(|error: serde_json::Error| {
        let why = match error.classify() {
            serde_json::error::Category::Data => "it is not a JSON object".to_owned(),
            _ => format!("it is not JSON (line {}, column {})", error.line(), error.column()),
        };
        invalid_event(&why, others)
    })
}

/// Whether an event is of EventBridge, a rule's or Scheduler's
/// (<https://docs.aws.amazon.com/eventbridge/latest/ref/overiew-event-structure.html>).
pub fn is_of_eventbridge(event: &Object<'_>) -> bool {
    event.has("detail-type") && event.has("source")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DirectEvent, Error> {
        DirectEvent::parse(&parse_object(text, "or a file")?, "or a file")
    }

    #[test]
    fn query_and_params_are_optional() {
        let event = parse(r#"{"query":"customers","params":{"min_age":26}}"#).unwrap();
        assert_eq!(event.query.as_deref(), Some("customers"));
        assert_eq!(event.params["min_age"].get(), "26");
        assert!(!format!("{event:?}").contains("26"));
        assert!(parse("{}").unwrap().query.is_none());
        assert!(parse(r#"{"query":null,"params":null}"#).unwrap().params.is_empty());
    }

    #[test]
    fn dates_count_from_the_events_time_or_from_now() {
        let time = |event: &str| event_time(&parse_object(event, "").unwrap(), "");
        let given = time(r#"{"time":"2026-11-28T02:00:00Z"}"#).unwrap();
        assert_eq!(Some(given), time_of("2026-11-28T02:00:00Z"));
        for none in ["{}", r#"{"time":null}"#] {
            assert!(
                time(none).unwrap() > given - std::time::Duration::from_secs(86_400 * 366),
                "{none}"
            );
        }
        for (wrong, told) in [
            (r#"{"time":"s3cret"}"#, "not of the form"),
            (r#"{"time":20261128}"#, "not of the form"),
            (r#"{"time":"<aws.scheduler.scheduled-time>"}"#, "only EventBridge replaces it"),
        ] {
            let error = time(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EventInvalid);
            assert!(
                error.to_string().contains(told) && !error.to_string().contains("s3cret"),
                "{error}"
            );
        }
    }

    #[test]
    fn anything_else_is_invalid_and_no_value_is_repeated() {
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
            r#"{"s3cret":{}}"#,
            r#"{"query":"a""#,
        ] {
            let error = parse(event).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EventInvalid, "{event}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
