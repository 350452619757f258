//! Why no credentials were found.
//!
//! The messages of STS and of the SDK are never passed on: STS echoes a request that it cannot verify,
//! session token included, and the SDK quotes whole requests. A failure holds the error's type, STS's error
//! code if it is one of a closed list, and the ARNs of a refusal.

use std::error::Error as StdError;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;

use super::keys::KeyFlaw;
use crate::error::{Error, ErrorKind};
use crate::words;

/// Why there are no credentials. It is the `source()` of
/// [`CredentialsUnavailable`](ErrorKind::CredentialsUnavailable), and holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// A variable holds what no key has.
    Pasted {
        /// The variable.
        variable: &'static str,
        /// The flaw of its value.
        flaw: KeyFlaw,
    },
    /// `AWS_ACCESS_KEY_ID` is not set.
    NoKeyId,
    /// `AWS_ACCESS_KEY_ID` is set, and `AWS_SECRET_ACCESS_KEY` is not.
    NoSecret,
    /// STS refused the role.
    RoleRefused {
        /// STS's code, if STS documents it.
        code: Option<&'static str>,
        /// The ARN that asked, if STS named it.
        caller: Option<String>,
        /// The ARN that was asked for, if STS named it.
        role: Option<String>,
    },
    /// Another server answered in the place of STS.
    NotSts,
    /// STS did not answer in time.
    StsSilent,
    /// No connection to STS was made.
    StsUnreachable,
    /// The request to STS could not be made.
    StsNotAsked,
    /// No source has credentials.
    NoSource,
    /// The source did not answer in time.
    SourceSilent,
    /// The source is configured wrongly: a profile, a web identity or a container.
    SourceMisconfigured,
    /// The source failed: a profile, a web identity or a container.
    SourceFailed,
    /// The source failed in a way that the SDK has no type for.
    Other,
}

/// Codes that STS documents, with their usual causes
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>,
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html#API_AssumeRole_Errors>).
const CODES: [(&str, &str); 15] = [
    ("AccessDenied", "the role's trust policy, or the caller's own policy, does not allow it"),
    ("ExpiredToken", "the credentials that ask for the role have expired"),
    ("ExpiredTokenException", "the credentials or the web identity token have expired"),
    ("InvalidClientTokenId", "STS does not know the access key that asks for the role"),
    ("SignatureDoesNotMatch", "the secret access key that asks for the role is wrong"),
    ("InvalidIdentityToken", "STS does not accept the web identity token"),
    ("IDPRejectedClaim", "the identity provider rejected the web identity token"),
    ("IDPCommunicationError", "STS could not reach the identity provider"),
    ("RegionDisabledException", "STS is not activated in this region for the role's account"),
    ("MalformedPolicyDocument", "the session policy is malformed"),
    ("PackedPolicyTooLarge", "the session policy and tags are too large"),
    ("ValidationError", "STS does not accept the role's ARN, the session name or the external id"),
    ("RequestExpired", "this machine's clock is off"),
    ("Throttling", "STS is throttling the account"),
    ("ThrottlingException", "STS is throttling the account"),
];

/// A code of STS's, if it is documented.
#[cfg(feature = "role")]
pub(super) fn documented(code: &str) -> Option<&'static str> {
    CODES.iter().map(|(known, _)| *known).find(|known| *known == code)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Pasted { variable, flaw } => {
                let them = if *flaw == KeyFlaw::Swapped { "them" } else { "it" };
                return words::write(f, format_args!("{variable} {flaw}; set {them} again"));
            }
            Self::RoleRefused { code: Some(code), caller, role } => {
                let meaning = CODES.iter().find(|(known, _)| known == code);
                let meaning = meaning.map_or("", |(_, meaning)| meaning);
                let refused = format_args!("STS refused the role: {code}");
                return match caller.as_ref().zip(role.as_ref()) {
                    Some((caller, role)) => words::write(
                        f,
                        format_args!("{refused}: {caller} may not assume {role}: {meaning}"),
                    ),
                    None => words::write(f, format_args!("{refused}: {meaning}")),
                };
            }
            Self::RoleRefused { code: None, .. } => {
                "STS refused the role, with an undocumented error code"
            }
            Self::NoKeyId => "AWS_ACCESS_KEY_ID is not set",
            Self::NoSecret => "AWS_ACCESS_KEY_ID is set, and AWS_SECRET_ACCESS_KEY is not",
            Self::NotSts => "what answered is not STS: check AWS_ENDPOINT_URL_STS",
            Self::StsSilent => "STS did not answer in time",
            Self::StsUnreachable => {
                "STS cannot be reached: in a private subnet that needs the interface endpoint com.amazonaws.<region>.sts"
            }
            Self::StsNotAsked => {
                "the request to STS could not be made: check AWS_ENDPOINT_URL_STS and the region"
            }
            Self::NoSource => "no source of credentials has any",
            Self::SourceSilent => "their source did not answer in time",
            Self::SourceMisconfigured => {
                "their source (a profile, a web identity or a container) is configured wrongly"
            }
            Self::SourceFailed => "their source (a profile, a web identity or a container) failed",
            Self::Other => "their source failed",
        };
        words::write(f, format_args!("{text}"))
    }
}

impl StdError for Failure {}

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
