//! Credentials from the default chain, and from a role assumed through STS.

use std::fmt;

use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use tokio::sync::OnceCell;

use super::{EnvironmentProvider, Role};

/// The uncached source of credentials that the environment and `DB_ROLE_ARN` name.
///
/// Three sources, in this order: Lambda's environment variables, read directly with no SDK start-up
/// and no network; else the SDK's default chain (profiles, web identity, container); and, with a
/// [`Role`], the role that STS hands out for those.
pub struct RawProvider {
    region: Region,
    role: Option<Role>,
    sts_endpoint: Option<String>,
    inner: OnceCell<SharedCredentialsProvider>,
}

impl RawProvider {
    /// A source that assumes `role`, if there is one. `region` is the one whose STS is called; in a
    /// private subnet that is the function's own, where its VPC endpoint is. Nothing is read or
    /// called yet.
    pub fn new(
        region: impl Into<String>,
        role: Option<Role>,
        sts_endpoint: Option<String>,
    ) -> Self {
        Self { region: Region::new(region.into()), role, sts_endpoint, inner: OnceCell::new() }
    }

    /// The environment's keys or the default chain, with no role assumed.
    pub fn for_region(region: impl Into<String>) -> Self {
        Self::new(region, None, None)
    }

    /// Built on first use: an SDK start-up that a warm or role-less function never pays for.
    async fn source(&self) -> SharedCredentialsProvider {
        let base = self.base().await;
        let Some(role) = &self.role else {
            return base;
        };
        let mut sdk = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(base.clone())
            // Not from AWS_RETRY_MODE and AWS_MAX_ATTEMPTS: a wrong value there is a panic of the SDK.
            .retry_config(aws_config::retry::RetryConfig::standard())
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
        SharedCredentialsProvider::new(assume.build_from_provider(base).await)
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
