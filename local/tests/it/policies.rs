//! `serve --policy`, `--user-key-file`, `--resource-id` and `--account`: policies as people have
//! them decide about logins, and what is wrong with a file is said before anything starts.

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{start, text, with_env_sourced};
use rds_local::Server;

/// The users' profiles.
const PROFILES: &str = "export AWS_SHARED_CREDENTIALS_FILE=\"$RDS_LOCAL_DIR/credentials\"\n";

/// The example of AWS's guide "Creating and using an IAM policy for IAM database access".
const AWS_EXAMPLE: &str = r#"{
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "rds-db:connect"
            ],
            "Resource": [
                "arn:aws:rds-db:us-east-1:111122223333:dbuser:cluster-ABCDEFGHIJKL01234/iam_ro_user"
            ]
        }
    ]
}"#;

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Logs in with a token of the AWS CLI: who was logged in, or `refused`.
fn login(profile: &str, user: &str) -> String {
    format!(
        r#"PGPASSWORD="$(aws rds generate-db-auth-token --hostname $PGHOST --port $PGPORT --username {user} {profile})" \
           psql -X -At -U {user} -c 'SELECT current_user' 2>/dev/null || echo refused
        "#
    )
}

async fn told(folder: &Path, script: &str) -> String {
    let output = with_env_sourced(folder, &format!("{PROFILES}{script}")).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn last_reason(server: &Server) -> String {
    server.gate.log().records().pop().unwrap().outcome.unwrap_err()
}

#[tokio::test]
async fn awss_example_is_the_default_users_policy() {
    let files = tempfile::tempdir().unwrap();
    let policies = vec![write(files.path(), "policy.json", AWS_EXAMPLE)];
    let (server, folder) = start(|mut options| {
        options.policies = policies;
        options.account = "111122223333".into();
        options.resource_id = "cluster-ABCDEFGHIJKL01234".into();
        options
    })
    .await;
    let script = login("", "iam_ro_user") + &login("", "iam_rw_user");
    assert_eq!(told(folder.path(), &script).await, "iam_ro_user\nrefused\n");
    assert_eq!(
        last_reason(&server),
        "User: arn:aws:iam::111122223333:user/developer is not authorized to perform: rds-db:connect \
         on resource: arn:aws:rds-db:us-east-1:111122223333:dbuser:cluster-ABCDEFGHIJKL01234/iam_rw_user \
         because no identity-based policy allows the rds-db:connect action"
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn users_boundaries_tags_and_conditions() {
    let files = tempfile::tempdir().unwrap();
    write(
        files.path(),
        "connect.json",
        r#"{ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "rds-db:connect", "Resource": "*" }] }"#,
    );
    let principals = r#"{
      "organization": { "id": "o-a1b2c3d4e5", "path": "o-a1b2c3d4e5/r-ab12/ou-ab12-11111111/" },
      "users": {
        "plain": { "policies": ["connect.json"] },
        "bounded": { "policies": ["connect.json"], "boundary": { "Version": "2012-10-17", "Statement": [
          { "Effect": "Allow", "Action": "rds-db:connect",
            "Resource": "arn:aws:rds-db:*:*:dbuser:*/iam_ro_*" }] } },
        "tagged": { "tags": { "login": "iam_rw_user" }, "policies": [{ "Version": "2012-10-17", "Statement": [
          { "Effect": "Allow", "Action": "rds-db:connect",
            "Resource": "arn:aws:rds-db:*:*:dbuser:*/${aws:PrincipalTag/login}" }] }] },
        "elsewhere": { "policies": ["connect.json", { "Version": "2012-10-17", "Statement": [
          { "Sid": "Office", "Effect": "Deny", "Action": "*", "Resource": "*",
            "Condition": { "NotIpAddress": { "aws:SourceIp": "203.0.113.0/24" } } }] }] },
        "member": { "policies": [{ "Version": "2012-10-17", "Statement": [
          { "Effect": "Allow", "Action": "rds-db:connect", "Resource": "*", "Condition": {
            "ForAnyValue:StringLike": { "aws:PrincipalOrgPaths": "o-a1b2c3d4e5/r-ab12/*" },
            "IpAddress": { "aws:SourceIp": "127.0.0.0/8" },
            "DateGreaterThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } } }] }] }
      }
    }"#;
    let policies = vec![write(files.path(), "principals.json", principals)];
    let (server, folder) = start(|mut options| {
        options.policies = policies;
        options
    })
    .await;
    for (user, read_only, read_write) in [
        ("plain", "iam_ro_user", "iam_rw_user"),
        ("bounded", "iam_ro_user", "refused"),
        ("tagged", "refused", "iam_rw_user"),
        ("elsewhere", "refused", "refused"),
        ("member", "iam_ro_user", "iam_rw_user"),
    ] {
        let profile = format!("--profile {user}");
        let script = login(&profile, "iam_ro_user") + &login(&profile, "iam_rw_user");
        let wanted = format!("{read_only}\n{read_write}\n");
        assert_eq!(told(folder.path(), &script).await, wanted, "{user}");
    }
    let reasons: Vec<String> =
        server.gate.log().records().into_iter().filter_map(|record| record.outcome.err()).collect();
    for (reason, told) in reasons.iter().zip([
        "because no permissions boundary allows the rds-db:connect action",
        "because no identity-based policy allows the rds-db:connect action",
        "with an explicit deny in an identity-based policy (statement \"Office\")",
        "with an explicit deny in an identity-based policy (statement \"Office\")",
    ]) {
        assert!(reason.ends_with(told), "{reason}");
    }
    assert_eq!(reasons.len(), 4);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn keys_of_the_callers_choice() {
    let files = tempfile::tempdir().unwrap();
    let principals = r#"{ "roles": { "function": {
      "trust": { "Version": "2012-10-17", "Statement": [{ "Effect": "Allow",
        "Principal": { "Service": "lambda.amazonaws.com" }, "Action": "sts:AssumeRole" }] },
      "policies": [{ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "rds-db:connect", "Resource": "*" }] }] } } }"#;
    let keys = "[default]\naws_access_key_id = AKIAMYOWNKEY\naws_secret_access_key = my/own+secret\n\
                # As Lambda gives a function.\n\
                [role/function]\naws_access_key_id=ASIAFUNCTION\naws_secret_access_key=s\naws_session_token=t\n";
    let policies = vec![write(files.path(), "principals.json", principals)];
    let keys = write(files.path(), "keys", keys);
    let user_keys = vec![keys.clone()];
    let (server, folder) = start(|mut options| {
        options.policies = policies;
        options.user_keys = user_keys;
        options
    })
    .await;
    let script = format!("export AWS_SHARED_CREDENTIALS_FILE='{}'\n", keys.display())
        + &login("--profile default", "iam_ro_user")
        + &login("--profile role/function", "iam_rw_user");
    assert_eq!(told(folder.path(), &script).await, "iam_ro_user\niam_rw_user\n");
    let by: Vec<_> =
        server.gate.log().records().into_iter().map(|record| record.outcome.unwrap()).collect();
    assert_eq!(
        by,
        [
            "arn:aws:iam::123456789012:user/developer",
            "arn:aws:sts::123456789012:assumed-role/function/rds-local"
        ]
    );
    server.stop().await.unwrap();
}

#[test]
fn a_wrong_file_is_reported_before_anything_starts() {
    let files = tempfile::tempdir().unwrap();
    let bad = |name: &str, text: &str| write(files.path(), name, text).display().to_string();
    let key = bad(
        "vpc.json",
        r#"{ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "*",
            "Condition": { "StringNotEquals": { "aws:SourceVpc": "vpc-12345678" } } }] }"#,
    );
    let user = bad("user.json", r#"{ "users": { "a b": {} } }"#);
    let field = bad("field.json", r#"{ "users": { "alice": { "policy": [] } } }"#);
    let account = bad("account.json", r#"{ "account": "12345", "users": {} }"#);
    let trust = bad("trust.json", r#"{ "roles": { "r": { "trust": "nothing.json" } } }"#);
    let keys = bad("keys", "[nobody]\naws_access_key_id = A\naws_secret_access_key = s3cret\n");
    let same = "aws_access_key_id = A\naws_secret_access_key = s3cret\naws_session_token = t\n";
    let twice = bad("twice", &format!("[default]\n{same}[developer]\n{same}"));
    let broken = bad("broken", "[default]\ns3cret\n");
    for (arguments, told) in [
        (["--policy", &key], "statement 1: Condition \"StringNotEquals\": \"aws:SourceVpc\""),
        (["--policy", &user], "user \"a b\": a name holds letters"),
        (["--policy", &field], "unknown field `policy`"),
        (["--policy", &account], "not a number of 12 digits"),
        (["--policy", &trust], "role \"r\": trust: cannot read"),
        (["--policy", "/nowhere.json"], "cannot read the policy /nowhere.json"),
        (["--user-key-file", &keys], "profile \"nobody\": there is no such user"),
        (["--user-key-file", &twice], "profile \"developer\": another profile has this key"),
        (["--user-key-file", &broken], "line 2 is neither [profile] nor name = value"),
        (["--account", "1234"], "not a number of 12 digits"),
    ] {
        let dir = files.path().join("served");
        let output = Command::new(env!("CARGO_BIN_EXE_rds-local"))
            .args(["serve", "--dir", &dir.display().to_string()])
            .args(arguments)
            .output()
            .unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(told) && !error.contains("s3cret"), "{arguments:?}: {error}");
        assert!(error.lines().count() <= 2 && !dir.exists(), "{error}");
    }
}
