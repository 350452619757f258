//! The time budget of one invocation. Everything that waits takes its bound from here.
//!
//! Lambda kills a sandbox at the deadline, and the caller then learns nothing. So the function
//! answers a little before it, and the server cancels a statement a little before that.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// Assumed when the runtime sends no usable deadline, as `cargo lambda watch` does.
pub const UNKNOWN_DEADLINE: Duration = Duration::from_secs(60);

/// Lambda's longest time-out.
const LONGEST: Duration = Duration::from_secs(900);
/// How far this machine's clock may be behind Lambda's. AWS's own services accept as much.
const CLOCK_SKEW: Duration = Duration::from_secs(300);

/// When this invocation must have answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    answer_by: Instant,
    cancel_by: Instant,
}

impl Deadline {
    /// From Lambda's `Lambda-Runtime-Deadline-Ms` (milliseconds since the epoch). A value in the
    /// past, or far beyond Lambda's longest time-out, is taken for unknown. One slightly beyond it
    /// comes from a clock that is behind, and counts as the longest time-out.
    pub fn from_epoch_ms(deadline_ms: u64, now: SystemTime) -> Self {
        let deadline = SystemTime::UNIX_EPOCH + Duration::from_millis(deadline_ms);
        let left = deadline.duration_since(now).unwrap_or_default();
        let known = !left.is_zero() && left <= LONGEST + CLOCK_SKEW;
        Self::after(if known { left.min(LONGEST) } else { UNKNOWN_DEADLINE })
    }

    /// Lambda's deadline is this far away: a tenth of it, 50 ms to 1 s, is kept for the answer.
    pub fn after(left: Duration) -> Self {
        let margin = (left / 10).clamp(Duration::from_millis(50), Duration::from_secs(1));
        let answer_by = Instant::now() + left.saturating_sub(margin);
        Self { answer_by, cancel_by: answer_by + margin / 2 }
    }

    /// The same deadline, earlier by this much: for work that other work must follow.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        let earlier = |instant: Instant| instant.checked_sub(by).unwrap_or(instant);
        Self { answer_by: earlier(self.answer_by), cancel_by: earlier(self.cancel_by) }
    }

    /// When work on the answer must end.
    pub fn answer_by(&self) -> Instant {
        self.answer_by
    }

    /// How long a cancel request may take, once the time for the answer itself has run out.
    pub fn cancel_by(&self) -> Instant {
        self.cancel_by
    }

    /// Time left for work.
    pub fn remaining(&self) -> Duration {
        self.answer_by.saturating_duration_since(Instant::now())
    }

    /// The time that the server may spend on a statement: less than is left, so that its refusal
    /// still arrives. `None` when too little is left to start one.
    pub fn statement_timeout(&self) -> Option<Duration> {
        let left = self.remaining();
        let margin = (left / 10).clamp(Duration::from_millis(20), Duration::from_millis(500));
        left.checked_sub(margin).filter(|timeout| *timeout >= Duration::from_millis(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(ms: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn lambdas_deadline_leaves_room_for_the_answer() {
        let now = 1_800_000_000_000;
        let deadline = Deadline::from_epoch_ms(now + 3000, epoch(now));
        assert_eq!(deadline.remaining(), Duration::from_millis(2700));
        assert_eq!(deadline.statement_timeout(), Some(Duration::from_millis(2430)));
        tokio::time::advance(Duration::from_millis(2690)).await;
        assert_eq!(deadline.statement_timeout(), None);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(deadline.remaining(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_slightly_behind_costs_no_time() {
        let now = 1_800_000_000_000;
        let longest = Deadline::after(LONGEST);
        for left in [900_000, 900_001, 930_000, 1_200_000] {
            assert_eq!(Deadline::from_epoch_ms(now + left, epoch(now)), longest, "{left}");
        }
        let unknown = Deadline::after(UNKNOWN_DEADLINE);
        assert_eq!(Deadline::from_epoch_ms(now + 1_200_001, epoch(now)), unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn odd_values_count_as_unknown() {
        let now = epoch(1_800_000_000_000);
        let unknown = Deadline::after(UNKNOWN_DEADLINE);
        for odd in [0, 600_000, 1_800_000_000_000, 1_900_000_000_000, 9_000_000_000_000_000] {
            assert_eq!(Deadline::from_epoch_ms(odd, now), unknown, "{odd}");
        }
    }
}
