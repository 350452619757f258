//! STS as the AWS CLI and boto3 see it: roles with and without an external id, a chain of roles,
//! session policies and tags, web identities, a user's session, and AWS's words for what is wrong.

use crate::common;

use std::path::Path;

use common::{start, text, with_env_sourced};
use rds_local::{Options, Server};
use tempfile::TempDir;

/// The users' profiles.
const PROFILES: &str = "export AWS_SHARED_CREDENTIALS_FILE=\"$RDS_LOCAL_DIR/credentials\"\n";

/// Users and roles as a team has them, in two accounts.
const PRINCIPALS: &str = r#"{
  "users": {
    "developer": { "policies": [{ "Version": "2012-10-17", "Statement": [
      { "Effect": "Allow", "Action": "sts:*", "Resource": "*" }
    ]}] },
    "denied": { "policies": [{ "Version": "2012-10-17", "Statement": [
      { "Effect": "Deny", "Action": "sts:AssumeRole", "Resource": "*" }
    ]}] }
  },
  "roles": {
    "reader": {
      "trust": { "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:root" },
        "Action": ["sts:AssumeRole", "sts:TagSession"]
      }] },
      "policies": [{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "rds-db:connect",
          "Resource": "arn:aws:rds-db:us-east-1:123456789012:dbuser:*/iam_*" },
        { "Effect": "Allow", "Action": "sts:AssumeRole",
          "Resource": "arn:aws:iam::210987654321:role/partner" }
      ]}],
      "tags": { "team": "data" },
      "max_session_seconds": 7200
    },
    "second": {
      "trust": { "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:role/reader" },
        "Action": ["sts:AssumeRole", "sts:TagSession"]
      }] },
      "policies": [{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "rds-db:connect",
          "Resource": "arn:aws:rds-db:*:*:dbuser:*/${aws:PrincipalTag/login}" }
      ]}]
    },
    "external": {
      "trust": { "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:root" },
        "Action": "sts:AssumeRole",
        "Condition": { "StringEquals": { "sts:ExternalId": "between-us" } }
      }] },
      "policies": [{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "rds-db:connect", "Resource": "*" }
      ]}]
    }
  }
}"#;

const PARTNER: &str = r#"{
  "account": "210987654321",
  "roles": {
    "partner": {
      "trust": { "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:role/reader" },
        "Action": "sts:AssumeRole"
      }] },
      "policies": [{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "rds-db:connect", "Resource": "*" }
      ]}]
    }
  }
}"#;

async fn team() -> (Server, TempDir, TempDir) {
    let files = tempfile::tempdir().unwrap();
    let policies = [("principals.json", PRINCIPALS), ("partner.json", PARTNER)]
        .map(|(name, text)| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        })
        .to_vec();
    let (server, folder) = start(|options| Options { policies, ..options }).await;
    (server, folder, files)
}

async fn told(folder: &Path, script: &str) -> String {
    let output = with_env_sourced(folder, &format!("{PROFILES}{script}")).await;
    assert!(output.status.success(), "{script}: {}", text(&output.stderr));
    text(&output.stdout)
}

async fn refused(folder: &Path, script: &str) -> String {
    let output = with_env_sourced(folder, &format!("{PROFILES}{script}")).await;
    assert!(!output.status.success(), "{script}: {}", text(&output.stdout));
    text(&output.stderr)
}

