//! The event: `{"query": "orders_of_day", "params": {…}, "to": "orders/{date}.csv.gz", "overwrite": true,
//! "split_mb": 500, "time": "2026-11-24T06:00:00Z"}`, every member optional.

use std::time::SystemTime;

use rds_iam::Error;
use rds_iam::lambda::{DirectEvent, event_time, invalid_event, parse_object};

const OTHERS: &str = "with \"to\", \"overwrite\", \"split_mb\" and \"time\" if you need them";
const MORE: [&str; 4] = ["to", "overwrite", "split_mb", "time"];
/// An object of several parts, and as many parts as S3 takes.
const SPLIT_MB: std::ops::RangeInclusive<u64> = 10..=80_000;

/// What to export, and where to.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) direct: DirectEvent,
    /// A key, or `s3://bucket/key`, with `{date}` and the like.
    pub(crate) to: Option<String>,
    /// Whether an object of that key may be replaced.
    pub(crate) overwrite: bool,
    /// The size at which the next object begins, in bytes; without it, there is one.
    pub(crate) split: Option<u64>,
    /// The time that dates count from, in the key and in parameters.
    pub(crate) time: SystemTime,
}

pub(crate) fn parse(text: &str) -> Result<Event, Error> {
    let object = parse_object(text, OTHERS)?;
    let given = |name| object.get(name).map(|value| value.get()).filter(|text| *text != "null");
    let to = given("to").map(serde_json::from_str).transpose();
    let to = to.map_err(|_| invalid_event("to is not a string", OTHERS))?;
    let overwrite = given("overwrite").map(serde_json::from_str).transpose();
    let overwrite: Option<bool> =
        overwrite.map_err(|_| invalid_event("overwrite is neither true nor false", OTHERS))?;
    let split = given("split_mb").map(serde_json::from_str::<u64>).transpose();
    let split = split.ok().filter(|split| split.is_none_or(|mb| SPLIT_MB.contains(&mb)));
    let split = split.ok_or_else(|| {
        let (least, most) = (SPLIT_MB.start(), SPLIT_MB.end());
        invalid_event(&format!("split_mb is no whole number from {least} to {most}"), OTHERS)
    })?;
    let direct = DirectEvent::parse_beside(&object, OTHERS, &MORE)?;
    let split = split.map(|megabytes| megabytes * 1_000_000);
    let time = event_time(&object, OTHERS)?;
    Ok(Event { direct, to, overwrite: overwrite.unwrap_or(false), split, time })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rds_iam::ErrorKind;

    #[test]
    fn every_member_is_optional() {
        let event = parse("{}").unwrap();
        assert!(event.direct.query.is_none() && event.to.is_none() && !event.overwrite);
        assert_eq!(event.split, None);
        let text = r#"{"query":"q","params":{"a":1},"to":"x.csv","overwrite":true,"split_mb":10}"#;
        let event = parse(text).unwrap();
        assert_eq!(event.split, Some(10_000_000));
        assert_eq!((event.to.as_deref(), event.overwrite), (Some("x.csv"), true));
        assert_eq!(event.direct.params["a"].get(), "1");
    }

    #[test]
    fn what_it_does_not_take_is_invalid_and_not_repeated() {
        for text in [
            r#"{"to":5}"#,
            r#"{"overwrite":"s3cret"}"#,
            r#"{"split_mb":"s3cret"}"#,
            r#"{"split_mb":9}"#,
            r#"{"split_mb":10.5}"#,
            r#"{"split_mb":80001}"#,
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
