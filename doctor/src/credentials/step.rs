//! The credentials, as a function resolves them, and a token.

mod profile;
mod source;
mod token_file;

use std::error::Error;
use std::time::Duration;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_async::time::SharedTimeSource;
use aws_smithy_runtime_api::client::result::ConnectorError;
use rds_iam::Config;
use rds_iam::credentials::{Failure, KeyKind, RawProvider, key_flaws, unavailable};
use rds_iam::token::AuthToken;
use tokio::time::{Instant, timeout_at};

use crate::credentials::evidence::{Credentials, Source};
use crate::environment::Environment;
use crate::report::{Status, Step};
use crate::times::{bound, iso8601};

/// The credentials, and a token.
#[derive(Default)]
pub(crate) struct Signer {
    pub(crate) credentials: Credentials,
    pub(crate) keys: Option<Keys>,
    pub(crate) token: Option<AuthToken>,
    pub(crate) steps: Vec<Step>,
}

/// STS answers in some 50 ms.
const LONGEST: Duration = Duration::from_millis(2500);

pub(crate) async fn resolve(
    environment: &Environment,
    config: Option<&Config>,
    clock: &SharedTimeSource,
    deadline: Instant,
) -> Signer {
    let start = Instant::now();
    let mut signer = Signer::default();
    let by_sdk = !environment.has("AWS_ACCESS_KEY_ID")
        || config.is_none_or(|config| config.common.role.is_some());
    if let Some(why) = environment.without_sdk().filter(|_| by_sdk) {
        signer.steps = ["credentials", "token"].map(|name| Step::skipped(name, &why)).into();
        return signer;
    }
    let provider = match config {
        Some(config) => config.common.credentials(),
        None => aws_credential_types::provider::SharedCredentialsProvider::new(
            RawProvider::for_region(environment.get("AWS_REGION").unwrap_or("us-east-1")),
        ),
    };
    let (resolved, source) = tokio::join!(
        timeout_at(bound(deadline, LONGEST), provider.provide_credentials()),
        source::find(environment),
    );
    let named = match config.and_then(|config| config.common.role.as_ref()) {
        Some(role) => format!("{} assumed with {source}", role.arn),
        None => source.to_string(),
    };
    let (status, found) = match resolved {
        Err(_) => {
            signer.credentials = Credentials::Silent { source };
            (Status::Failed, format!("{named} did not answer in time"))
        }
        Ok(Err(error)) => {
            let (failure, unreachable) = (Failure::of(&error), unreachable(&error));
            signer.credentials = Credentials::Missing { failure, unreachable, source };
            (Status::Failed, unavailable(&error).to_string())
        }
        Ok(Ok(keys)) => {
            let (status, found, credentials) = found(&keys, &named, source);
            signer.credentials = credentials;
            signer.keys = Some(keys);
            (status, found)
        }
    };
    signer.steps.push(Step::new("credentials", status, start.elapsed(), found));
    sign(config, clock, &mut signer);
    signer
}

/// The kind, the expiry and the flaws of keys.
fn found(keys: &Keys, named: &str, source: Source) -> (Status, String, Credentials) {
    let kind = KeyKind::of(keys.access_key_id());
    let session_token = keys.session_token().is_some();
    let expiry = keys.expiry();
    let mut found = format!("{named}: {kind}");
    if let Some(expiry) = expiry {
        found += &format!(", until {}", iso8601(expiry));
    }
    let mixed = match kind {
        KeyKind::Temporary => !session_token,
        KeyKind::LongLived => session_token,
        _ => false,
    };
    if mixed {
        found += if session_token {
            ", with a session token that a long-lived key does not have"
        } else {
            ", without the session token that belongs to them"
        };
    }
    let flaws = key_flaws([
        Some(keys.access_key_id()),
        Some(keys.secret_access_key()),
        keys.session_token(),
    ]);
    for (name, flaw) in &flaws {
        found += &format!("; {name} {flaw}");
    }
    let status = if flaws.is_empty() && !mixed { Status::Ok } else { Status::Failed };
    (status, found, Credentials::Found { kind, session_token, expiry, flaws, source })
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
                config.common.region,
                iso8601(token.expires_at())
            );
            signer.token = Some(token);
            Step::new("token", Status::Ok, start.elapsed(), found)
        }
        Err(error) => Step::new("token", Status::Failed, start.elapsed(), error.to_string()),
    };
    signer.steps.push(step);
}

/// Whether no connection was made, by the types of the error's sources.
fn unreachable(error: &CredentialsError) -> bool {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let mut unreachable = false;
    for cause in causes {
        // A call that lacks credentials of its own fails like one without a connection.
        unreachable =
            (unreachable || cause.is::<ConnectorError>()) && !cause.is::<CredentialsError>();
    }
    unreachable
}