fn python(script: &str) -> String {
    // One client and one way to log in, for every script.
    format!(
        r#"python - <<'END'
import os, boto3, botocore, psycopg
env = os.environ
sts = boto3.client("sts")
def signed_by(credentials):
    return boto3.Session(credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"])
def login(session, user="iam_ro_user"):
    token = session.client("rds").generate_db_auth_token(env["PGHOST"], int(env["PGPORT"]), user)
    try:
        with psycopg.connect(user=user, password=token, sslmode="verify-full") as connection:
            return connection.execute("SELECT current_user").fetchone()[0]
    except psycopg.OperationalError as error:
        return "PAM" if "PAM authentication failed" in str(error) else str(error)
def error(call, **parameters):
    try:
        call(**parameters)
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"] + ": " + error.response["Error"]["Message"]
reader = "arn:aws:iam::123456789012:role/reader"
{script}
END"#
    )
}

/// As documentation writes it, to the letter.
#[tokio::test]
async fn assume_role_as_documentation_shows_it() {
    let (server, folder, _files) = team().await;
    let script = r#"
        eval $(aws sts assume-role --duration-seconds 1800 --role-arn arn:aws:iam::123456789012:role/reader --role-session-name AWSCLI-Session \
          | python -c 'import json, sys; c = json.load(sys.stdin)["Credentials"]; print(f"""export AWS_ACCESS_KEY_ID={c["AccessKeyId"]} AWS_SECRET_ACCESS_KEY={c["SecretAccessKey"]} AWS_SESSION_TOKEN={c["SessionToken"]}""")')
        aws sts get-caller-identity --query '[Account,Arn]' --output text
        PGPASSWORD="$(aws rds generate-db-auth-token --hostname $PGHOST --port $PGPORT --username $PGUSER)" psql -X -At -c 'SELECT current_user'"#;
    assert_eq!(
        told(folder.path(), script).await,
        "123456789012\tarn:aws:sts::123456789012:assumed-role/reader/AWSCLI-Session\niam_ro_user\n"
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn boto3_assumes_roles_with_and_without_an_external_id() {
    let (server, folder, _files) = team().await;
    let script = python(
        r#"
plain = sts.assume_role(RoleArn=reader, RoleSessionName="boto3")
print(plain["AssumedRoleUser"]["Arn"], login(signed_by(plain["Credentials"])))
external = dict(RoleArn="arn:aws:iam::123456789012:role/external", RoleSessionName="boto3")
guarded = sts.assume_role(ExternalId="between-us", **external)
print(guarded["AssumedRoleUser"]["Arn"], login(signed_by(guarded["Credentials"]), "iam_rw_user"))
print(error(sts.assume_role, ExternalId="between-them", **external))
print(error(sts.assume_role, **external))
print(error(boto3.Session(profile_name="denied").client("sts").assume_role, RoleArn=reader, RoleSessionName="boto3"))"#,
    );
    let developer = "User: arn:aws:iam::123456789012:user/developer is not authorized to perform: \
        sts:AssumeRole on resource: arn:aws:iam::123456789012:role/external";
    assert_eq!(
        told(folder.path(), &script).await,
        format!(
            "arn:aws:sts::123456789012:assumed-role/reader/boto3 iam_ro_user\n\
             arn:aws:sts::123456789012:assumed-role/external/boto3 iam_rw_user\n\
             AccessDenied: {developer}\nAccessDenied: {developer}\n\
             AccessDenied: User: arn:aws:iam::123456789012:user/denied is not authorized to perform: \
             sts:AssumeRole on resource: arn:aws:iam::123456789012:role/reader with an explicit deny in \
             an identity-based policy\n"
        )
    );
    let log = std::fs::read_to_string(folder.path().join("sts.log")).unwrap();
    assert!(log.contains("no role trust policy allows the sts:AssumeRole action"), "{log}");
    assert!(!log.contains("between"), "{log}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_chain_of_roles_into_another_account() {
    let (server, folder, _files) = team().await;
    let script = python(
        r#"
partner = dict(RoleArn="arn:aws:iam::210987654321:role/partner", RoleSessionName="chained")
print(error(sts.assume_role, **partner).split(":")[0])
first = signed_by(sts.assume_role(RoleArn=reader, RoleSessionName="first", DurationSeconds=7200)["Credentials"])
print(error(first.client("sts").assume_role, DurationSeconds=3601, **partner))
second = first.client("sts").assume_role(**partner)
session = signed_by(second["Credentials"])
print(session.client("sts").get_caller_identity()["Account"], login(session))"#,
    );
    // A token of another account is refused, whatever its policy says.
    assert_eq!(
        told(folder.path(), &script).await,
        "AccessDenied\nValidationError: The requested DurationSeconds exceeds the 1 hour session \
         limit for roles assumed by role chaining.\n210987654321 PAM\n"
    );
    let record = server.gate.log().records().pop().unwrap();
    let reason = record.outcome.unwrap_err();
    assert!(reason.contains("it belongs to another account, 210987654321"), "{reason}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn session_policies_and_tags_limit_a_session() {
    let (server, folder, _files) = team().await;
    let script = python(
        r#"
import json
def policy(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "rds-db:connect", **statement}})
def assumed(**parameters):
    return signed_by(sts.assume_role(RoleArn=reader, RoleSessionName="limited", **parameters)["Credentials"])
only_ro = policy(Resource="arn:aws:rds-db:*:*:dbuser:*/iam_ro_user")
print(login(assumed(Policy=only_ro)), login(assumed(Policy=only_ro), "iam_rw_user"))
tagged = policy(Resource="arn:aws:rds-db:*:*:dbuser:*/${aws:PrincipalTag/login}", Condition={"StringEquals": {"aws:PrincipalTag/team": "data"}})
rw = assumed(Policy=tagged, Tags=[{"Key": "login", "Value": "iam_rw_user"}])
print(login(rw), login(rw, "iam_rw_user"))
tags = dict(Tags=[{"Key": "login", "Value": "iam_rw_user"}])
for transitive in [["login"], []]:
    first = assumed(TransitiveTagKeys=transitive, **tags).client("sts")
    second = first.assume_role(RoleArn="arn:aws:iam::123456789012:role/second", RoleSessionName="chained")
    print(login(signed_by(second["Credentials"]), "iam_rw_user"))
again = assumed(TransitiveTagKeys=["login"], **tags).client("sts")
print(error(again.assume_role, RoleArn="arn:aws:iam::123456789012:role/second", RoleSessionName="again", **tags))
print(error(sts.assume_role, RoleArn=reader, RoleSessionName="again", TransitiveTagKeys=["login"]))
print(error(sts.assume_role, RoleArn="arn:aws:iam::123456789012:role/external", RoleSessionName="tagged", ExternalId="between-us", **tags))
print(error(sts.assume_role, RoleArn=reader, RoleSessionName="limited", Policy='{"Statement": []}'))
print(error(sts.assume_role, RoleArn=reader, RoleSessionName="limited", PolicyArns=[{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]))"#,
    );
    assert_eq!(
        told(folder.path(), &script).await,
        "iam_ro_user PAM\nPAM iam_rw_user\niam_rw_user\nPAM\n\
         InvalidParameterValue: One of the specified transitive tag keys can't be set because it \
         conflicts with a transitive tag key from the calling session.\n\
         InvalidParameterValue: The specified transitive tag key must be included in the requested \
         tags.\n\
         AccessDenied: User: arn:aws:iam::123456789012:user/developer is not authorized to perform: \
         sts:TagSession on resource: arn:aws:iam::123456789012:role/external\n\
         MalformedPolicyDocument: The policy is not valid: Statement is empty\n\
         ValidationError: rds-local's STS does not support the parameter PolicyArns.member.1.arn\n"
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn durations_and_names_are_checked_in_awss_words() {
    let (server, folder, _files) = team().await;
    // The CLI and boto3 check some parameters themselves: these tests ask them not to.
    let script = python(
        r#"
sts = boto3.client("sts", config=botocore.config.Config(parameter_validation=False))
ask = dict(RoleArn=reader, RoleSessionName="ok")
print(error(sts.assume_role, **{**ask, "DurationSeconds": 899}))
print(error(sts.assume_role, **{**ask, "DurationSeconds": 43201}))
print(error(sts.assume_role, **{**ask, "DurationSeconds": 7201}))
print(error(sts.assume_role, **{**ask, "RoleSessionName": "x"}))
print(error(sts.assume_role, **{**ask, "RoleSessionName": "a b"}))
print(error(sts.assume_role, **{**ask, "RoleArn": "arn:short"}))
print(error(sts.assume_role, RoleSessionName="ok"))
print(error(sts.get_session_token))
user = boto3.Session(profile_name="developer").client("sts", config=botocore.config.Config(parameter_validation=False))
print(error(user.get_session_token, DurationSeconds=129601))
session = signed_by(user.get_session_token()["Credentials"])
print(session.client("sts").get_caller_identity()["Arn"])"#,
    );
    let constraint =
        |what: &str| format!("ValidationError: 1 validation error detected: Value {what}");
    assert_eq!(
        told(folder.path(), &script).await.lines().collect::<Vec<_>>(),
        [
            constraint("'899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"),
            constraint("'43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200"),
            "ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.".into(),
            constraint("'x' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2"),
            constraint("'a b' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*"),
            constraint("'arn:short' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20"),
            constraint("null at 'roleArn' failed to satisfy constraint: Member must not be null"),
            "AccessDenied: Cannot call GetSessionToken with session credentials".into(),
            constraint("'129601' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 129600"),
            "arn:aws:iam::123456789012:user/developer".into(),
        ]
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn quoted_keys_are_an_invalid_client_token() {
    let (server, folder, _files) = team().await;
    // As jq without -r writes them.
    let script = r#"AWS_ACCESS_KEY_ID="\"$AWS_ACCESS_KEY_ID\"" AWS_SECRET_ACCESS_KEY="\"$AWS_SECRET_ACCESS_KEY\"" aws sts get-caller-identity"#;
    let told = refused(folder.path(), script).await;
    assert!(
        told.contains("(InvalidClientTokenId)")
            && told.contains("The security token included in the request is invalid."),
        "{told}"
    );
    let log = std::fs::read_to_string(folder.path().join("sts.log")).unwrap();
    assert!(log.contains("it has quotes or spaces around it"), "{log}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn rds_local_token_signs_as_a_profile_or_a_role() {
    let (server, folder, _files) = team().await;
    let script = format!(
        r#"login() {{ PGPASSWORD="$('{}' token "$@")" psql -X -At -c 'SELECT current_user'; }}
        login --role-arn arn:aws:iam::123456789012:role/reader
        login --role-arn arn:aws:iam::123456789012:role/external --external-id between-us
        login --profile developer || echo refused"#,
        env!("CARGO_BIN_EXE_rds-local")
    );
    let told = told(folder.path(), &script).await;
    // This developer may assume roles, and has no right on the database.
    assert_eq!(told, "iam_ro_user\niam_ro_user\nrefused\n");
    let records = server.gate.log().records();
    let by = |n: usize| records[n].outcome.clone().unwrap_or_else(|reason| reason);
    assert_eq!(by(0), "arn:aws:sts::123456789012:assumed-role/reader/rds-local");
    assert_eq!(by(1), "arn:aws:sts::123456789012:assumed-role/external/rds-local");
    assert!(by(2).contains("user/developer is not authorized to perform: rds-db:connect"));
    server.stop().await.unwrap();
}
