//! The errors of calls to STS, as failures.

use std::error::Error as StdError;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;

use super::failure::{Failure, documented};

/// The failure of a call to STS; `None` if it is another error.
pub(super) fn failure(error: &(dyn StdError + 'static)) -> Option<Failure> {
    if let Some(error) = error.downcast_ref::<SdkError<AssumeRoleError>>() {
        return Some(of_call(error));
    }
    error.downcast_ref::<SdkError<AssumeRoleWithWebIdentityError>>().map(of_call)
}

fn of_call<E: ProvideErrorMetadata + StdError + 'static, R>(error: &SdkError<E, R>) -> Failure {
    match error {
        SdkError::ServiceError(refusal) => refused(refusal.err().code(), refusal.err().message()),
        SdkError::TimeoutError(_) => Failure::StsSilent,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => Failure::StsSilent,
        SdkError::DispatchFailure(_) => Failure::StsUnreachable,
        SdkError::ResponseError(_) => Failure::NotSts,
        _ => Failure::StsNotAsked,
    }
}

fn refused(code: Option<&str>, message: Option<&str>) -> Failure {
    // Every refusal of STS has a code.
    let Some(code) = code else { return Failure::NotSts };
    let code = documented(code);
    let arns: Vec<&str> = match code {
        Some("AccessDenied") => message.into_iter().flat_map(arns).take(2).collect(),
        _ => Vec::new(),
    };
    let (caller, role) = match arns.as_slice() {
        [caller, role] => (Some((*caller).to_owned()), Some((*role).to_owned())),
        _ => (None, None),
    };
    Failure::RoleRefused { code, caller, role }
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
            refused(Some("AccessDenied"), Some(message)).to_string(),
            "STS refused the role: AccessDenied: arn:aws:sts::123456789012:assumed-role/fn/fn may not assume arn:aws:iam::210987654321:role/reader: the role's trust policy, or the caller's own policy, does not allow it"
        );
    }

    #[test]
    fn an_answer_without_a_code_is_not_a_refusal_of_sts() {
        assert_eq!(refused(None, Some("s3cret")), Failure::NotSts);
        let odd = Failure::RoleRefused { code: None, caller: None, role: None };
        assert_eq!(refused(Some("Odd"), None), odd);
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
            let text = refused(Some(code), Some(message)).to_string();
            assert!(!text.contains("s3cret"), "{text}");
        }
    }
}
