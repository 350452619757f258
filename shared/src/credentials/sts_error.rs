//! What STS's refusals mean, by their codes
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>,
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html#API_AssumeRole_Errors>).

use std::error::Error as StdError;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

/// Codes that STS documents, with their usual causes.
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

/// Another server answered.
const NOT_STS: &str = "what answered is not STS: check AWS_ENDPOINT_URL_STS";

/// Explains an error of a call to STS; `None` if it is another error.
pub(super) fn explain(error: &(dyn StdError + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<SdkError<AssumeRoleError>>() {
        return Some(of_call(error));
    }
    error.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>().map(of_call)
}

fn of_call<E: ProvideErrorMetadata + StdError + 'static, R>(error: &SdkError<E, R>) -> String {
    match error {
        SdkError::ServiceError(refusal) => refused(refusal.err().code(), refusal.err().message()),
        SdkError::TimeoutError(_) => "STS did not answer in time".into(),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            "STS did not answer in time".into()
        }
        SdkError::DispatchFailure(_) => {
            "STS cannot be reached: in a private subnet that needs the interface endpoint com.amazonaws.<region>.sts".into()
        }
        SdkError::ResponseError(_) => NOT_STS.into(),
        _ => "the request to STS could not be made: check AWS_ENDPOINT_URL_STS and the region".into(),
    }
}

fn refused(code: Option<&str>, message: Option<&str>) -> String {
    // Every refusal of STS has a code.
    if code.is_none() {
        return NOT_STS.into();
    }
    let known = CODES.iter().find(|(known, _)| Some(*known) == code);
    let Some((code, meaning)) = known else {
        return "STS refused the role, with an undocumented error code".into();
    };
    let arns: Vec<&str> = match *code {
        "AccessDenied" => message.into_iter().flat_map(arns).take(2).collect(),
        _ => Vec::new(),
    };
    match arns.as_slice() {
        [caller, role] => {
            format!("STS refused the role: {code}: {caller} may not assume {role}: {meaning}")
        }
        _ => format!("STS refused the role: {code}: {meaning}"),
    }
}

/// The ARNs of users and roles in a message: names, and never a key or a token.
fn arns(message: &str) -> impl Iterator<Item = &str> {
    message.split_whitespace().filter(|word| is_principal(word))
}

/// `arn:<partition>:iam|sts::<account>:<user|role|assumed-role>/<name>`, with the characters that IAM
/// allows in names and in role sessions.
fn is_principal(word: &str) -> bool {
    let parts: Vec<&str> = word.splitn(6, ':').collect();
    let ["arn", partition, "iam" | "sts", "", account, resource] = parts.as_slice() else {
        return false;
    };
    let names = |kind: &str| {
        let name = resource.strip_prefix(kind).unwrap_or_default();
        let legal = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c);
        (1..=200).contains(&name.len()) && name.chars().all(legal)
    };
    partition.starts_with("aws")
        && partition.len() < 16
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && ["user/", "role/", "assumed-role/"].into_iter().any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_principals_and_nothing_else_of_the_message() {
        let message = "User: arn:aws:sts::123456789012:assumed-role/fn/fn is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::210987654321:role/reader s3cret";
        assert_eq!(
            refused(Some("AccessDenied"), Some(message)),
            "STS refused the role: AccessDenied: arn:aws:sts::123456789012:assumed-role/fn/fn may not assume arn:aws:iam::210987654321:role/reader: the role's trust policy, or the caller's own policy, does not allow it"
        );
    }

    #[test]
    fn an_answer_without_a_code_is_not_a_refusal_of_sts() {
        assert!(refused(None, Some("s3cret")).contains("not STS"));
        assert!(refused(Some("Odd"), None).contains("STS refused the role"));
    }

    #[test]
    fn an_echo_is_never_repeated() {
        for (code, message) in [
            ("SignatureDoesNotMatch", "x-amz-security-token:s3cret"),
            ("s3cret", "s3cret"),
            ("AccessDenied", "arn:aws:iam::123456789012:s3cret/x s3cret"),
            ("AccessDenied", "arn:aws:iam::123456789012:role/a s3cret"),
            ("ValidationError", "Value 's3cret' at 'externalId'"),
        ] {
            let text = refused(Some(code), Some(message));
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
