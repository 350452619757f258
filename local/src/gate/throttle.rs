//! RDS's limit on new IAM connections, as a token bucket.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// At most `rate` logins a second, after a burst of as many.
#[derive(Debug)]
pub struct Throttle {
    rate: f64,
    state: Mutex<(f64, Instant)>,
}

impl Throttle {
    /// A full bucket. A rate of 0 lets nobody in.
    pub fn new(rate: u32) -> Self {
        let rate = f64::from(rate);
        Self { rate, state: Mutex::new((rate, Instant::now())) }
    }

    /// Takes one login out, if there is one.
    pub fn admit(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, last) = *state;
        let now = Instant::now();
        let level = (level + now.duration_since(last).as_secs_f64() * self.rate).min(self.rate);
        let admitted = level >= 1.0;
        *state = (if admitted { level - 1.0 } else { level }, now);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn refills_at_its_rate() {
        let throttle = Throttle::new(2);
        assert_eq!([throttle.admit(), throttle.admit(), throttle.admit()], [true, true, false]);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!([throttle.admit(), throttle.admit()], [true, false]);
        assert!(!Throttle::new(0).admit());
    }
}
