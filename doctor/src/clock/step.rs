//! Compares this machine's clock with AWS's or the database's.

use std::time::Duration;

use crate::clock::evidence::Clock;
use crate::report::{Status, Step};
use crate::tls::evidence::Tls;

/// A clock that is off by less is not worth a word: an answer takes some of it.
const CLOCK_NOISE: i64 = 5;

pub(crate) fn step(clock: Option<&Clock>, tls: &Tls) -> Step {
    let early = matches!(tls, Tls::Presented(p) if p.seconds_old < 0);
    let (status, found) = match clock {
        None if early => {
            (Status::Unknown, "unknown, but the server's certificate is not valid yet".to_owned())
        }
        None => (Status::Unknown, "nobody's clock was seen".to_owned()),
        Some(Clock { ahead, source }) if ahead.abs() <= CLOCK_NOISE => {
            (Status::Ok, format!("agrees with {source}"))
        }
        Some(Clock { ahead, source }) => {
            let way = if *ahead > 0 { "ahead of" } else { "behind" };
            let status = if ahead.abs() >= 60 { Status::Failed } else { Status::Warning };
            (status, format!("{} s {way} {source}", ahead.abs()))
        }
    };
    Step::new("clock", status, Duration::ZERO, found)
}
