//! The events that the function takes.
//!
//! - `{"query": "purge_orders"}`, or `{"job": "nightly", "queries": ["archive_orders", "purge_orders"]}`,
//!   with `params`, `run` and `overlap`: from a person, Step Functions, or a schedule's input;
//! - EventBridge's own event, a rule's or Scheduler's: the default query, with the event's `time` as run.

use std::collections::BTreeMap;

use rds_iam::Error;
use rds_iam::json::Object;
use rds_iam::lambda::{DirectEvent, invalid_event, is_of_eventbridge, parse_object};
use rds_iam::query::is_query_name;
use rds_iam::session::Overlap;
use serde_json::value::RawValue;

const OTHERS: &str = "or with job, queries, run and overlap; or let EventBridge send its own event";
const MORE: [&str; 4] = ["job", "queries", "run", "overlap"];

const LONGEST_RUN: usize = 256;
const LONGEST_JOB: usize = 128;
const MOST_QUERIES: usize = 100;

/// What an event asks for.
#[derive(Default)]
pub(crate) struct Event {
    /// The job's name; without one, its only query's.
    pub(crate) job: Option<String>,
    /// The queries in order; empty for the default query.
    pub(crate) queries: Vec<String>,
    /// Values by the parameter's name.
    pub(crate) params: BTreeMap<String, Box<RawValue>>,
    /// What tells the job's runs apart; without one, Lambda's request id.
    pub(crate) run: Option<String>,
    /// What happens if another run of the job is running.
    pub(crate) overlap: Overlap,
}

impl Event {
    /// Reads an event.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let object = parse_object(text, OTHERS)?;
        if is_of_eventbridge(&object) {
            let run =
                object.text("time").ok_or_else(|| invalid("an event of EventBridge has no time"));
            return Ok(Self { run: Some(check_run(run?)?), ..Self::default() });
        }
        let DirectEvent { query, params, .. } = DirectEvent::parse_beside(&object, OTHERS, &MORE)?;
        let job = text_of(&object, "job")?;
        if job.as_ref().is_some_and(|job| !is_query_name(job) || job.len() > LONGEST_JOB) {
            return Err(invalid("job is a name of up to 128 letters, digits, _ and -"));
        }
        let queries = match (query, queries(&object)?) {
            (Some(_), Some(_)) => return Err(invalid("it has both query and queries")),
            (query, None) => query.into_iter().collect(),
            (None, Some(queries)) => queries,
        };
        if queries.len() > 1 && job.is_none() {
            return Err(invalid("a job of several queries needs a name, in job"));
        }
        let run = text_of(&object, "run")?.map(check_run).transpose()?;
        Ok(Self { job, queries, params, run, overlap: overlap(&object)? })
    }
}

fn invalid(why: &str) -> Error {
    invalid_event(why, OTHERS)
}

/// A member that is text, if there is one.
fn text_of(object: &Object<'_>, name: &str) -> Result<Option<String>, Error> {
    match object.get(name).map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(raw) => serde_json::from_str(raw)
            .map(Some)
            .map_err(|_| invalid(&format!("{name} is not a string"))),
    }
}

fn queries(object: &Object<'_>) -> Result<Option<Vec<String>>, Error> {
    let wrong = || invalid("queries is not a list of 1 to 100 names of letters, digits, _ and -");
    let Some(raw) = object.get("queries").filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    let names: Vec<String> = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
    let right =
        (1..=MOST_QUERIES).contains(&names.len()) && names.iter().all(|name| is_query_name(name));
    if right { Ok(Some(names)) } else { Err(wrong()) }
}

fn overlap(object: &Object<'_>) -> Result<Overlap, Error> {
    match text_of(object, "overlap")?.as_deref() {
        None | Some("skip") => Ok(Overlap::Skip),
        Some("fail") => Ok(Overlap::Fail),
        Some("wait") => Ok(Overlap::Wait),
        Some(_) => Err(invalid("overlap is \"skip\", \"fail\" or \"wait\"")),
    }
}

fn check_run(run: String) -> Result<String, Error> {
    if run.contains("<aws.scheduler") {
        return Err(invalid(
            "its run holds <aws.scheduler…> as it is: only EventBridge Scheduler replaces it, in the Input of a schedule",
        ));
    }
    let characters = run.chars().count();
    if !(1..=LONGEST_RUN).contains(&characters) || run.chars().any(char::is_control) {
        return Err(invalid("run is a text of 1 to 256 characters, without control characters"));
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use rds_iam::ErrorKind;

    use super::*;

    #[test]
    fn one_query_or_several_with_a_name() {
        let event = Event::parse(r#"{"query":"purge"}"#).unwrap();
        assert_eq!((event.job, event.queries, event.run), (None, vec!["purge".to_owned()], None));
        let event = Event::parse(
            r#"{"job":"nightly","queries":["a","b","a"],"params":{"n":1},"run":"2026-11-24 é","overlap":"wait"}"#,
        )
        .unwrap();
        assert_eq!(event.job.as_deref(), Some("nightly"));
        assert_eq!((event.queries.len(), event.overlap), (3, Overlap::Wait));
        assert_eq!(event.run.as_deref(), Some("2026-11-24 é"));
        assert_eq!(event.params["n"].get(), "1");
    }

    #[test]
    fn eventbridges_event_runs_the_default_once_for_its_time() {
        let event = Event::parse(
            r#"{"detail-type":"Scheduled Event","source":"aws.events","time":"2026-11-24T06:00:00Z","detail":{}}"#,
        )
        .unwrap();
        assert!(event.queries.is_empty());
        assert_eq!(event.run.as_deref(), Some("2026-11-24T06:00:00Z"));
    }

    #[test]
    fn anything_else_is_invalid_and_no_value_is_repeated() {
        let long = format!(r#"{{"query":"a","run":"{}"}}"#, "s3cret".repeat(200_000));
        for event in [
            r#"{"query":"a","queries":["s3cret"]}"#,
            r#"{"queries":["a","b"]}"#,
            r#"{"job":"j","queries":[]}"#,
            r#"{"job":"j","queries":["../s3cret"]}"#,
            r#"{"job":"s3cret s","query":"a"}"#,
            r#"{"job":5,"query":"a"}"#,
            r#"{"query":"a","run":""}"#,
            r#"{"query":"a","run":20261124}"#,
            r#"{"query":"a","run":"a\u0000s3cret"}"#,
            r#"{"query":"a","run":"a\ns3cret"}"#,
            r#"{"query":"a","run":"<aws.scheduler.scheduled-time>"}"#,
            r#"{"query":"a","overlap":"s3cret"}"#,
            r#"{"query":"a","rum":"s3cret"}"#,
            r#"{"detail-type":"x","source":"y"}"#,
            r#"{"query":"a"#,
            &long,
        ] {
            let error = Event::parse(event).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::EventInvalid, "{event:.80}");
            let text = error.to_string();
            assert!(!text.contains("s3cret") && text.len() < 500, "{text}");
        }
    }
}
