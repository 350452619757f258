//! Dates by placeholder, counted from the time of an event: `{date}`, `{date-1d}` for the day before, and
//! `{date-1d+09:00}` for the day before at nine hours ahead of UTC.
//!
//! An offset and not a zone: a database of zones would be the largest part of a small function.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_smithy_async::time::SharedTimeSource;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, UtcOffset};

/// The forms that [`date_at`] takes, for errors.
pub const DATE_FORMS: &str = "{date}, {date-1d} and {date-1d+09:00}";

/// No zone is further from UTC, in hours.
const FURTHEST_ZONE: i8 = 14;

/// The date that a placeholder stands for at this time, as `2026-11-23`. `name` is the text between the braces:
/// `date`, then days (`-1d`), then an offset from UTC (`+09:00`), both optional. `None` if it has another form.
pub fn date_at(name: &str, time: SystemTime) -> Option<String> {
    let rest = name.strip_prefix("date")?;
    let (days, offset) = match rest.split_once('d') {
        Some((days, offset)) => (signed(days)?, offset),
        None => (0, rest),
    };
    let since = Duration::try_from(time.duration_since(UNIX_EPOCH).ok()?).ok()?;
    let time = OffsetDateTime::UNIX_EPOCH.checked_add(since)?;
    let local = time.checked_to_offset(from_utc(offset)?)?;
    let date = local.date().checked_add(Duration::days(days))?;
    date.format(format_description!("[year]-[month]-[day]")).ok()
}

/// The time that dates count from where an event has none.
pub(crate) fn now() -> SystemTime {
    SharedTimeSource::default().now()
}

/// A time in the form of RFC 3339, such as `2026-11-24T06:00:00Z`.
pub fn time_of(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

/// `-1` or `+1`, of up to four digits.
fn signed(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-'])?;
    let are_digits = (1..=4).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| are_digits)
}

/// `+09:00` or `-03:30`; nothing is UTC.
fn from_utc(text: &str) -> Option<UtcOffset> {
    if text.is_empty() {
        return Some(UtcOffset::UTC);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = text.strip_prefix(['+', '-'])?.split_once(':')?;
    let two = |digits: &str| {
        let are_digits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<i8>().ok().filter(|_| are_digits)
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let right = hours <= FURTHEST_ZONE && minutes < 60;
    UtcOffset::from_hms(sign * hours, sign * minutes, 0).ok().filter(|_| right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_counts_from_the_time_of_the_event() {
        let at = |name: &str, time: &str| date_at(name, time_of(time).unwrap());
        for (name, time, date) in [
            ("date", "2026-11-28T02:00:00Z", "2026-11-28"),
            ("date-1d", "2026-11-28T02:00:00Z", "2026-11-27"),
            ("date-1d", "2028-03-01T00:00:00Z", "2028-02-29"),
            ("date+1d", "2026-12-31T23:59:59.999Z", "2027-01-01"),
            ("date-366d", "2027-01-01T00:00:00Z", "2025-12-31"),
            // The same moment, written at another offset.
            ("date", "2026-11-28T02:00:00+03:00", "2026-11-27"),
            // Two in the morning in Tokyo, and ten at night in Newfoundland.
            ("date-1d+09:00", "2026-11-27T17:00:00Z", "2026-11-27"),
            ("date-03:30", "2026-11-28T01:30:00Z", "2026-11-27"),
        ] {
            assert_eq!(at(name, time).as_deref(), Some(date), "{name} at {time}");
        }
    }

    #[test]
    fn another_form_is_no_placeholder() {
        let now = time_of("2026-11-28T02:00:00Z").unwrap();
        for name in [
            "",
            "day",
            "dates",
            "date-1",
            "date1d",
            "date-d",
            "date--1d",
            "date- 1d",
            "date-1h",
            "date-10000d",
            "date+9:00",
            "date+09",
            "date+15:00",
            "date+09:60",
            "date+09:00-1d",
            "Date",
            "date-1d+0é:00",
            "date-1dd",
        ] {
            assert_eq!(date_at(name, now), None, "{name:?}");
        }
        assert_eq!(time_of("<aws.scheduler.scheduled-time>"), None);
        assert_eq!(time_of("2026-11-28"), None);
        // Outside of what a placeholder counts from, and no panic.
        assert_eq!(date_at("date", UNIX_EPOCH - std::time::Duration::from_secs(1)), None);
        assert_eq!(date_at("date+9999d", time_of("9999-12-31T00:00:00Z").unwrap()), None);
    }
}
