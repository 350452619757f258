//! Whose credentials `rds-local token` signs with: a profile's, the environment's, or a role's that
//! is assumed with either.

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use rds_iam::credentials::RawProvider;

/// The options of the command line that name a principal.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Principal {
    /// Sign with a profile of ~/.aws, whatever keys the environment holds
    #[arg(long)]
    profile: Option<String>,
    /// Assume this role, and sign with its session
    #[arg(long, value_name = "ARN")]
    role_arn: Option<String>,
    // Not shown by Debug of whatever holds it: see `Secret`.
    /// External id that the role's trust policy asks for
    #[arg(long, value_name = "ID", requires = "role_arn")]
    external_id: Option<Secret>,
}

/// A text that `Debug` does not show.
#[derive(Clone)]
struct Secret(String);

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Principal {
    /// The provider of its credentials; STS is called in this region.
    pub async fn provider(&self, region: &str) -> SharedCredentialsProvider {
        let base = match &self.profile {
            Some(profile) => SharedCredentialsProvider::new(
                ProfileFileCredentialsProvider::builder().profile_name(profile).build(),
            ),
            None => SharedCredentialsProvider::new(RawProvider::for_region(region)),
        };
        let Some(arn) = &self.role_arn else { return base };
        let mut sdk = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .credentials_provider(base.clone())
            .load()
            .await
            .into_builder();
        // An empty variable counts as unset; the SDK would take it for an endpoint.
        let endpoint = std::env::var("AWS_ENDPOINT_URL_STS").ok().filter(|url| !url.is_empty());
        sdk.set_service_config(Some(NoServiceConfig)).set_endpoint_url(endpoint);
        let mut role = AssumeRoleProvider::builder(arn)
            .session_name("rds-local")
            .region(Region::new(region.to_owned()))
            .configure(&sdk.build());
        if let Some(Secret(external_id)) = &self.external_id {
            role = role.external_id(external_id);
        }
        SharedCredentialsProvider::new(role.build_from_provider(base).await)
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
