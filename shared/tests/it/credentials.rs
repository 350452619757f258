//! The credential cache under a crowd, and through a day of freezes and failures.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_async::test_util::ManualTimeSource;
use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use rds_iam::credentials::{CachingProvider, FAILURE_BACKOFF, REFRESH_BUFFER};

const HOUR: Duration = Duration::from_secs(3600);

/// An STS that takes its time, can fail, and issues keys for an hour.
#[derive(Clone, Debug)]
struct Sts {
    clock: ManualTimeSource,
    takes: Duration,
    down: Arc<AtomicBool>,
    issued: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
}

impl Sts {
    fn new(takes: Duration) -> Self {
        Self {
            clock: ManualTimeSource::new(SystemTime::UNIX_EPOCH + HOUR),
            takes,
            down: Arc::default(),
            issued: Arc::default(),
            refused: Arc::default(),
        }
    }

    fn cache(&self) -> Arc<CachingProvider<Self>> {
        let clock = SharedTimeSource::new(self.clock.clone());
        Arc::new(CachingProvider::new(self.clone(), clock))
    }
}

impl ProvideCredentials for Sts {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            tokio::time::sleep(self.takes).await;
            if self.down.load(SeqCst) {
                self.refused.fetch_add(1, SeqCst);
                return Err(CredentialsError::provider_error("STS is down"));
            }
            let number = self.issued.fetch_add(1, SeqCst) + 1;
            let expiry = self.clock.now() + HOUR;
            Ok(Credentials::new(format!("ASIA{number}"), "secret", None, Some(expiry), "test"))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_make_one_call() {
    let sts = Sts::new(Duration::from_secs(2));
    let cache = sts.cache();
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get().await.unwrap().access_key_id().to_owned() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), "ASIA1");
    }
    assert_eq!(sts.issued.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_share_one_failure_in_time() {
    let sts = Sts::new(Duration::from_secs(2));
    sts.down.store(true, SeqCst);
    let cache = sts.cache();
    let start = tokio::time::Instant::now();
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let cache = cache.clone();
            tokio::spawn(async move { cache.get().await.is_err() })
        })
        .collect();
    for caller in callers {
        assert!(caller.await.unwrap());
    }
    assert_eq!(sts.refused.load(SeqCst), 1);
    assert!(start.elapsed() < Duration::from_secs(3));
}

/// A plain cache: renews when less than the buffer is left, and keeps living credentials if that fails.
#[derive(Default)]
struct Model {
    expiry: Option<SystemTime>,
    renewals: usize,
}

impl Model {
    fn get(&mut self, now: SystemTime, down: bool) {
        let fresh = self.expiry.is_some_and(|expiry| expiry > now + REFRESH_BUFFER);
        if !fresh && !down {
            self.renewals += 1;
            self.expiry = Some(now + HOUR);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_of_freezes_with_an_sts_that_fails_one_time_in_five() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let sts = Sts::new(Duration::ZERO);
        let cache = sts.cache();
        let mut model = Model::default();
        let end = sts.clock.now() + 24 * HOUR;
        let mut last_failure: Option<SystemTime> = None;
        let mut logins = 0;
        while sts.clock.now() < end {
            // Mostly busy, now and then frozen for minutes or hours.
            let pause = match random.u32(0..40) {
                0..16 => Duration::from_millis(random.u64(1..400)),
                16..39 => Duration::from_secs(random.u64(1..120)),
                _ => Duration::from_secs(random.u64(600..3 * 3600)),
            };
            sts.clock.advance(pause);
            let now = sts.clock.now();
            let down = random.u32(0..5) == 0;
            sts.down.store(down, SeqCst);
            model.get(now, down);

            let refused_before = sts.refused.load(SeqCst);
            match cache.get().await {
                Ok(credentials) => {
                    assert!(credentials.expiry().unwrap() > now, "dead credentials, seed {seed}");
                    logins += 1;
                }
                Err(_) => {
                    let shared = last_failure.is_some_and(|at| now < at + FAILURE_BACKOFF);
                    assert!(down || shared, "refused while STS could answer, seed {seed}");
                }
            }
            if sts.refused.load(SeqCst) > refused_before {
                let apart = last_failure.is_none_or(|at| now >= at + FAILURE_BACKOFF);
                assert!(apart, "two failed calls within one back-off, seed {seed}");
                last_failure = Some(now);
            }
        }
        let issued = sts.issued.load(SeqCst);
        assert!(issued <= model.renewals, "{issued} calls, the model {}", model.renewals);
        assert!(logins > 100 && issued > 3, "{logins} logins, {issued} calls, seed {seed}");
    }
}
