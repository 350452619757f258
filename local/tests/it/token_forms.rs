//! Go's tokens: `host:port?…`, with no slash. What aws-sdk-go-v2 printed is checked as it is.

use crate::common;

use std::time::{Duration, SystemTime};

use common::{start, text, with_env_sourced};
use rds_local::Options;
use rds_local::explain::explain;
use rds_local::gate::{Expected, verify};
use rds_local::iam::{Iam, Identity, dbuser_arn};

const HOST: &str = "db.c1a2b3.us-east-1.rds.amazonaws.com";

/// What `auth.BuildAuthToken` of github.com/aws/aws-sdk-go-v2/feature/rds/auth v1.2.3 printed at
/// 2026-11-24T11:10:12Z, by session token and user.
const GO: [(Option<&str>, &str, &str); 2] = [
    (
        Some("SeSsIoNtOkEn"),
        "iam_ro_user",
        "db.c1a2b3.us-east-1.rds.amazonaws.com:5432?Action=connect&DBUser=iam_ro_user&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261124%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20261124T111012Z&X-Amz-Expires=900&X-Amz-Security-Token=SeSsIoNtOkEn&X-Amz-SignedHeaders=host&X-Amz-Signature=d26ea0223cdbe197c510d9f437112e296ac44f58063fb6a3dbb78f9ed8f68892",
    ),
    (
        None,
        "report user+é",
        "db.c1a2b3.us-east-1.rds.amazonaws.com:5432?Action=connect&DBUser=report%20user%2B%C3%A9&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261124%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Date=20261124T111012Z&X-Amz-Expires=900&X-Amz-SignedHeaders=host&X-Amz-Signature=91da9dc8b9ff30e8572132a0554d0a5ed2dfe6fe5a3f39cb5832778709c4030c",
    ),
];

fn signed_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_518_612)
}

fn check(token: &str, session: Option<&str>, user: &str, strict: bool) -> Result<String, String> {
    let iam = Iam::new("unused");
    iam.add(Identity::with_key(
        "AKIDEXAMPLE",
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session.map(str::to_owned),
        "arn:aws:iam::123456789012:user/gopher",
        &[dbuser_arn("*")],
    ));
    let expected =
        Expected { host: HOST, port: 5432, region: "us-east-1", user, strict, source_ip: None };
    let now = signed_at() + Duration::from_secs(60);
    verify(token, expected, &iam, now).map(|identity| identity.arn)
}

#[test]
fn gos_tokens_are_accepted_in_both_forms_and_strictly_in_one() {
    for (session, user, token) in GO {
        let with_slash = token.replacen('?', "/?", 1);
        for (token, strict) in [(token, false), (&with_slash, false), (&with_slash, true)] {
            let gopher = Ok("arn:aws:iam::123456789012:user/gopher".to_owned());
            assert_eq!(check(token, session, user, strict), gopher, "{token} {strict}");
        }
        let refused = check(token, session, user, true).unwrap_err();
        assert!(refused.contains("the short form") && refused.contains("--strict"), "{refused}");
        let refused = check(&token.replace("5432?", "5433?"), session, user, false).unwrap_err();
        assert!(refused.contains("signed for endpoint"), "{refused}");
    }
}

/// The JDBC wrapper signs by the AWS SDK for Java, whose own test expects this text: the parameters
/// stand in another order than in the signed request.
#[test]
fn the_sdk_for_javas_published_token_is_accepted() {
    let token = "host.us-east-1.amazonaws.com:3306/?DBUser=mySQLUser&Action=connect&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20161107T173933Z&X-Amz-SignedHeaders=host&X-Amz-Expires=900&X-Amz-Credential=access_key%2F20161107%2Fus-east-1%2Frds-db%2Faws4_request&X-Amz-Signature=87ab58107ef49f1c311a412f98b7f976b0b5152ffb559f0d36c6c9a0c5e0e362";
    let iam = Iam::new("unused");
    let may_connect = [dbuser_arn("*")];
    iam.add(Identity::with_key("access_key", "secret_key", None, "arn:java", &may_connect));
    let expected = Expected {
        host: "host.us-east-1.amazonaws.com",
        port: 3306,
        region: "us-east-1",
        user: "mySQLUser",
        strict: true,
        source_ip: None,
    };
    let signed_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_478_540_373);
    let identity = verify(token, expected, &iam, signed_at + Duration::from_secs(899)).unwrap();
    assert_eq!(identity.arn, "arn:java");
    verify(token, expected, &iam, signed_at + Duration::from_secs(900)).unwrap_err();

    let told = explain(token, signed_at + Duration::from_secs(86_400 * 365 * 8 + 900)).unwrap();
    assert!(told.contains("it expired 7 years ago"), "{told}");
    assert!(told.contains("CREATE USER 'mySQLUser' IDENTIFIED WITH AWSAuthenticationPlugin"));
}

#[test]
fn explain_says_which_form_it_is() {
    let now = signed_at() + Duration::from_secs(60);
    let (_, _, token) = GO[0];
    let told = explain(token, now).unwrap();
    assert!(
        told.contains("host:port?…, without the slash, as older versions of Go's SDK write it"),
        "{told}"
    );
    assert!(!told.contains("PROBLEM") && !told.contains("SeSsIoNtOkEn"), "{told}");
    let told = explain(&token.replacen('?', "/?", 1), now).unwrap();
    assert!(told.contains("host:port/?…, as most SDKs write it"), "{told}");
}

#[test]
fn a_password_with_a_question_mark_is_not_shown() {
    for password in ["hunter2?", "a:1?b", "p@ss:word?x=1", "what/?"] {
        let refused = check(password, None, "u", false).unwrap_err();
        assert_eq!(refused, "not a token but a plain password", "{password}");
    }
}

#[tokio::test]
async fn a_login_with_the_short_form_works_unless_the_endpoint_is_strict() {
    let script = format!(
        "token=$('{}' token); PGPASSWORD=\"${{token/\\/\\?/?}}\" psql -X -At -c 'SELECT 1'",
        env!("CARGO_BIN_EXE_rds-local")
    );
    let (server, folder) = start(|options| options).await;
    let output = with_env_sourced(folder.path(), &script).await;
    assert_eq!(text(&output.stdout), "1\n", "{}", text(&output.stderr));
    server.stop().await.unwrap();

    let (server, folder) = start(|options| Options { strict: true, ..options }).await;
    let output = with_env_sourced(folder.path(), &script).await;
    assert!(text(&output.stderr).contains("PAM authentication failed"), "{output:?}");
    let record = server.gate.log().records().pop().unwrap();
    assert!(record.outcome.unwrap_err().contains("the short form"));
    server.stop().await.unwrap();
}
