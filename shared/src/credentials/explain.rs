//! Explains why no credentials were found.
//!
//! The messages of STS and of the SDK are never passed on: STS echoes a request that it cannot verify,
//! session token included, and the SDK quotes whole requests. An explanation uses the error's type,
//! STS's error code if it is one of a closed list, and the ARNs of a refusal.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;

use crate::error::{Error, ErrorKind};

/// An error of this crate's own, whose text holds nothing secret.
#[derive(Debug)]
pub(super) struct Explained(pub(super) String);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Explained {}

/// The crate's error for credentials that a provider could not give. It repeats nothing that STS or the
/// SDK said, except STS's documented error codes and the ARNs of a refusal.
pub fn unavailable(error: &CredentialsError) -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials found")
        .because(explain(error))
        .remedy("Check the function's role, DB_ROLE_ARN and DB_ROLE_EXTERNAL_ID; see docs/errors.md#credentialsunavailable")
}

/// The reason: this crate's own explanation, the meaning of STS's answer, or the kind of failure.
pub(crate) fn explain(error: &CredentialsError) -> String {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(Explained(text)) = cause.downcast_ref() {
            return text.clone();
        }
        #[cfg(feature = "role")]
        if let Some(text) = super::sts_error::explain(cause) {
            // Without credentials to ask with, STS was never asked.
            return beneath(cause).map_or(text, explain);
        }
        next = cause.source();
    }
    // The innermost one, where a cache shares a failure.
    let mut innermost = error;
    let mut next = error.source();
    while let Some(cause) = next {
        innermost = cause.downcast_ref().unwrap_or(innermost);
        next = cause.source();
    }
    match innermost {
        CredentialsError::CredentialsNotLoaded(_) => "no source of credentials has any",
        CredentialsError::ProviderTimedOut(_) => "their source did not answer in time",
        CredentialsError::InvalidConfiguration(_) => {
            "their source (a profile, a web identity or a container) is configured wrongly"
        }
        CredentialsError::ProviderError(_) => {
            "their source (a profile, a web identity or a container) failed"
        }
        _ => "their source failed",
    }
    .to_owned()
}

/// The error of the credentials that a call was to be signed with, if that is why it failed.
#[cfg(feature = "role")]
fn beneath<'a>(call: &'a (dyn StdError + 'static)) -> Option<&'a CredentialsError> {
    std::iter::successors(call.source(), |&cause| cause.source())
        .find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_never_repeated() {
        for error in [
            CredentialsError::not_loaded("s3cret"),
            CredentialsError::invalid_configuration("s3cret"),
            CredentialsError::provider_error("s3cret"),
            CredentialsError::unhandled(CredentialsError::provider_error("s3cret")),
        ] {
            assert!(!explain(&error).contains("s3cret"), "{}", explain(&error));
        }
    }

    #[test]
    fn our_own_text_survives_being_shared() {
        let own = CredentialsError::invalid_configuration(Explained("X is wrong".into()));
        let shared = CredentialsError::provider_error(std::sync::Arc::new(own));
        assert_eq!(explain(&shared), "X is wrong");
    }
}
