//! Which source of credentials is configured, in the order in which the SDK's default chain tries them
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>).

use super::profile;
use super::token_file::{file_flaw, token_file};
use crate::credentials::evidence::{Source, Way};
use crate::environment::Environment;

/// The variables that name a container's agent; the SDK prefers the first.
const CONTAINER: [&str; 2] =
    ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"];

/// The source whose credentials are used, or whose failure is the reason that there are none.
pub(super) async fn find(environment: &Environment) -> Source {
    if environment.has("AWS_ACCESS_KEY_ID") {
        return Source::Environment;
    }
    let profile = profile::find(environment).await;
    let passed_over = |way: &Way| {
        matches!(way, Way::NoSuchProfile | Way::Nothing | Way::Broken { ends: false, .. })
    };
    match profile {
        Some(profile) if passed_over(&profile.way) => {
            other(environment).unwrap_or(Source::Profile(profile))
        }
        Some(profile) => Source::Profile(profile),
        None => other(environment).unwrap_or(Source::Machine),
    }
}

fn other(environment: &Environment) -> Option<Source> {
    if let Some(path) = environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
        let role = environment.get("AWS_ROLE_ARN").unwrap_or_default();
        // Without a role it is passed over too, but nobody sets the file alone on purpose.
        let container = CONTAINER.iter().any(|name| environment.has(name));
        if !role.is_empty() || !container {
            return Some(Source::WebIdentity(token_file(path, role)));
        }
    }
    let variable = CONTAINER.into_iter().find(|name| environment.has(name))?;
    let token = environment.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").and_then(file_flaw);
    Some(Source::Container { variable, token })
}
