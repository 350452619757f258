//! Requests that no SDK sends, or sends rarely: presigned URLs, clocks that are off, parameters that
//! would be ignored, and bodies that are huge. Each has an answer at once, in AWS's words.

use crate::common;

use std::time::Duration;

use aws_smithy_async::test_util::ManualTimeSource;
use aws_smithy_async::time::SharedTimeSource;
use common::{start, text, with_env_sourced};
use rds_local::Options;

/// Sends requests by hand, signed by botocore where they are signed at all.
const PRELUDE: &str = r#"
import os, re, time, urllib.error, urllib.request, xml.dom.minidom
import boto3, botocore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
env = os.environ
url = env["AWS_ENDPOINT_URL_STS"] + "/"
def send(url, body=None, headers={}):
    began = time.monotonic()
    try:
        answer = urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=20).read()
    except urllib.error.HTTPError as error:
        answer = error.read()
    assert time.monotonic() - began < 3, "it took too long"
    if not answer.startswith(b"<"):
        return answer.decode()
    xml.dom.minidom.parseString(answer)
    answer = answer.decode()
    found = re.search("<Message>(.*)</Message>", answer) or re.search("<Arn>(.*)</Arn>", answer)
    code = re.search("<Code>(.*)</Code>", answer)
    return (code[1] + ": " if code else "") + found[1]
def signed(body):
    request = AWSRequest("POST", url, data=body, headers={"content-type": "application/x-www-form-urlencoded"})
    SigV4Auth(boto3.Session().get_credentials(), "sts", "us-east-1").add_auth(request)
    return send(url, body.encode(), dict(request.headers))
role = "Action=AssumeRole&RoleSessionName=me&RoleArn=" + env["DB_ROLE_ARN_EXAMPLE"]
"#;

