//! Role credentials: where they come from. A [`CachingProvider`] stands in front.
//!
//! Three sources, in this order: Lambda's environment variables, read directly with no SDK start-up
//! and no network; else aws-config's default chain (profiles, web identity, container); and, when
//! `DB_ROLE_ARN` is set, a role assumed through STS with those.

mod cache;

use std::fmt;

use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_types::region::Region;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use tokio::sync::OnceCell;

pub use cache::{CachingProvider, FAILURE_BACKOFF, REFRESH_BUFFER};

use crate::config::Config;
use crate::error::{Error, ErrorKind};

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
        let base = self.base().await;
        let Some(role) = &self.role else {
            return base;
        };
        let mut sdk = aws_config::defaults(aws_config::BehaviorVersion::latest())
            .region(self.region.clone())
            .credentials_provider(base.clone())
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

/// What an access key id tells of its kind, without the id
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>).
pub fn key_kind(access_key_id: &str) -> &'static str {
    match access_key_id.get(..4) {
        Some("ASIA") => "temporary credentials (ASIA…)",
        Some("AKIA") => "a user's long-lived key (AKIA…)",
        _ => "a key of unknown kind",
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
