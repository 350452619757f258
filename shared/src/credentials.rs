//! Role credentials: where they come from, and a cache in front that never serves dead ones.
//!
//! Three sources, in this order: Lambda's environment variables, read directly with no SDK start-up
//! and no network; else aws-config's default chain (profiles, web identity, container); and, when
//! `DB_ROLE_ARN` is set, a role assumed through STS with those.
//! [`CachingProvider`] knows nothing of RDS or of roles: it works for any [`ProvideCredentials`].

use std::fmt;
use std::time::{Duration, SystemTime};

use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_async::time::SharedTimeSource;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use tokio::sync::{Mutex, OnceCell};

use crate::config::Config;
use crate::error::{Error, ErrorKind};

/// Credentials with less life left than this are renewed before use. AWS's own SDKs renew ahead
/// of expiry too; five minutes leave room for several attempts at STS.
pub const REFRESH_BUFFER: Duration = Duration::from_secs(300);
/// After a failed load, callers share the failure for this long instead of asking again.
pub const FAILURE_BACKOFF: Duration = Duration::from_millis(500);

/// The uncached source that the environment and `DB_ROLE_ARN` name.
pub struct RawProvider {
    region: Region,
    role: Option<crate::config::Role>,
    sts_endpoint: Option<String>,
    inner: OnceCell<SharedCredentialsProvider>,
}

impl RawProvider {
    /// The source that a configuration asks for. Nothing is read or called yet.
    pub fn new(config: &Config) -> Self {
        // STS is called in the function's own region: that is where its VPC endpoint is.
        let region = std::env::var("AWS_REGION").ok().filter(|r| !r.is_empty());
        Self {
            region: Region::new(region.unwrap_or_else(|| config.region.clone())),
            role: config.role.clone(),
            sts_endpoint: config.sts_endpoint.clone(),
            inner: OnceCell::new(),
        }
    }

    /// The environment's keys or the default chain, with no role assumed.
    pub fn for_region(region: impl Into<String>) -> Self {
        Self {
            region: Region::new(region.into()),
            role: None,
            sts_endpoint: None,
            inner: OnceCell::new(),
        }
    }

    /// Built on first use: an SDK start-up that a warm or role-less function never pays for.
    async fn source(&self) -> SharedCredentialsProvider {
        let Some(role) = &self.role else {
            return self.base().await;
        };
        let mut sdk = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(self.base().await)
            .load()
            .await
            .into_builder();
        // The SDK would take an empty AWS_ENDPOINT_URL_STS for an endpoint, and SAM cannot leave one
        // out: Config has read it.
        sdk.set_service_config(Some(NoServiceConfig)).set_endpoint_url(self.sts_endpoint.clone());
        let sdk = sdk.build();
        let mut assume = AssumeRoleProvider::builder(&role.arn)
            .session_name(&role.session_name)
            .region(self.region.clone())
            .configure(&sdk);
        if let Some(external_id) = &role.external_id {
            assume = assume.external_id(external_id);
        }
        SharedCredentialsProvider::new(assume.build_from_provider(self.base().await).await)
    }

    async fn base(&self) -> SharedCredentialsProvider {
        if std::env::var_os("AWS_ACCESS_KEY_ID").is_some_and(|id| !id.is_empty()) {
            return SharedCredentialsProvider::new(EnvironmentProvider);
        }
        let chain = aws_config::default_provider::credentials::DefaultCredentialsChain::builder()
            .region(self.region.clone())
            .build()
            .await;
        SharedCredentialsProvider::new(chain)
    }
}

impl ProvideCredentials for RawProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            self.inner.get_or_init(|| self.source()).await.provide_credentials().await
        })
    }
}

impl fmt::Debug for RawProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawProvider").field("role", &self.role.as_ref().map(|r| &r.arn)).finish()
    }
}

/// Leaves settings of single services in the environment unread.
#[derive(Debug)]
struct NoServiceConfig;

