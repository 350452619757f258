//! Why no credentials were found, without repeating anything secret.

use aws_credential_types::provider::error::CredentialsError;
#[cfg(feature = "role")]
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
#[cfg(feature = "role")]
use aws_sdk_sts::operation::assume_role::AssumeRoleError;

use crate::error::{Error, ErrorKind};

/// The crate's error for credentials that cannot be resolved.
pub(crate) fn unavailable(error: &CredentialsError) -> Error {
    Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials found")
        .because(explain(error))
        .remedy("Check the function's role, DB_ROLE_ARN and DB_ROLE_EXTERNAL_ID; docs/errors.md#credentialsunavailable has more")
}

/// Says why, down to the cause, such as what STS answered.
pub(crate) fn explain(error: &CredentialsError) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = refused_by_sts(error) {
            return refusal;
        }
        // The SDK quotes whole requests in some errors, session token and external id included.
        // What it quotes is in braces or quotation marks: nothing from there on is repeated.
        let text = error.to_string();
        let text = text.split(['{', '`', '"']).next().unwrap_or_default().trim();
        let text = text.trim_end_matches(|c: char| c == ':' || c.is_whitespace());
        if !text.is_empty() && !parts.iter().any(|part| part.contains(text)) {
            parts.push(text.to_owned());
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(feature = "role")]
fn refused_by_sts(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let refusal = error.downcast_ref::<SdkError<AssumeRoleError>>()?.as_service_error()?;
    let code = refusal.code().unwrap_or("an error without a code");
    let message = refusal.message().unwrap_or("no message");
    Some(format!("STS refused the role: {code}: {message}"))
}

/// Without the feature `role`, nothing calls STS.
#[cfg(not(feature = "role"))]
fn refused_by_sts(_: &(dyn std::error::Error + 'static)) -> Option<String> {
    None
}
