//! A clock that is off.

use rds_iam::postgres::Refusal;

use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::remedy::Remedy;
use crate::tls::evidence::Verdict;

pub(crate) const CAUSES: &[Cause] = &[Cause {
    id: "clock",
    title: "this machine's clock is off",
    seen: "AWS's or the database's clock, or the dates of the certificate, differ from this machine's by minutes",
    remedy: "synchronise the clock of this machine",
    find: clock,
}];

fn clock(evidence: &Evidence) -> Option<Found> {
    if let Some(clock) = &evidence.clock {
        let off = clock.ahead.abs();
        let way = if clock.ahead > 0 { "ahead of" } else { "behind" };
        let seen = format!("this machine is {off} s {way} {}", clock.source);
        let found = match off {
            0..60 => return None,
            // Else it is no reason of this failure, and may be one of another.
            _ if !evidence.clock_is_off() || evidence.token_accepted() => Found::warning(seen),
            _ => Found::certain(seen).also("a token is refused if it is signed more than 300 s ahead or 900 s ago, and STS takes 300 s either way"),
        };
        return Some(found.remedy(synchronise(clock.ahead)));
    }
    // Without another clock, a certificate from the future says as much.
    let presented = evidence.presented()?;
    if presented.verdict == Verdict::NotYetValid {
        let seen = format!(
            "the server's certificate becomes valid in {} s by this machine's clock",
            -presented.seconds_old
        );
        return Some(Found::likely(seen).remedy(synchronise(presented.seconds_old)));
    }
    evidence.refused(Refusal::Token).then(|| {
        Found::possible("no other clock was seen, and RDS refuses a token that is signed 300 s ahead or 900 s ago")
            .remedy(Remedy::action("Compare `date -u` with another clock, and set this one if it is off: timedatectl set-ntp true"))
    })
}

fn synchronise(ahead: i64) -> Remedy {
    let way = if ahead > 0 { "back" } else { "forward" };
    Remedy::action(format!(
        "Set the clock of this machine {way} by {} s, and keep it synchronised: timedatectl set-ntp true",
        ahead.abs()
    ))
}