impl LoadServiceConfig for NoServiceConfig {
    fn load_config(&self, _: ServiceConfigKey<'_>) -> Option<String> {
        None
    }
}

/// The credentials that Lambda puts into the environment.
#[derive(Debug)]
struct EnvironmentProvider;

impl EnvironmentProvider {
    fn read(get: impl Fn(&str) -> Option<String>) -> Result<Credentials, CredentialsError> {
        let variable = |name: &str| match get(name).filter(|value| !value.is_empty()) {
            Some(value) => check_pasted(name, &value).map(|()| Some(value)),
            None => Ok(None),
        };
        let key_id = variable("AWS_ACCESS_KEY_ID")?
            .ok_or_else(|| CredentialsError::not_loaded("AWS_ACCESS_KEY_ID is not set"))?;
        let secret = variable("AWS_SECRET_ACCESS_KEY")?.ok_or_else(|| {
            CredentialsError::invalid_configuration(
                "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not",
            )
        })?;
        let session_token = variable("AWS_SESSION_TOKEN")?;
        Ok(Credentials::new(key_id, secret, session_token, None, "Environment"))
    }
}

impl ProvideCredentials for EnvironmentProvider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Self::read(|name| std::env::var(name).ok()))
    }
}

/// Refuses what a careless paste leaves behind, and what no key can be. The value itself is never
/// repeated.
fn check_pasted(name: &str, value: &str) -> Result<(), CredentialsError> {
    let key_id = name == "AWS_ACCESS_KEY_ID";
    let flaw = if value.contains(['"', '\'']) {
        "holds quotes, as jq without -r writes"
    } else if value.contains(['\n', '\r']) {
        "holds a line break"
    } else if value.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        "holds a space or another character that no AWS key has"
    } else if key_id && value == "defaultkey" {
        "is what sam local injects when it finds no credentials: export some before you start it"
    } else if key_id && !value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        "is not of a key id's form (letters and digits, AKIA… or ASIA…); is it the secret?"
    } else {
        return Ok(());
    };
    Err(CredentialsError::invalid_configuration(format!("{name} {flaw}; set it again")))
}

/// A cache in front of any provider: one load at a time, ahead of expiry, by the wall clock.
///
/// - Callers that arrive while a load is under way wait for it and share its result.
/// - Credentials are renewed [`REFRESH_BUFFER`] before they expire. If that fails and the old ones
///   still live, they are served, with a warning.
/// - A failure is shared with the callers of the next [`FAILURE_BACKOFF`], and then tried again.
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
    failure: Option<(SystemTime, String)>,
}

impl<P: ProvideCredentials> CachingProvider<P> {
    /// Puts a cache in front of `inner`, with expiry judged by `clock`.
    pub fn new(inner: P, clock: SharedTimeSource) -> Self {
        Self { inner, clock, state: Mutex::default() }
    }

    /// Cached credentials, or fresh ones.
    pub async fn get(&self) -> Result<Credentials, CredentialsError> {
        let mut state = self.state.lock().await;
        let now = self.clock.now();
        let lives_past = |credentials: &Credentials, time: SystemTime| {
            credentials.expiry().is_none_or(|expiry| expiry > time)
        };
        if let Some(current) = &state.current
            && lives_past(current, now + REFRESH_BUFFER)
        {
            return Ok(current.clone());
        }
        let still_alive = state.current.clone().filter(|current| lives_past(current, now));
        if let Some((since, message)) = &state.failure {
            let age = now.duration_since(*since).unwrap_or(FAILURE_BACKOFF);
            if age < FAILURE_BACKOFF {
                return still_alive
                    .ok_or_else(|| CredentialsError::provider_error(message.clone()));
            }
        }
        match self.inner.provide_credentials().await {
            Ok(fresh) => {
                state.failure = None;
                state.current = Some(fresh.clone());
                Ok(fresh)
            }
            Err(error) => {
                let message = explain(&error);
                state.failure = Some((self.clock.now(), message.clone()));
                match still_alive {
                    Some(current) => {
                        tracing::warn!(
                            reason = message,
                            "credentials could not be renewed; the old ones are still valid"
                        );
                        Ok(current)
                    }
                    None => Err(CredentialsError::provider_error(message)),
                }
            }
        }
    }

