//! Web identities: a token of an identity provider, here GitHub's with a key of the test's, is
//! exchanged for a role's session by boto3.

use crate::common;

use std::process::Command;

use common::{node, start, text, with_env_sourced};
use rds_local::Options;

/// As AWS's guide has it for GitHub.
const PRINCIPALS: &str = r#"{
  "identity_providers": {
    "https://token.actions.githubusercontent.com": {
      "audiences": ["sts.amazonaws.com"], "keys": "keys.json"
    }
  },
  "roles": { "ci": {
    "trust": { "Version": "2012-10-17", "Statement": [{
      "Effect": "Allow",
      "Principal": { "Federated": "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" },
      "Action": "sts:AssumeRoleWithWebIdentity",
      "Condition": {
        "StringEquals": { "token.actions.githubusercontent.com:aud": "sts.amazonaws.com" },
        "StringLike": { "token.actions.githubusercontent.com:sub": "repo:example/reports:ref:refs/heads/main" }
      }
    }] },
    "policies": [{ "Version": "2012-10-17", "Statement": [
      { "Effect": "Allow", "Action": "rds-db:connect", "Resource": "*" }
    ]}]
  }}
}"#;

#[tokio::test]
async fn a_providers_token_assumes_a_role_if_trust_allows_it() {
    let files = tempfile::tempdir().unwrap();
    let script = format!("{} '{}'", node("jwt.cjs"), files.path().display());
    assert!(Command::new("bash").args(["-c", &script]).status().unwrap().success());
    let principals = files.path().join("principals.json");
    std::fs::write(&principals, PRINCIPALS).unwrap();
    let policies = vec![principals];
    let (server, folder) = start(|options| Options { policies, ..options }).await;
    let script = format!(
        r#"export FILES='{}'; python - <<'END'
import os, boto3, botocore, psycopg
env = os.environ
sts = boto3.client("sts", config=botocore.config.Config(signature_version=botocore.UNSIGNED))
def exchange(name):
    token = open(env["FILES"] + "/" + name).read()
    return sts.assume_role_with_web_identity(RoleArn="arn:aws:iam::123456789012:role/ci", RoleSessionName="ci", WebIdentityToken=token)
answer = exchange("good")
print(answer["AssumedRoleUser"]["Arn"], answer["SubjectFromWebIdentityToken"], answer["Audience"])
keys = answer["Credentials"]
rds = boto3.client("rds", aws_access_key_id=keys["AccessKeyId"], aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"])
token = rds.generate_db_auth_token(env["PGHOST"], int(env["PGPORT"]), env["PGUSER"])
with psycopg.connect(password=token, sslmode="verify-full") as connection:
    print(connection.execute("SELECT current_user").fetchone()[0])
for name in ["branch", "audience", "expired", "issuer", "key"]:
    try:
        print(exchange(name))
    except botocore.exceptions.ClientError as error:
        print(name, error.response["Error"]["Code"])
END"#,
        files.path().display()
    );
    let output = with_env_sourced(folder.path(), &script).await;
    assert_eq!(
        text(&output.stdout),
        "arn:aws:sts::123456789012:assumed-role/ci/ci repo:example/reports:ref:refs/heads/main sts.amazonaws.com\n\
         iam_ro_user\n\
         branch AccessDenied\naudience InvalidIdentityToken\nexpired ExpiredTokenException\n\
         issuer InvalidIdentityToken\nkey InvalidIdentityToken\n",
        "{}",
        text(&output.stderr)
    );
    server.stop().await.unwrap();
}

/// The token that `serve` writes, with the SDK's own variables.
#[tokio::test]
async fn the_written_token_assumes_the_example_role() {
    let (server, folder) = start(|options| options).await;
    let script = format!(
        "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
         export AWS_ROLE_ARN=$DB_ROLE_ARN_EXAMPLE AWS_WEB_IDENTITY_TOKEN_FILE='{}' AWS_ROLE_SESSION_NAME=web
         aws sts get-caller-identity --query Arn --output text",
        folder.path().join("web-identity-token").display()
    );
    let output = with_env_sourced(folder.path(), &script).await;
    assert_eq!(
        text(&output.stdout),
        "arn:aws:sts::123456789012:assumed-role/rds-local-example/web\n",
        "{}",
        text(&output.stderr)
    );
    server.stop().await.unwrap();
}
