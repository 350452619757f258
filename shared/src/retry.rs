//! Retries: of which failures, how often, and how long.
//!
//! | what failed | retried | how often | how long |
//! |---|---|---|---|
//! | a login ([`Retry::Again`], [`Retry::FreshCredentials`]) | with the token of the last login while it is fresh, else a new one; the second with a new token and credentials resolved again | [`RetryPolicy::attempts`] in an invocation (`DB_LOGIN_ATTEMPTS`) | within a quarter of the time left, with full jitter between 0 and 100 ms … 2 s |
//! | a read on a connection that broke | on a new connection | once in an invocation | while time is left |
//! | a write on a connection that broke | only if it was never run, or if the ledger keeps it from happening twice | once in an invocation | while time is left |
//! | a chunk of a batch job that met a deadlock, a serialization failure, a lock or a broken connection | after a pause, on a new connection if it broke | [`RetryPolicy::chunk`]: 8 times since the last chunk that was committed | within half of the time left, with full jitter between 0 and 100 ms … 5 s |
//! | any other statement that the server refused | never here: the event source repeats the event | | |
//! | loading credentials | by the next caller, after [`FAILURE_BACKOFF`](crate::credentials::FAILURE_BACKOFF) | | until they expire, living credentials are used meanwhile |
//!
//! Jitter: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::Error;

/// Whether another attempt may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// It would fail in the same way.
    No,
    /// The server or the network may recover.
    Again,
    /// RDS refused the token: sign again, with credentials resolved again. A throttled login looks
    /// exactly like this.
    FreshCredentials,
}

/// A failed login, and whether another attempt may help.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoginError {
    /// The caller's error, if this was the last attempt.
    pub error: Error,
    /// Whether, and how, to try again.
    pub retry: Retry,
}

impl Error {
    /// The error of a login, with what another attempt may do about it.
    pub(crate) fn retry(self, retry: Retry) -> LoginError {
        LoginError { error: self, retry }
    }
}

/// How often, and how long, something is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Upper bound of the first pause; each pause is drawn at random below its bound (full jitter).
    pub first_pause: Duration,
    /// Upper bound of every later pause; bounds double until they reach it.
    pub longest_pause: Duration,
    /// The share of the remaining time, from 0 to 1, in which attempts may begin.
    pub share: f64,
}

impl RetryPolicy {
    /// For logins. RDS throttles them, so the pauses spread sandboxes that start together; and three
    /// quarters of the time stay for the statement.
    pub const fn login(attempts: u32) -> Self {
        Self {
            attempts,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(2),
            share: 0.25,
        }
    }

    /// For a chunk of a batch job. Whoever was in its way needs time, and so does a failover.
    pub const fn chunk() -> Self {
        Self {
            attempts: 8,
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            share: 0.5,
        }
    }

    /// Starts counting, with this much time left for everything.
    pub fn start(self, remaining: Duration) -> Attempts {
        Attempts {
            policy: self,
            pause: self.first_pause,
            until: Instant::now() + remaining.mul_f64(self.share),
        }
    }
}

/// The attempts at one thing.
#[derive(Clone, Copy, Debug)]
pub struct Attempts {
    policy: RetryPolicy,
    pause: Duration,
    until: Instant,
}

impl Attempts {
    /// How long to pause before the next attempt, after `made` of them; `None` when no attempt or no
    /// time is left.
    pub fn next_pause(&mut self, made: u32) -> Option<Duration> {
        let pause = self.pause.mul_f64(fastrand::f64());
        self.pause = (self.pause * 2).min(self.policy.longest_pause);
        (made < self.policy.attempts && Instant::now() + pause < self.until).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn attempts_end_with_their_number() {
        let mut attempts = RetryPolicy::login(3).start(Duration::from_secs(60));
        assert!(attempts.next_pause(1).is_some_and(|pause| pause < Duration::from_millis(100)));
        assert!(attempts.next_pause(2).is_some_and(|pause| pause < Duration::from_millis(200)));
        assert_eq!(attempts.next_pause(3), None);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_end_with_their_share_of_the_time() {
        let mut attempts = RetryPolicy::login(1000).start(Duration::from_secs(40));
        let start = Instant::now();
        let mut made = 1;
        while let Some(pause) = attempts.next_pause(made) {
            assert!(pause <= Duration::from_secs(2));
            tokio::time::advance(pause).await;
            made += 1;
        }
        assert!(start.elapsed() <= Duration::from_secs(10), "{:?}", start.elapsed());
        assert!(made > 4, "{made}");
    }
}
