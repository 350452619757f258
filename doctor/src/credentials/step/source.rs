//! Which source of credentials is configured, in the order in which the SDK's default chain tries them
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>).

use std::io::ErrorKind;

use super::profile;
use crate::credentials::evidence::{Source, TokenFile, Way};
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

pub(super) fn token_file(path: &str, role: &str) -> TokenFile {
    TokenFile { path: path.to_owned(), role: role.to_owned(), flaw: file_flaw(path) }
}

/// Why a file cannot be read as text, as a phrase; the text itself is not kept.
fn file_flaw(path: &str) -> Option<&'static str> {
    // A pipe can be read once, and not here.
    if let Ok(about) = std::fs::metadata(path)
        && !about.is_file()
    {
        return about.is_dir().then_some("is a folder");
    }
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Some("is empty"),
        Ok(_) => None,
        Err(error) => Some(match error.kind() {
            ErrorKind::NotFound => "does not exist",
            ErrorKind::PermissionDenied => "may not be read by this user",
            ErrorKind::InvalidData => "does not hold text",
            _ => "cannot be read",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_not_kept() {
        assert_eq!(file_flaw("/nowhere/token"), Some("does not exist"));
        assert_eq!(file_flaw("/dev/null"), None);
        assert_eq!(file_flaw("/"), Some("is a folder"));
        assert_eq!(file_flaw(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), None);
    }
}
