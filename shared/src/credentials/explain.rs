//! Reads the failure out of the errors of the SDK and of this crate.
//!
//! The messages of STS and of the SDK are never passed on: STS echoes a request that it cannot verify,
//! session token included, and the SDK quotes whole requests. A failure holds the error's type, STS's error
//! code if it is one of a closed list, and the ARNs of a refusal.

use std::error::Error as StdError;

use aws_credential_types::provider::error::CredentialsError;

use super::failure::Failure;
use crate::error::{Error, ErrorKind};

/// The crate's error for credentials that a provider could not give; its `source()` is the [`Failure`].
pub fn unavailable(error: &CredentialsError) -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials found")
        .caused_by(Failure::of(error))
        .remedy("Check the function's role, DB_ROLE_ARN and DB_ROLE_EXTERNAL_ID; see docs/errors.md#credentialsunavailable")
}

impl Failure {
    /// This crate's own failure, the meaning of STS's answer, or the kind of failure.
    pub fn of(error: &CredentialsError) -> Self {
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(cause) = next {
            if let Some(failure) = cause.downcast_ref::<Self>() {
                return failure.clone();
            }
            #[cfg(feature = "role")]
            if let Some(failure) = super::sts_error::failure(cause) {
                // Without credentials to ask with, STS was never asked.
                return beneath(cause).map_or(failure, Self::of);
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
            CredentialsError::CredentialsNotLoaded(_) => Self::NoSource,
            CredentialsError::ProviderTimedOut(_) => Self::SourceSilent,
            CredentialsError::InvalidConfiguration(_) => Self::SourceMisconfigured,
            CredentialsError::ProviderError(_) => Self::SourceFailed,
            _ => Self::Other,
        }
    }
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
        for (error, failure) in [
            (CredentialsError::not_loaded("s3cret"), Failure::NoSource),
            (CredentialsError::invalid_configuration("s3cret"), Failure::SourceMisconfigured),
            (CredentialsError::provider_error("s3cret"), Failure::SourceFailed),
            (
                CredentialsError::unhandled(CredentialsError::provider_error("s3cret")),
                Failure::SourceFailed,
            ),
        ] {
            assert_eq!(Failure::of(&error), failure);
            assert!(!unavailable(&error).to_string().contains("s3cret"));
        }
    }

    #[test]
    fn our_own_failure_survives_being_shared_and_is_the_source_of_the_error() {
        let own = CredentialsError::invalid_configuration(Failure::NoSecret);
        let shared = CredentialsError::provider_error(std::sync::Arc::new(own));
        assert_eq!(Failure::of(&shared), Failure::NoSecret);
        let error = unavailable(&shared);
        assert_eq!(error.source().unwrap().downcast_ref(), Some(&Failure::NoSecret));
    }
}
