//! The credentials in Lambda's environment variables, read with no SDK start-up and no network.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};

use super::explain::Explained;

/// The credentials that Lambda puts into the environment.
#[derive(Debug)]
pub struct EnvironmentProvider;

impl EnvironmentProvider {
    fn read(get: impl Fn(&str) -> Option<String>) -> Result<Credentials, CredentialsError> {
        let variable = |name: &str| match get(name).filter(|value| !value.is_empty()) {
            Some(value) => check_pasted(name, &value).map(|()| Some(value)),
            None => Ok(None),
        };
        let key_id = variable("AWS_ACCESS_KEY_ID")?.ok_or_else(|| {
            CredentialsError::not_loaded(Explained("AWS_ACCESS_KEY_ID is not set".into()))
        })?;
        let secret = variable("AWS_SECRET_ACCESS_KEY")?.ok_or_else(|| {
            CredentialsError::invalid_configuration(Explained(
                "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not".into(),
            ))
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
    match pasted_flaw(name, value) {
        None => Ok(()),
        Some(flaw) => Err(CredentialsError::invalid_configuration(Explained(format!(
            "{name} {flaw}; set it again"
        )))),
    }
}

/// What is wrong with the value of a credential variable, as a phrase without the value: quotes, a line
/// break, a character that no key has.
pub fn pasted_flaw(name: &str, value: &str) -> Option<&'static str> {
    let key_id = name == "AWS_ACCESS_KEY_ID";
    if value.contains(['"', '\'']) {
        Some("holds quotes, as jq without -r writes")
    } else if value.contains(['\n', '\r']) {
        Some("holds a line break")
    } else if value.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        Some("holds a space or another character that no AWS key has")
    } else if key_id && value == "defaultkey" {
        Some(
            "is what sam local injects when it finds no credentials: export some before you start it",
        )
    } else if key_id && !value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        Some("is not of a key id's form (letters and digits, AKIA… or ASIA…); is it the secret?")
    } else if name == "AWS_SECRET_ACCESS_KEY" && is_key_id(value) {
        Some("holds an access key id (AKIA… or ASIA…), and no secret")
    } else {
        None
    }
}

/// `AKIA` or `ASIA`, and 16 capitals or digits: no secret is so short.
fn is_key_id(value: &str) -> bool {
    let id = value.strip_prefix("AKIA").or_else(|| value.strip_prefix("ASIA"));
    id.is_some_and(|rest| {
        rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })
}

/// The kind of key that an access key id shows, without the id
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>).
pub fn key_kind(access_key_id: &str) -> &'static str {
    match access_key_id.get(..4) {
        Some("ASIA") => "temporary credentials (ASIA…)",
        Some("AKIA") => "a user's long-lived key (AKIA…)",
        _ => "a key of unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::explain::explain;

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
    fn a_key_id_in_the_place_of_the_secret_is_a_flaw() {
        for (value, flawed) in [
            ("AKIAIOSFODNN7EXAMPLE", true),
            ("ASIAIOSFODNN7EXAMPLE", true),
            ("AKIAIOSFODNN7EXAMPL", false),
            ("AKIAiosfodnn7example", false),
            ("AKIAIOSFODNN7EXAMPLEAKIAIOSFODNN7EXAMPLE", false),
        ] {
            let flaw = pasted_flaw("AWS_SECRET_ACCESS_KEY", value);
            assert_eq!(flaw.is_some_and(|flaw| flaw.contains("key id")), flawed, "{value}");
            assert_eq!(pasted_flaw("AWS_ACCESS_KEY_ID", value), None);
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
