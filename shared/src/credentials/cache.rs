//! A cache in front of any provider, which never serves expired credentials. It knows nothing of RDS
//! and of roles.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_smithy_async::time::SharedTimeSource;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::failure::Failure;

/// Credentials with less life left than this are renewed before use. AWS's own SDKs renew ahead
/// of expiry too; five minutes leave room for several attempts at STS.
pub const REFRESH_BUFFER: Duration = Duration::from_secs(300);
/// After a failed load, callers share the failure for this long instead of asking again.
pub const FAILURE_BACKOFF: Duration = Duration::from_millis(500);
/// How long a renewal may take while the old credentials still live. A silent STS must not use up the
/// invocation; an answer takes some 50 ms.
pub const RENEWAL_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failed renewal, the old credentials are served for this long before the next attempt. In
/// [`REFRESH_BUFFER`] there is room for ten of them.
pub const RENEWAL_BACKOFF: Duration = Duration::from_secs(30);

/// A cache in front of any provider: one load at a time, ahead of expiry, by the wall clock.
///
/// - Callers that arrive while a load is under way wait for it and share its result.
/// - Credentials are renewed [`REFRESH_BUFFER`] before they expire. If that fails, or takes longer than
///   [`RENEWAL_TIMEOUT`], the old ones are served, with a warning, and the next attempt comes after
///   [`RENEWAL_BACKOFF`].
/// - Without living credentials, a failure is shared with the callers of the next
///   [`FAILURE_BACKOFF`], and then tried again; how long a load takes is the caller's to bound.
/// - Nothing runs in the background: a frozen sandbox has no timers.
///
/// # Cancel safety
/// A caller that is dropped while it loads leaves the cache as it was; the next waiter loads.
pub struct CachingProvider<P> {
    inner: P,
    clock: SharedTimeSource,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    current: Option<Credentials>,
    /// Whether a server refused the current ones: they are renewed at once.
    refused: bool,
    failure: Option<(SystemTime, Arc<CredentialsError>)>,
}

impl<P: ProvideCredentials> CachingProvider<P> {
    /// Puts a cache in front of `inner`, with expiry judged by `clock`.
    pub fn new(inner: P, clock: SharedTimeSource) -> Self {
        Self { inner, clock, state: Mutex::default() }
    }

    /// Cached credentials, or fresh ones.
    ///
    /// # Errors
    /// As the provider, unless living credentials are cached.
    pub async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let lives_past = |credentials: &Credentials, time: SystemTime| {
            credentials.expiry().is_none_or(|expiry| expiry > time)
        };
        if let Some(current) = &state.current
            && !state.refused
            && lives_past(current, now + REFRESH_BUFFER)
        {
            return Ok(current.clone());
        }
        let still_alive = state.current.clone().filter(|current| lives_past(current, now));
        let failed =
            |error: &Arc<CredentialsError>| CredentialsError::provider_error(error.clone());
        if let Some((since, error)) = &state.failure {
            let renews_early = still_alive.is_some() && !state.refused;
            let backoff = if renews_early { RENEWAL_BACKOFF } else { FAILURE_BACKOFF };
            let age = now.duration_since(*since).unwrap_or(backoff);
            if age < backoff {
                return still_alive.ok_or_else(|| failed(error));
            }
        }
        let load = self.inner.provide_credentials();
        let loaded = match &still_alive {
            Some(_) => timeout(RENEWAL_TIMEOUT, load)
                .await
                .unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(RENEWAL_TIMEOUT))),
            None => load.await,
        };
        match loaded {
            Ok(fresh) => {
                *state = State { current: Some(fresh.clone()), ..State::default() };
                Ok(fresh)
            }
            Err(error) => {
                let error = Arc::new(error);
                state.failure = Some((self.clock.now(), error.clone()));
                match still_alive {
                    Some(current) => {
                        tracing::warn!(
                            reason = Failure::of(&error).to_string(),
                            "credentials could not be renewed; the old ones are still valid"
                        );
                        Ok(current)
                    }
                    None => Err(failed(&error)),
                }
            }
        }
    }

    /// Has `stale` renewed by the next caller, after a server refused it. If that fails they are served
    /// while they live, because a throttled login looks like a refusal. Nothing happens if another
    /// caller has renewed them already.
    pub async fn invalidate(&self, stale: &Credentials) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|c| c.access_key_id() == stale.access_key_id()) {
            state.refused = true;
        }
    }
}

impl<P: ProvideCredentials> ProvideCredentials for CachingProvider<P> {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

impl<P: fmt::Debug> fmt::Debug for CachingProvider<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachingProvider").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_async::test_util::ManualTimeSource;
    use aws_smithy_async::time::TimeSource;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

    const HOUR: Duration = Duration::from_secs(3600);

    /// Issues one-hour credentials `K1`, `K2`, …, or fails while `failing`.
    #[derive(Clone, Debug, Default)]
    struct Issuer {
        calls: Arc<AtomicU32>,
        failing: Arc<AtomicU32>,
        silent: Arc<AtomicBool>,
        clock: ManualTimeSourceHandle,
    }

    #[derive(Clone, Debug)]
    struct ManualTimeSourceHandle(ManualTimeSource);
    impl Default for ManualTimeSourceHandle {
        fn default() -> Self {
            Self(ManualTimeSource::new(SystemTime::UNIX_EPOCH))
        }
    }

