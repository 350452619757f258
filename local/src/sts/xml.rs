//! STS's answers as XML.

use super::{Refusal, expiration};
use crate::REGION;
use crate::iam::{Claims, Identity, random};

const XMLNS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

pub(super) fn error(refusal: &Refusal) -> String {
    let Refusal { status, code, message, .. } = refusal;
    let fault = if status.is_client_error() { "Sender" } else { "Receiver" };
    format!(
        "<ErrorResponse xmlns=\"{XMLNS}\">\n  <Error>\n    <Type>{fault}</Type>\n    \
         <Code>{code}</Code>\n    <Message>{}</Message>\n  </Error>\n  \
         <RequestId>{}</RequestId>\n</ErrorResponse>\n",
        escape(message),
        request_id()
    )
}

pub(super) fn caller_identity(caller: &Identity) -> String {
    answer(
        "GetCallerIdentity",
        &format!(
            "    <Arn>{}</Arn>\n    <UserId>{}</UserId>\n    <Account>{}</Account>\n",
            escape(&caller.arn),
            escape(&caller.user_id()),
            caller.principal.account
        ),
    )
}

pub(super) fn assumed_role(identity: &Identity) -> String {
    answer("AssumeRole", &session_of_role(identity))
}

pub(super) fn assumed_role_with_web_identity(
    identity: &Identity,
    claims: &Claims,
    provider: &str,
) -> String {
    answer(
        "AssumeRoleWithWebIdentity",
        &format!(
            "{}    <SubjectFromWebIdentityToken>{}</SubjectFromWebIdentityToken>\n    \
             <Provider>{}</Provider>\n    <Audience>{}</Audience>\n",
            session_of_role(identity),
            escape(&claims.subject),
            escape(provider),
            escape(&claims.audience)
        ),
    )
}

fn session_of_role(identity: &Identity) -> String {
    format!(
        "    <AssumedRoleUser>\n      <AssumedRoleId>{}</AssumedRoleId>\n      \
         <Arn>{}</Arn>\n    </AssumedRoleUser>\n{}",
        escape(&identity.user_id()),
        escape(&identity.arn),
        credentials(identity)
    )
}

pub(super) fn session_token(identity: &Identity) -> String {
    answer("GetSessionToken", &credentials(identity))
}

fn credentials(identity: &Identity) -> String {
    format!(
        "    <Credentials>\n      <AccessKeyId>{}</AccessKeyId>\n      \
         <SecretAccessKey>{}</SecretAccessKey>\n      <SessionToken>{}</SessionToken>\n      \
         <Expiration>{}</Expiration>\n    </Credentials>\n",
        identity.access_key_id,
        identity.secret_access_key,
        identity.session_token.as_deref().unwrap_or_default(),
        expiration(identity)
    )
}

fn answer(operation: &str, result: &str) -> String {
    format!(
        "<{operation}Response xmlns=\"{XMLNS}\">\n  <{operation}Result>\n{result}  </{operation}Result>\n  \
         <ResponseMetadata>\n    <RequestId>{}</RequestId>\n  </ResponseMetadata>\n</{operation}Response>\n",
        request_id()
    )
}

fn request_id() -> String {
    format!("{REGION}-{}", random(16))
}

/// As text of XML 1.0, which cannot hold control characters in any form.
fn escape(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
