//! The credentials in Lambda's environment variables, read with no SDK start-up and no network.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};

use super::failure::Failure;
use super::keys::{KEY_VARIABLES, key_flaws};

/// The credentials that Lambda puts into the environment.
#[derive(Debug)]
pub struct EnvironmentProvider;

impl EnvironmentProvider {
    fn read(get: impl Fn(&str) -> Option<String>) -> Result<Credentials, CredentialsError> {
        let parts = KEY_VARIABLES.map(|name| get(name).filter(|value| !value.is_empty()));
        let flaws = key_flaws(parts.each_ref().map(Option::as_deref));
        let [key_id, secret, session_token] = parts;
        let key_id = key_id.ok_or_else(|| CredentialsError::not_loaded(Failure::NoKeyId))?;
        if let Some((variable, flaw)) = flaws.first() {
            let failure = Failure::Pasted { variable, flaw: *flaw };
            return Err(CredentialsError::invalid_configuration(failure));
        }
        let secret =
            secret.ok_or_else(|| CredentialsError::invalid_configuration(Failure::NoSecret))?;
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

#[cfg(test)]
mod tests {
    use super::super::keys::KeyFlaw;
    use super::*;

    fn refused(id: &str, secret: &str) -> (Failure, String) {
        let error = EnvironmentProvider::read(|name| match name {
            "AWS_ACCESS_KEY_ID" => Some(id.into()),
            "AWS_SECRET_ACCESS_KEY" => Some(secret.into()),
            _ => None,
        })
        .unwrap_err();
        let failure = Failure::of(&error);
        (failure.clone(), failure.to_string())
    }

    #[test]
    fn pasted_keys_are_refused_without_repeating_them() {
        for (id, secret, flaw) in [
            ("AKIDEXAMPLE", "\"s3cret\"", KeyFlaw::Quotes),
            ("AKIDEXAMPLE", "s3cret\n", KeyFlaw::LineBreak),
            ("AKIDEXAMPLE", "s3 cret", KeyFlaw::Foreign),
            ("s3cret/K7MDENG+bPx", "s3cret", KeyFlaw::NotKeyId),
            ("defaultkey", "s3cret", KeyFlaw::SamDefault),
        ] {
            let (failure, text) = refused(id, secret);
            let Failure::Pasted { variable, flaw: found } = failure else { panic!("{text}") };
            assert!(found == flaw && text.contains(variable), "{text}");
            assert!(!text.contains("s3"), "{text}");
        }
    }

    #[test]
    fn half_a_key_is_a_failure() {
        assert_eq!(refused("AKIDEXAMPLE", "").0, Failure::NoSecret);
        assert_eq!(refused("", "secret").0, Failure::NoKeyId);
    }
}
