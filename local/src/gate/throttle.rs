//! RDS's limit on new IAM connections, as a token bucket.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// At most `rate` logins a second, after a burst. A refused login takes nothing out.
#[derive(Debug)]
pub struct Throttle {
    rate: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Throttle {
    /// A full bucket. A rate and burst of 0 let nobody in.
    pub fn new(rate: u32, burst: u32) -> Self {
        let (rate, burst) = (f64::from(rate), f64::from(burst));
        Self { rate, burst, state: Mutex::new((burst, Instant::now())) }
    }

    /// Takes one login out, if there is one.
    pub fn admit(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, last) = *state;
        let now = Instant::now();
        let level = (level + now.duration_since(last).as_secs_f64() * self.rate).min(self.burst);
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
    async fn refills_at_its_rate_up_to_its_burst() {
        let throttle = Throttle::new(2, 3);
        let admitted = |tries: usize| (0..tries).filter(|_| throttle.admit()).count();
        assert_eq!(admitted(10), 3);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(admitted(10), 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(admitted(10), 3);
        assert!(!Throttle::new(0, 0).admit());
    }
}
