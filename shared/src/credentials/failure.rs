//! Why no credentials were found, as a type and as text.

use std::error::Error as StdError;
use std::fmt;

use super::keys::KeyFlaw;
use crate::words;

/// Why there are no credentials. It is the `source()` of
/// [`CredentialsUnavailable`](crate::ErrorKind::CredentialsUnavailable), and holds nothing secret.
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
