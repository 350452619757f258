//! RDS's limit on new IAM connections, as a token bucket.
//!
//! A token that has logged in already is not throttled while it lives, as Aurora's guide says of
//! tokens in use: RDS asks IAM once for it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// The longest that a token can live, and so be known.
const TOKEN_LIFE: Duration = Duration::from_secs(900);

/// At most `rate` new logins a second, after a burst. A refused login takes nothing out.
#[derive(Debug)]
pub struct Throttle {
    rate: f64,
    burst: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    level: f64,
    last: Instant,
    /// Hashes of tokens that have logged in, and when each was first seen.
    in_use: HashMap<[u8; 32], Instant>,
}

impl Throttle {
    /// A full bucket. A rate and burst of 0 refuse every login.
    pub fn new(rate: u32, burst: u32) -> Self {
        let (rate, burst) = (f64::from(rate), f64::from(burst));
        let state = State { level: burst, last: Instant::now(), in_use: HashMap::new() };
        Self { rate, burst, state: Mutex::new(state) }
    }

    /// Takes one login out, if there is one; none for a token in use.
    pub fn admit(&self, token: &str) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        if state.in_use.get(&hash(token)).is_some_and(|since| now - *since < TOKEN_LIFE) {
            return true;
        }
        let gained = (now - state.last).as_secs_f64() * self.rate;
        let level = (state.level + gained).min(self.burst);
        let admitted = level >= 1.0;
        state.level = if admitted { level - 1.0 } else { level };
        state.last = now;
        admitted
    }

    /// Remembers a token that has logged in.
    pub fn logged_in(&self, token: &str) {
        let mut state = self.lock();
        let now = Instant::now();
        state.in_use.retain(|_, since| now - *since < TOKEN_LIFE);
        state.in_use.entry(hash(token)).or_insert(now);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refills_at_its_rate_up_to_its_burst() {
        let throttle = Throttle::new(2, 3);
        let admitted = |tries: usize| (0..tries).filter(|_| throttle.admit("new")).count();
        assert_eq!(admitted(10), 3);
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(admitted(10), 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(admitted(10), 3);
        assert!(!Throttle::new(0, 0).admit("new"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_in_use_is_not_throttled_while_it_lives() {
        let throttle = Throttle::new(0, 1);
        assert!(throttle.admit("used"));
        throttle.logged_in("used");
        assert!(!throttle.admit("new"));
        assert!((0..100).all(|_| throttle.admit("used")));
        tokio::time::advance(TOKEN_LIFE).await;
        assert!(!throttle.admit("used"));
    }
}
