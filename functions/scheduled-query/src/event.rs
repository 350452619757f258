//! The events that the function takes.
//!
//! - direct: `{"query": "customers", "params": {"min_age": 26}, "time": "2026-11-24T06:00:00Z"}`, all optional;
//! - EventBridge, a rule's or Scheduler's: runs the default query. Scheduler's `detail` is the
//!   string `"{}"` (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html>).

use std::time::SystemTime;

use rds_iam::Error;
use rds_iam::lambda::{DirectEvent, event_time, is_of_eventbridge, parse_object};

const OTHERS: &str = "with \"time\" if dates count from it; or let EventBridge send its own event";

/// A query, and the time that its dates count from.
pub(crate) struct Event {
    pub(crate) direct: DirectEvent,
    pub(crate) time: SystemTime,
}

/// Reads an event; one of EventBridge asks for the default query.
pub(crate) fn parse(text: &str) -> Result<Event, Error> {
    let object = parse_object(text, OTHERS)?;
    let time = event_time(&object, OTHERS)?;
    if is_of_eventbridge(&object) {
        return Ok(Event { direct: DirectEvent::default(), time });
    }
    Ok(Event { direct: DirectEvent::parse_beside(&object, OTHERS, &["time"])?, time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eventbridge_events_run_the_default() {
        for detail in ["{}", "\"{}\"", r#"{"query":"x"}"#] {
            let event = format!(
                r#"{{"version":"0","detail-type":"Scheduled Event","source":"aws.events","detail":{detail}}}"#
            );
            assert!(parse(&event).unwrap().direct.query.is_none());
        }
    }

    #[test]
    fn direct_events_name_their_query() {
        let event = parse(r#"{"query":"customers"}"#).unwrap();
        assert_eq!(event.direct.query.as_deref(), Some("customers"));
    }

    #[test]
    fn both_have_a_time() {
        let time = rds_iam::query::time_of("2026-11-28T02:00:00Z");
        let direct = parse(r#"{"query":"customers","time":"2026-11-28T02:00:00Z"}"#).unwrap();
        assert_eq!(Some(direct.time), time);
        let rule = parse(
            r#"{"detail-type":"Scheduled Event","source":"aws.events","time":"2026-11-28T02:00:00Z","detail":{}}"#,
        );
        assert_eq!(Some(rule.unwrap().time), time);
    }
}
