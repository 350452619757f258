//! The events that the function takes.
//!
//! - direct: `{"query": "customers", "params": {"min_age": 26}}`, both optional;
//! - EventBridge, a rule's or Scheduler's: runs the default query. Scheduler's `detail` is the
//!   string `"{}"` (<https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-targets-templated.html>).

use rds_iam::Error;
use rds_iam::lambda::{DirectEvent, is_of_eventbridge, parse_object};

const OTHERS: &str = "or let EventBridge send its own event";

/// Reads an event; one of EventBridge asks for the default query.
pub(crate) fn parse(text: &str) -> Result<DirectEvent, Error> {
    let object = parse_object(text, OTHERS)?;
    if is_of_eventbridge(&object) {
        return Ok(DirectEvent::default());
    }
    DirectEvent::parse(&object, OTHERS)
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
            assert!(parse(&event).unwrap().query.is_none());
        }
    }

    #[test]
    fn direct_events_name_their_query() {
        let event = parse(r#"{"query":"customers"}"#).unwrap();
        assert_eq!(event.query.as_deref(), Some("customers"));
    }
}
