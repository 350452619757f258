//! The credentials, as a function resolves them, and a token.

use std::time::Duration;

use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::Config;
use rds_iam::credentials::{RawProvider, key_kind, unavailable};
use tokio::time::{Instant, timeout_at};

use super::{Signer, bound, iso8601};
use crate::environment::Environment;
use crate::evidence::Credentials;
use crate::report::{Status, Step};

/// STS answers in some 50 ms.
const LONGEST: Duration = Duration::from_millis(2500);

pub(super) async fn resolve(
    environment: &Environment,
    config: Option<&Config>,
    clock: &SharedTimeSource,
    deadline: Instant,
) -> Signer {
    let start = Instant::now();
    let mut signer = Signer::default();
    let provider = match config {
        Some(config) => config.credentials(),
        None => aws_credential_types::provider::SharedCredentialsProvider::new(
            RawProvider::for_region(environment.get("AWS_REGION").unwrap_or("us-east-1")),
        ),
    };
    let resolved = timeout_at(bound(deadline, LONGEST), provider.provide_credentials()).await;
    let source = source(environment, config);
    let (status, found) = match resolved {
        Err(_) => {
            signer.credentials = Credentials::Silent;
            (Status::Failed, format!("{source} did not answer in time"))
        }
        Ok(Err(error)) => {
            let why = unavailable(&error).to_string();
            signer.credentials = Credentials::Missing(why.clone());
            (Status::Failed, why)
        }
        Ok(Ok(keys)) => {
            let kind = match keys.access_key_id().get(..4) {
                Some("AKIA") => "AKIA",
                Some("ASIA") => "ASIA",
                _ => "other",
            };
            let session_token = keys.session_token().is_some();
            let expiry = keys.expiry();
            let mut found = format!("{source}: {}", key_kind(keys.access_key_id()));
            if let Some(expiry) = expiry {
                found += &format!(", until {}", iso8601(expiry));
            }
            let mixed = (kind == "ASIA") != session_token && kind != "other";
            if mixed {
                found += if session_token {
                    ", with a session token that a long-lived key does not have"
                } else {
                    ", without the session token that belongs to them"
                };
            }
            signer.credentials = Credentials::Found { kind, session_token, expiry };
            signer.keys = Some(keys);
            (if mixed { Status::Failed } else { Status::Ok }, found)
        }
    };
    signer.steps.push(Step::new("credentials", status, start.elapsed(), found));
    sign(config, clock, &mut signer);
    signer
}

fn sign(config: Option<&Config>, clock: &SharedTimeSource, signer: &mut Signer) {
    let start = Instant::now();
    let (Some(config), Some(keys)) = (config, &signer.keys) else {
        signer.steps.push(Step::skipped("token", "there is nothing to sign with, or for"));
        return;
    };
    let step = match config.token_signer().sign(keys, clock.now()) {
        Ok(token) => {
            let endpoint = &config.endpoint;
            let found = format!(
                "for {} at {}:{} in {}, until {}",
                config.user,
                endpoint.host,
                endpoint.port,
                config.region,
                iso8601(token.expires_at())
            );
            signer.token = Some(token);
            Step::new("token", Status::Ok, start.elapsed(), found)
        }
        Err(error) => Step::new("token", Status::Failed, start.elapsed(), error.to_string()),
    };
    signer.steps.push(step);
}

/// Where the credentials come from, in the order in which they are looked for.
pub(crate) fn source(environment: &Environment, config: Option<&Config>) -> String {
    let has = |name| environment.has(name);
    let base = if has("AWS_ACCESS_KEY_ID") {
        "the environment's keys".to_owned()
    } else if let Some(profile) = environment.get("AWS_PROFILE") {
        format!("profile {profile}")
    } else if has("AWS_WEB_IDENTITY_TOKEN_FILE") {
        "a web identity".to_owned()
    } else if has("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        || has("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    {
        "the container's role".to_owned()
    } else {
        "the default profile, or the machine's role".to_owned()
    };
    match config.and_then(|config| config.role.as_ref()) {
        Some(role) => format!("{} assumed with {base}", role.arn),
        None => base,
    }
}
