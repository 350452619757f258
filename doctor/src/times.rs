//! Bounds of steps, and times as text.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// The earlier of `deadline` and `longest` from now; leaves time for later steps.
pub(crate) fn bound(deadline: Instant, longest: Duration) -> Instant {
    deadline.min(Instant::now() + longest)
}

pub(crate) fn iso8601(at: SystemTime) -> String {
    let whole = OffsetDateTime::from(at).replace_nanosecond(0);
    whole.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}
