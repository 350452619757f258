//! The event: `{"query": "orders_of_day", "params": {…}, "to": "orders/{date}.csv.gz", "overwrite": true}`,
//! every member optional.

use rds_iam::Error;
use rds_iam::lambda::{DirectEvent, invalid_event, parse_object};

const OTHERS: &str = "with \"to\" and \"overwrite\" if you need them";

/// What to export, and where to.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) direct: DirectEvent,
    /// A key, or `s3://bucket/key`, with `{date}` and the like.
    pub(crate) to: Option<String>,
    /// Whether an object of that key may be replaced.
    pub(crate) overwrite: bool,
}

pub(crate) fn parse(text: &str) -> Result<Event, Error> {
    let object = parse_object(text, OTHERS)?;
    let given = |name| object.get(name).map(|value| value.get()).filter(|text| *text != "null");
    let to = given("to").map(serde_json::from_str).transpose();
    let to = to.map_err(|_| invalid_event("to is not a string", OTHERS))?;
    let overwrite = given("overwrite").map(serde_json::from_str).transpose();
    let overwrite: Option<bool> =
        overwrite.map_err(|_| invalid_event("overwrite is neither true nor false", OTHERS))?;
    let direct = DirectEvent::parse(&object.without(&["to", "overwrite"]), OTHERS)?;
    Ok(Event { direct, to, overwrite: overwrite.unwrap_or(false) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rds_iam::ErrorKind;

    #[test]
    fn every_member_is_optional() {
        let event = parse("{}").unwrap();
        assert!(event.direct.query.is_none() && event.to.is_none() && !event.overwrite);
        let event =
            parse(r#"{"query":"q","params":{"a":1},"to":"x.csv","overwrite":true}"#).unwrap();
        assert_eq!((event.to.as_deref(), event.overwrite), (Some("x.csv"), true));
        assert_eq!(event.direct.params["a"].get(), "1");
    }

    #[test]
    fn what_it_does_not_take_is_invalid_and_not_repeated() {
        for text in [
            r#"{"to":5}"#,
            r#"{"overwrite":"s3cret"}"#,
            r#"{"s3cret":1}"#,
            r#"{"query":"../s3cret"}"#,
            "s3cret",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::EventInvalid, "{text}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
}