    impl ProvideCredentials for Issuer {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::new(async {
                let call = self.calls.fetch_add(1, SeqCst) + 1;
                tokio::task::yield_now().await;
                if self.silent.load(SeqCst) {
                    std::future::pending::<()>().await;
                }
                if self.failing.load(SeqCst) > 0 {
                    return Err(CredentialsError::provider_error(Failure::NotSts));
                }
                let expiry = self.clock.0.now() + HOUR;
                Ok(Credentials::new(format!("K{call}"), "s", None, Some(expiry), "test"))
            })
        }
    }

    fn cache() -> (Issuer, Arc<CachingProvider<Issuer>>) {
        let issuer = Issuer::default();
        let clock = SharedTimeSource::new(issuer.clock.0.clone());
        (issuer.clone(), Arc::new(CachingProvider::new(issuer, clock)))
    }

    async fn key(cache: &CachingProvider<Issuer>) -> String {
        cache.get().await.unwrap().access_key_id().to_owned()
    }

    #[tokio::test]
    async fn a_burst_of_callers_makes_one_call() {
        let (issuer, cache) = cache();
        let callers: Vec<_> = (0..500)
            .map(|_| {
                tokio::spawn({
                    let cache = cache.clone();
                    async move { key(&cache).await }
                })
            })
            .collect();
        for caller in callers {
            assert_eq!(caller.await.unwrap(), "K1");
        }
        assert_eq!(issuer.calls.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn credentials_are_renewed_ahead_of_expiry() {
        let (issuer, cache) = cache();
        assert_eq!(key(&cache).await, "K1");
        issuer.clock.0.advance(HOUR - REFRESH_BUFFER - Duration::from_secs(1));
        assert_eq!(key(&cache).await, "K1");
        issuer.clock.0.advance(Duration::from_secs(2));
        assert_eq!(key(&cache).await, "K2");
    }

    #[tokio::test]
    async fn a_failed_renewal_serves_the_living_and_never_the_dead() {
        let (issuer, cache) = cache();
        assert_eq!(key(&cache).await, "K1");
        issuer.failing.store(1, SeqCst);
        issuer.clock.0.advance(HOUR - Duration::from_secs(60));
        assert_eq!(key(&cache).await, "K1");
        issuer.clock.0.advance(Duration::from_secs(60));
        let error = cache.get().await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::NotSts);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_renewal_costs_a_second_and_is_not_repeated_at_once() {
        let (issuer, cache) = cache();
        assert_eq!(key(&cache).await, "K1");
        issuer.silent.store(true, SeqCst);
        issuer.clock.0.advance(HOUR - REFRESH_BUFFER);
        let start = tokio::time::Instant::now();
        assert_eq!(key(&cache).await, "K1");
        assert_eq!(start.elapsed(), RENEWAL_TIMEOUT);
        issuer.clock.0.advance(RENEWAL_BACKOFF - Duration::from_secs(1));
        assert_eq!(key(&cache).await, "K1");
        assert_eq!((start.elapsed(), issuer.calls.load(SeqCst)), (RENEWAL_TIMEOUT, 2));
        issuer.silent.store(false, SeqCst);
        issuer.clock.0.advance(Duration::from_secs(1));
        assert_eq!(key(&cache).await, "K3");
    }

    #[tokio::test]
    async fn failures_are_shared_for_a_moment_and_then_tried_again() {
        let (issuer, cache) = cache();
        issuer.failing.store(1, SeqCst);
        for _ in 0..100 {
            assert!(cache.get().await.is_err());
        }
        assert_eq!(issuer.calls.load(SeqCst), 1);
        issuer.failing.store(0, SeqCst);
        issuer.clock.0.advance(FAILURE_BACKOFF);
        assert_eq!(key(&cache).await, "K2");
    }

    #[tokio::test]
    async fn a_cancelled_caller_does_not_block_the_others() {
        let (_, cache) = cache();
        let leader = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get().await }
        });
        tokio::task::yield_now().await;
        leader.abort();
        assert_eq!(key(&cache).await, "K2");
    }

    #[tokio::test(start_paused = true)]
    async fn refused_credentials_are_renewed_and_served_while_the_source_is_silent() {
        let (issuer, cache) = cache();
        let first = cache.get().await.unwrap();
        issuer.silent.store(true, SeqCst);
        cache.invalidate(&first).await;
        let start = tokio::time::Instant::now();
        assert_eq!(key(&cache).await, "K1");
        assert_eq!((start.elapsed(), issuer.calls.load(SeqCst)), (RENEWAL_TIMEOUT, 2));
        issuer.silent.store(false, SeqCst);
        issuer.clock.0.advance(FAILURE_BACKOFF);
        assert_eq!(key(&cache).await, "K3");
        assert_eq!(key(&cache).await, "K3");
        cache.invalidate(&cache.get().await.unwrap()).await;
        issuer.failing.store(1, SeqCst);
        issuer.clock.0.advance(HOUR);
        assert!(cache.get().await.is_err(), "the dead are never served");
    }

    #[tokio::test]
    async fn invalidating_replaced_credentials_does_nothing() {
        let (_, cache) = cache();
        let first = cache.get().await.unwrap();
        cache.invalidate(&first).await;
        assert_eq!(key(&cache).await, "K2");
        cache.invalidate(&first).await;
        assert_eq!(key(&cache).await, "K2");
    }
}