async fn told(folder: &std::path::Path, script: &str) -> Vec<String> {
    let output =
        with_env_sourced(folder, &format!("python - <<'END'\n{PRELUDE}{script}\nEND")).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_presigned_url_proves_an_identity() {
    let (server, folder) = start(|options| options).await;
    let told = told(
        folder.path(),
        r#"
presigned = boto3.client("sts").generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="GET")
print(send(presigned))
print(send(presigned.replace("Signature=", "Signature=0")))
print(send(presigned.replace("X-Amz-Expires=60", "X-Amz-Expires=61")))
print(send(presigned.replace("X-Amz-Expires=60", "X-Amz-Expires=-1")))
print(send(re.sub("&X-Amz-Date=[^&]*", "", presigned)))
print(send(re.sub("&X-Amz-Security-Token=[^&]*", "", presigned)))
print(send(url + "?Action=GetCallerIdentity"))
print(send(url))"#,
    )
    .await;
    let beginnings = [
        "arn:aws:iam::123456789012:user/developer",
        "SignatureDoesNotMatch: The request signature we calculated",
        "SignatureDoesNotMatch: The request signature we calculated",
        "IncompleteSignature: X-Amz-Expires must be between",
        "IncompleteSignature: The query has no complete signature",
        "InvalidClientTokenId: The security token included in the request is invalid.",
        "MissingAuthenticationToken: Request is missing Authentication Token",
        "MissingAction: ",
    ];
    assert_eq!(told.len(), beginnings.len(), "{told:?}");
    for (line, beginning) in told.iter().zip(beginnings) {
        assert!(line.starts_with(beginning), "{line}, not {beginning}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_clock_that_is_off_is_named() {
    for (ahead, wanted) in [
        (true, "SignatureDoesNotMatch: Signature expired: .* is now earlier than .* - 5 min"),
        (
            false,
            "SignatureDoesNotMatch: Signature not yet current: .* is still later than .* 5 min",
        ),
    ] {
        let hour = Duration::from_secs(3600);
        let now = SharedTimeSource::default().now();
        let now = if ahead { now + hour } else { now - hour };
        let clock = SharedTimeSource::new(ManualTimeSource::new(now));
        let (server, folder) = start(|options| Options { clock, ..options }).await;
        let script =
            format!("print(bool(re.search(\"{wanted}\", signed('Action=GetCallerIdentity'))))");
        assert_eq!(told(folder.path(), &script).await, ["True"], "{wanted}");
        server.stop().await.unwrap();
    }
}

const ODD_REQUESTS: &str = r#"
print(signed(role + "&RoleSessionName=you"))
print(signed(role + "&Tags.member.2.Key=a&Tags.member.2.Value=b"))
print(signed(role + "&Tags.member.01.Key=a"))
print(signed(role + "&Tags.member.1.Key=a&Tags.member.1.Colour=b"))
print(signed(role + "&Tags.member.1.Value=b"))
print(signed(role + "&Tags=a"))
print(signed(role + "&Policy.member.1=a"))
print(signed(role + "&Tags.member.1.Key=" + "k" * 129))
print(signed(role + "".join(f"&Tags.member.{n}.Key=k{n}" for n in range(1, 4000)))[:60])
print(signed(role + "&ExternalId="))
print(signed(role + "&ExternalId=s3cret%20%3F"))
print(signed("Action=AssumeRole&RoleSessionName=me&RoleArn=arn:aws:iam::123456789012:role/%01%1b%3C"))
print(send(url, b"&".join(b"a%d" % n for n in range(17000))))
print(send(url, b"Action=x&" + b"a" * 3000000))
print(send(url, b"Action=%ff"))
print(send(url, b"Action=GetCallerIdentity", {"Authorization": "AWS4-HMAC-SHA256 Credential="}))
print(send(url, b"Action=GetCallerIdentity", {"Authorization": "Basic eA=="}))
print(signed("Action=GetFederationToken&Name=me")[:52])"#;

#[tokio::test]
async fn nothing_is_ignored_and_nothing_takes_long() {
    let (server, folder) = start(|options| options).await;
    let told = told(folder.path(), ODD_REQUESTS).await;
    let tag = "ValidationError: 1 validation error detected: Value at";
    let developer = "User: arn:aws:iam::123456789012:user/developer is not authorized to perform: \
                     sts:AssumeRole on resource: arn:aws:iam::123456789012:role/";
    assert_eq!(
        told,
        [
            "MalformedQueryString: The query string is malformed".to_owned(),
            "MalformedInput: Unexpected list element: Tags.member.2.Key".into(),
            "MalformedInput: Unexpected list element: Tags.member.01.Key".into(),
            "MalformedInput: Unexpected list element: Tags.member.1.Colour".into(),
            "MalformedInput: Unexpected list element: Tags.member.1.Value".into(),
            "ValidationError: rds-local's STS does not support the parameter Tags".into(),
            "ValidationError: rds-local's STS does not support the parameter Policy.member.1"
                .into(),
            format!(
                "{tag} 'tags.1.member.key' failed to satisfy constraint: Member must have length less than or equal to 128"
            ),
            format!("{tag} 'tags'")[..60].to_owned(),
            format!(
                "{tag} 'externalId' failed to satisfy constraint: Member must have length greater than or equal to 2"
            ),
            format!(
                "{tag} 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@:\\/-]*"
            ),
            format!("AccessDenied: {developer}\u{fffd}\u{fffd}&lt;"),
            "MissingAction: The request is missing an Action".into(),
            "Failed to buffer the request body: length limit exceeded".into(),
            "MalformedQueryString: The query string is malformed".into(),
            "IncompleteSignature: The Authorization header is incomplete".into(),
            "MissingAuthenticationToken: Request is missing Authentication Token".into(),
            "InvalidAction: Could not find operation GetFederatio".into(),
        ]
    );
    let log = std::fs::read_to_string(folder.path().join("sts.log")).unwrap();
    assert!(!log.contains("s3cret"), "{log}");
    server.stop().await.unwrap();
}
