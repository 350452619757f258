//! Clients of AWS's services, and the clock in their answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use aws_smithy_types::retry::RetryConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use rds_iam::Config;

use crate::clock::evidence::Clock;
use crate::environment::Environment;

pub(crate) async fn sdk(region: &str, keys: Keys) -> SdkConfig {
    let mut builder = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .retry_config(RetryConfig::disabled())
        .load()
        .await
        .into_builder();
    // An empty AWS_ENDPOINT_URL_… counts as unset; the SDK would take it for an endpoint.
    builder.set_service_config(Some(NoServiceConfig));
    builder.build()
}

pub(crate) fn endpoint(environment: &Environment, service: &str) -> Option<String> {
    let own = environment.get(&format!("AWS_ENDPOINT_URL_{service}"));
    own.or_else(|| environment.get("AWS_ENDPOINT_URL")).map(str::to_owned)
}

fn is_this_machine(url: &str) -> bool {
    let authority = url.split("://").nth(1).unwrap_or_default();
    ["127.", "localhost", "[::1]", "host.docker.internal"].iter().any(|h| authority.starts_with(h))
}

/// The configuration of a service's client in the database's region. `None` where STS is this machine's
/// and the service is not: such keys are not AWS's.
pub(crate) fn for_service(
    environment: &Environment,
    sdk: &SdkConfig,
    config: &Config,
    service: &str,
) -> Option<SdkConfig> {
    let own = endpoint(environment, service);
    if own.is_none() && endpoint(environment, "STS").is_some_and(|url| is_this_machine(&url)) {
        return None;
    }
    let mut builder = sdk.clone().into_builder();
    builder.set_endpoint_url(own);
    builder.set_region(Some(Region::new(config.common.region.clone())));
    Some(builder.build())
}

/// Compares the `Date` of each answer, refusals too, with this machine's clock.
#[derive(Clone, Debug)]
pub(crate) struct Dates {
    clock: SharedTimeSource,
    seen: Arc<Mutex<Option<Clock>>>,
}

impl Dates {
    pub(crate) fn beside(clock: &SharedTimeSource) -> Self {
        Self { clock: clock.clone(), seen: Arc::default() }
    }

    /// The clocks at the last answer, if there was one.
    pub(crate) fn last(&self) -> Option<Clock> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Intercept for Dates {
    fn name(&self) -> &'static str {
        "Dates"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date");
        let format = aws_smithy_types::date_time::Format::HttpDate;
        let there = date.and_then(|text| aws_smithy_types::DateTime::from_str(text, format).ok());
        let here = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        if let Some(there) = there {
            let here = i64::try_from(here.as_secs()).unwrap_or(i64::MAX);
            let clock = Clock { ahead: here - there.secs(), source: "AWS's clock" };
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock);
        }
        Ok(())
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