    /// Forgets `stale` after the server refused it. Nothing happens if another caller already did.
    pub async fn invalidate(&self, stale: &Credentials) {
        let mut state = self.state.lock().await;
        if state.current.as_ref().is_some_and(|c| c.access_key_id() == stale.access_key_id()) {
            state.current = None;
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

/// The crate's error for credentials that could not be had.
pub(crate) fn unavailable(error: &CredentialsError) -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials could be had")
        .because(explain(error))
        .remedy("Check the function's role, DB_ROLE_ARN and DB_ROLE_EXTERNAL_ID, and that a VPC endpoint for STS exists if a role is assumed")
}

/// What a provider's error says down to its cause, such as what STS answered.
fn explain(error: &CredentialsError) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        let sts = error.downcast_ref::<SdkError<AssumeRoleError>>();
        if let Some(refusal) = sts.and_then(SdkError::as_service_error) {
            let code = refusal.code().unwrap_or("an error without a code");
            let message = refusal.message().unwrap_or("no message");
            return format!("STS refused the role: {code}: {message}");
        }
        // The SDK quotes whole requests in some errors, session token and external id included.
        // What it quotes is in braces or quotation marks: nothing from there on is repeated.
        let text = error.to_string();
        let text = text.split(['{', '`', '"']).next().unwrap_or_default().trim();
        let text = text.trim_end_matches(|c: char| c == ':' || c.is_whitespace());
        if !text.is_empty() && !parts.iter().any(|part| part.contains(text)) {
            parts.push(text.to_owned());
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_async::test_util::ManualTimeSource;
    use aws_smithy_async::time::TimeSource;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    const HOUR: Duration = Duration::from_secs(3600);

    /// Issues one-hour credentials `K1`, `K2`, …, or fails while `failing`.
    #[derive(Clone, Debug, Default)]
    struct Issuer {
        calls: Arc<AtomicU32>,
        failing: Arc<AtomicU32>,
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
                if self.failing.load(SeqCst) > 0 {
                    return Err(CredentialsError::provider_error("STS said no"));
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
        assert!(explain(&error).contains("STS said no"));
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
    async fn a_cancelled_leader_strands_nobody() {
        let (_, cache) = cache();
        let leader = tokio::spawn({
            let cache = cache.clone();
            async move { cache.get().await }
        });
        tokio::task::yield_now().await;
        leader.abort();
        assert_eq!(key(&cache).await, "K2");
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

    #[test]
    fn pasted_keys_are_refused_without_repeating_them() {
        for (secret, flaw) in [("\"abc\"", "jq"), ("abc\n", "line break"), ("a bc", "space")] {
            let error = EnvironmentProvider::read(|name| match name {
                "AWS_ACCESS_KEY_ID" => Some("AKIDEXAMPLE".into()),
                "AWS_SECRET_ACCESS_KEY" => Some(secret.into()),
                _ => None,
            })
            .unwrap_err();
            let text = explain(&error);
            assert!(text.contains("AWS_SECRET_ACCESS_KEY") && text.contains(flaw), "{text}");
            assert!(!text.contains("abc"), "{text}");
        }
    }

    #[test]
    fn impossible_key_ids_are_refused_without_repeating_them() {
        for (id, flaw) in [("wJalr/K7MDENG+bPx", "is it the secret"), ("defaultkey", "sam local")] {
            let error = EnvironmentProvider::read(|_| Some(id.into())).unwrap_err();
            let text = explain(&error);
            assert!(text.contains(flaw) && !text.contains(id), "{text}");
        }
    }
}
