//! STS's answers as XML.

use super::instance::Instance;
use super::refusal::Refusal;
use crate::iam::{Claims, Identity, Principal, Simulated, random};
use crate::{REGION, sigv4};

const STS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
const IAM: &str = "https://iam.amazonaws.com/doc/2010-05-08/";
const RDS: &str = "http://rds.amazonaws.com/doc/2014-10-31/";

pub(super) fn error(refusal: &Refusal) -> String {
    let Refusal { status, code, message, .. } = refusal;
    let fault = if status.is_client_error() { "Sender" } else { "Receiver" };
    format!(
        "<ErrorResponse xmlns=\"{STS}\">\n  <Error>\n    <Type>{fault}</Type>\n    \
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

/// The results of a simulation.
pub(super) fn simulation(results: &str) -> String {
    let result = format!(
        "    <IsTruncated>false</IsTruncated>\n    <EvaluationResults>\n{results}    </EvaluationResults>\n"
    );
    answer_of(IAM, "SimulatePrincipalPolicy", &result)
}

/// One of them.
pub(super) fn evaluation(
    action: &str,
    resource: &str,
    decision: &str,
    simulated: &Simulated,
) -> String {
    let keys = simulated.missing.iter();
    let missing: String = keys.map(|key| format!("<member>{}</member>", escape(key))).collect();
    let boundary = simulated.boundary.map(|allowed| {
        format!("<PermissionsBoundaryDecisionDetail><AllowedByPermissionsBoundary>{allowed}</AllowedByPermissionsBoundary></PermissionsBoundaryDecisionDetail>")
    });
    format!(
        "      <member><EvalActionName>{}</EvalActionName><EvalResourceName>{}</EvalResourceName>\
         <EvalDecision>{decision}</EvalDecision><MatchedStatements/>\
         <MissingContextValues>{missing}</MissingContextValues>{}</member>\n",
        escape(action),
        escape(resource),
        boundary.unwrap_or_default()
    )
}

pub(super) fn role(role: &Principal) -> String {
    let (_, path_and_name) = role.arn.split_once(":role").unwrap_or_default();
    let (path, name) = path_and_name.rsplit_once('/').unwrap_or_default();
    let result = format!(
        "    <Role><Path>{}/</Path><RoleName>{}</RoleName><RoleId>{}</RoleId><Arn>{}</Arn>\
         <CreateDate>2024-01-01T00:00:00Z</CreateDate></Role>\n",
        escape(path),
        escape(name),
        role.id,
        escape(&role.arn)
    );
    answer_of(IAM, "GetRole", &result)
}

pub(super) fn db_instances(instance: Option<&Instance>) -> String {
    let described = instance.map(|instance| {
        let Instance { host, port, engine, resource_id, .. } = instance;
        format!(
            "<DBInstance><DBInstanceIdentifier>{}</DBInstanceIdentifier><DBInstanceStatus>available</DBInstanceStatus>\
             <Engine>{engine}</Engine><Endpoint><Address>{}</Address><Port>{port}</Port></Endpoint>\
             <DbiResourceId>{}</DbiResourceId><DBInstanceArn>{}</DBInstanceArn>\
             <IAMDatabaseAuthenticationEnabled>true</IAMDatabaseAuthenticationEnabled>\
             <PubliclyAccessible>false</PubliclyAccessible></DBInstance>",
            escape(instance.id()),
            escape(host),
            escape(resource_id),
            escape(&instance.arn())
        )
    });
    let result = format!("    <DBInstances>{}</DBInstances>\n", described.unwrap_or_default());
    answer_of(RDS, "DescribeDBInstances", &result)
}

fn answer(operation: &str, result: &str) -> String {
    answer_of(STS, operation, result)
}

fn answer_of(xmlns: &str, operation: &str, result: &str) -> String {
    format!(
        "<{operation}Response xmlns=\"{xmlns}\">\n  <{operation}Result>\n{result}  </{operation}Result>\n  \
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

/// A time for people and XML.
fn expiration(identity: &Identity) -> String {
    identity.expires_at.map(sigv4::iso8601).unwrap_or_default()
}
