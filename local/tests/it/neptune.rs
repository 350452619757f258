//! The Neptune gate: other people's clients, policies, attacks, and queries that run. Signatures are in
//! `neptune_signatures.rs`.

use crate::common;

use std::path::Path;
use std::time::Duration;

use common::cluster::{FORM, QUERY, last_reason, log, start};
use common::https::Signer;
use common::{text, with_env_sourced};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rds_local::neptune::Cluster;
use rds_local::{CLUSTER_RESOURCE_ID, Options};
use serde_json::Value;

/// What a shell script prints, with the cluster's environment.
async fn run(folder: &Path, script: &str) -> String {
    let output = with_env_sourced(folder, script).await;
    text(&output.stdout) + &text(&output.stderr)
}

#[tokio::test]
async fn other_peoples_clients() {
    let (cluster, folder) = start(|options| options).await;
    let folder = folder.path();
    the_aws_cli_assumes_a_role_and_awscurl_uses_it(folder).await;
    awscurl_writes_what_boto3_reads(folder).await;
    curl_updates_and_selects(folder).await;
    requests_signed_by_botocore(folder).await;
    let elsewhere = run(folder, "curl -sS https://example.com/ 2>&1 || true").await;
    assert!(elsewhere.contains("403"), "{elsewhere}");
    cluster.stop().await.unwrap();
}

/// A role without an external id; the keys go through jq, with and without -r.
async fn the_aws_cli_assumes_a_role_and_awscurl_uses_it(folder: &Path) {
    let assume = "aws sts assume-role --role-arn $DB_ROLE_ARN_EXAMPLE --role-session-name test \
                  > $RDS_LOCAL_DIR/credentials.json\n";
    let export = |jq: &str| {
        format!(
            "{assume}
            export AWS_ACCESS_KEY_ID=$(cat $RDS_LOCAL_DIR/credentials.json | {jq} '.Credentials.AccessKeyId')
            export AWS_SECRET_ACCESS_KEY=$(cat $RDS_LOCAL_DIR/credentials.json | {jq} '.Credentials.SecretAccessKey')
            export AWS_SESSION_TOKEN=$(cat $RDS_LOCAL_DIR/credentials.json | {jq} '.Credentials.SessionToken')
            awscurl --service neptune-db --region us-east-1 https://$NEPTUNE_HOST:8182/status"
        )
    };
    let status: Value = serde_json::from_str(&run(folder, &export("jq -r")).await).unwrap();
    assert_eq!((&status["status"], &status["role"]), (&"healthy".into(), &"writer".into()));
    assert!(log(folder).contains("assumed-role/rds-local-example/test"));
    let refused: Value = serde_json::from_str(&run(folder, &export("jq")).await).unwrap();
    assert_eq!(refused["code"], "AccessDeniedException");
    let message = "The security token included in the request is invalid.";
    assert_eq!(refused["detailedMessage"], message);
    assert!(last_reason(folder).contains("quotes"), "{}", last_reason(folder));
}

async fn awscurl_writes_what_boto3_reads(folder: &Path) {
    let create = "awscurl --service neptune-db --region us-east-1 \
        https://$NEPTUNE_HOST:8182/openCypher -X POST -d 'query=CREATE (p:Person {name: \"Ann\"}) RETURN p'";
    let created: Value = serde_json::from_str(&run(folder, create).await).unwrap();
    assert_eq!(created["results"][0]["p"]["~labels"][0], "Person");

    let boto3 = run(
        folder,
        r#"python - <<'END'
import boto3, json
client = boto3.client("neptunedata")
answer = client.execute_open_cypher_query(
    openCypherQuery="MATCH (p:Person {name: $n}) RETURN p.name AS name", parameters='{"n": "Ann"}')
print(json.dumps([client.get_engine_status()["status"], answer["results"]]))
try:
    client.cancel_open_cypher_query(queryId="none")
except client.exceptions.BadRequestException as error:
    print(error.response["Error"]["Code"])
END"#,
    )
    .await;
    assert!(boto3.contains(r#"["healthy", [{"name": "Ann"}]]"#), "{boto3}");
    assert!(boto3.contains("BadRequestException"), "{boto3}");
}

async fn curl_updates_and_selects(folder: &Path) {
    let curl = "curl -sS --aws-sigv4 aws:amz:us-east-1:neptune-db --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY \
                -H \"x-amz-security-token: $AWS_SESSION_TOKEN\" https://$NEPTUNE_HOST:8182/sparql";
    let update =
        format!("{curl} --data-urlencode 'update=INSERT DATA {{ <urn:a> <urn:b> \"x\" }}'");
    let update = run(folder, &update).await;
    assert!(!update.contains("Exception"), "{update}");
    let select = format!("{curl} --data-urlencode 'query=SELECT ?o {{ <urn:a> ?p ?o }}'");
    let select: Value = serde_json::from_str(&run(folder, &select).await).unwrap();
    assert_eq!(select["results"]["bindings"][0]["o"]["value"], "x");
}

/// The paths of AWS's sample in Python and of graph-notebook, which both sign so.
async fn requests_signed_by_botocore(folder: &Path) {
    let told = run(
        folder,
        r#"python - <<'END'
import os, requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session
credentials = Session().get_credentials().get_frozen_credentials()
def send(method, path, data=None):
    url = f"https://{os.environ['NEPTUNE_HOST']}:8182{path}"
    request = AWSRequest(method=method, url=url, data=data)
    SigV4Auth(credentials, "neptune-db", "us-east-1").add_auth(request)
    return requests.request(method, url, data=data, headers=dict(request.headers)).status_code
print(send("GET", "/status/"), send("GET", "/openCypher/status/"),
      send("POST", "/openCypher/", {"query": "MATCH (n) RETURN n"}),
      send("POST", "/openCypher/status"),
      send("POST", "/sparql/", {"update": "INSERT DATA { <urn:c> <urn:d> 1 }"}),
      send("POST", "//sparql", {"query": "SELECT * { ?s ?p ?o }"}))
END"#,
    )
    .await;
    assert_eq!(told, "200 200 200 200 200 200\n");
}

/// A file of principals whose users have these actions, under these conditions.
fn principals(users: &[(&str, &str)]) -> String {
    let users: Vec<String> = users
        .iter()
        .map(|(name, statements)| {
            format!(r#""{name}": {{ "policies": [{{ "Version": "2012-10-17", "Statement": [{statements}] }}] }}"#)
        })
        .collect();
    format!(r#"{{ "users": {{ {} }} }}"#, users.join(","))
}

fn allow(actions: &str, rest: &str) -> String {
    format!(
        r#"{{ "Effect": "Allow", "Action": {actions}, {rest}
            "Resource": "arn:aws:neptune-db:us-east-1:123456789012:{CLUSTER_RESOURCE_ID}/*" }}"#
    )
}

/// Users, each with one policy.
fn policies() -> String {
    let read = r#""neptune-db:ReadDataViaQuery""#;
    let write = r#"["neptune-db:ReadDataViaQuery", "neptune-db:WriteDataViaQuery"]"#;
    let delete = r#"["neptune-db:ReadDataViaQuery", "neptune-db:DeleteDataViaQuery"]"#;
    let all = r#""neptune-db:*""#;
    let sparql = r#""Condition": { "StringEquals": { "neptune-db:QueryLanguage": "Sparql" } },"#;
    let users = [
        ("reader", allow(read, "")),
        ("writer", allow(write, "")),
        ("deleter", allow(delete, "")),
        ("sparql", allow(all, sparql)),
        ("connect", allow(r#""neptune-db:connect""#, "")),
        ("status", allow(r#""neptune-db:GetEngineStatus""#, "")),
        ("everything", allow(all, "")),
        ("elsewhere", allow(all, "").replace(CLUSTER_RESOURCE_ID, "cluster-OTHER")),
    ];
    let users: Vec<(&str, &str)> =
        users.iter().map(|(name, text)| (*name, text.as_str())).collect();
    principals(&users)
}

/// The signer of a user of the file of policies, with the keys that the cluster wrote for it.
fn signer(cluster: &Cluster, folder: &Path, user: &str) -> Signer {
    let keys = std::fs::read_to_string(folder.join("credentials")).unwrap();
    let profile = keys.split('[').find(|part| part.starts_with(&format!("{user}]"))).unwrap();
    let value = |name: &str| {
        let line = profile.lines().find(|line| line.starts_with(name)).unwrap();
        line.split(" = ").nth(1).unwrap().to_owned()
    };
    let mut signer = Signer { session_token: false, ..Signer::new(&cluster.variables()) };
    signer.variables.insert("AWS_ACCESS_KEY_ID".into(), value("aws_access_key_id"));
    signer.variables.insert("AWS_SECRET_ACCESS_KEY".into(), value("aws_secret_access_key"));
    signer
}

/// The parts run in turn on one cluster, whose engine is slow to start.
#[tokio::test]
async fn policies_attacks_and_running_queries() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), policies()).unwrap();
    let policies = vec![file.path().to_owned()];
    let (mut cluster, folder) = start(|options| Options { policies, ..options }).await;
    let folder = folder.path();
    policies_say_what_a_query_may_do(&cluster, folder).await;
    let signer = signer(&cluster, folder, "everything");
    paths_and_bodies_do_not_reach_past_the_gate(&signer).await;
    no_request_writes_a_line_of_the_log(&signer, folder).await;
    what_is_not_http_ends_its_connection_only(&signer).await;
    a_long_query_is_answered(&signer).await;
    a_slow_query_is_listed_and_cancelled(&signer).await;

    cluster.kill_engine().await;
    let (status, body) = signer.send(&signer.sign("POST", "/openCypher", FORM, QUERY)).await;
    assert!(status == 500 && body.contains("InternalFailureException"), "{status} {body}");
    let (status, _) = signer.send(&signer.sign("GET", "/status", None, "")).await;
    assert_eq!(status, 200);
    cluster.stop().await.unwrap();
}

async fn policies_say_what_a_query_may_do(cluster: &Cluster, folder: &Path) {
    let requests = [
        ("GET", "/status", ""),
        ("POST", "/openCypher", "query=MATCH+(n)+RETURN+n"),
        ("POST", "/openCypher", "query=CREATE+(n:A)"),
        ("POST", "/openCypher", "query=MATCH+(n:A)+DELETE+n"),
        ("POST", "/sparql", "query=ASK+%7B%7D"),
        ("POST", "/sparql", "update=INSERT+DATA+%7B%3Curn:a%3E+%3Curn:b%3E+1%7D"),
        ("POST", "/sparql", "update=DELETE+WHERE+%7B%3Fs+%3Fp+%3Fo%7D"),
        ("GET", "/openCypher/status", ""),
    ];
    for (user, expected) in [
        ("reader", [403, 200, 403, 403, 200, 403, 403, 403]),
        ("writer", [403, 200, 200, 403, 200, 200, 403, 403]),
        ("deleter", [403, 200, 403, 200, 200, 403, 200, 403]),
        ("sparql", [403, 403, 403, 403, 200, 200, 200, 403]),
        ("connect", [403; 8]),
        ("status", [200, 403, 403, 403, 403, 403, 403, 403]),
        ("everything", [200; 8]),
        ("elsewhere", [403; 8]),
    ] {
        let signer = signer(cluster, folder, user);
        for ((method, path, body), expected) in requests.iter().zip(expected) {
            let raw = signer.sign(method, path, FORM, body);
            let (status, answer) = signer.send(&raw).await;
            assert_eq!(status, expected, "{user}: {path} {body}: {answer}");
            if status == 403 {
                assert!(answer.contains("is not authorized to perform: neptune-db:"), "{answer}");
            }
        }
    }
}

/// Requests that are signed must not reach an engine's other paths, or be two requests.
async fn paths_and_bodies_do_not_reach_past_the_gate(signer: &Signer) {
    for (path, expected) in [
        ("/api/v1/server", 404),
        ("/openCypher/../api/v1/server", 404),
        ("/", 404),
        ("/gremlin", 400),
        ("/openCypher/status/a/b", 404),
    ] {
        let (status, body) = signer.send(&signer.sign("GET", path, None, "")).await;
        assert_eq!(status, expected, "{path}: {body}");
    }
    // A chunked body is one body.
    let mut chunked = signer.sign("POST", "/openCypher", FORM, QUERY);
    chunked.headers.push(("transfer-encoding".into(), "chunked".into()));
    let (start, rest) = QUERY.split_at(5);
    let body = format!("5\r\n{start}\r\n{:x}\r\n{rest}\r\n0\r\n\r\n", rest.len());
    chunked.body = body.into_bytes();
    assert_eq!(signer.send(&chunked).await.0, 200);
    // Two lengths, a length and chunks: no second request is smuggled.
    let mut twice = signer.sign("POST", "/openCypher", FORM, QUERY);
    twice.headers.push(("content-length".into(), "3".into()));
    assert_eq!(signer.send(&twice).await.0, 400);
    // A parameter twice, in the body and in the query string.
    let both = signer.sign("POST", "/openCypher?query=RETURN%202", FORM, QUERY);
    assert_eq!(signer.send(&both).await.0, 400);
}

/// A line break in a path, and one that the gate decodes: each request stays one line.
async fn no_request_writes_a_line_of_the_log(signer: &Signer, folder: &Path) {
    let forged = "\n2026-01-01T00:00:00Z gate: request accepted POST principal=x";
    let in_path = format!("/a{}", utf8_percent_encode(forged, NON_ALPHANUMERIC));
    let in_path = signer.sign("GET", &in_path, None, "");
    let presigned = Some(Duration::from_secs(60));
    let region = format!("us-east-1{forged}");
    let in_region = Signer { presigned, region, ..signer.clone() }.sign("GET", "/status", None, "");
    for (raw, expected, reason) in
        [(in_path, 404, "no such path"), (in_region, 403, "signed for region")]
    {
        let before = log(folder).lines().count();
        assert_eq!(signer.send(&raw).await.0, expected, "{reason}");
        let log = log(folder);
        // A connection that ends may have a line too.
        let requests: Vec<&str> =
            log.lines().skip(before).filter(|line| line.contains(" gate: request ")).collect();
        let [line] = requests[..] else { panic!("{requests:#?}") };
        let (_, text) = line.split_once(" gate: ").unwrap();
        assert!(text.starts_with("request refused GET ") && text.contains(reason), "{line}");
    }
}

async fn what_is_not_http_ends_its_connection_only(signer: &Signer) {
    for (bytes, expected) in [
        (&b"\0\0\0\0\r\n\r\n"[..], 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET http://evil/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 403),
    ] {
        let (status, body) = signer.send_bytes(bytes).await;
        assert_eq!(status, expected, "{}: {body}", bytes.escape_ascii());
    }
    let (status, _) = signer.send(&signer.sign("POST", "/openCypher", FORM, QUERY)).await;
    assert_eq!(status, 200);
}

/// Eight megabytes are far less than Neptune's limit, which the gate has too: the engine gets them, and
/// its answer comes back whole.
async fn a_long_query_is_answered(signer: &Signer) {
    let text = "x".repeat(8 * 1024 * 1024);
    let body = format!("query=RETURN+%27{text}%27+AS+a");
    let (status, answer) = signer.send(&signer.sign("POST", "/openCypher", FORM, &body)).await;
    let start = &answer[..answer.len().min(200)];
    assert_eq!(status, 200, "{start}");
    assert!(answer == format!(r#"{{"results":[{{"a":"{text}"}}]}}"#), "{} {start}", answer.len());
}

async fn a_slow_query_is_listed_and_cancelled(signer: &Signer) {
    let text = "query=UNWIND+range(1,9000)+AS+a+UNWIND+range(1,9000)+AS+b+WITH+a,b+WHERE+a*b%3D7+RETURN+count(*)";
    let runs = tokio::spawn({
        let signer = signer.clone();
        async move { signer.send(&signer.sign("POST", "/openCypher", FORM, text)).await }
    });
    let id = loop {
        let (_, list) = signer.send(&signer.sign("GET", "/openCypher/status", None, "")).await;
        let list: Value = serde_json::from_str(&list).unwrap();
        if let Some(id) = list["queries"][0]["queryId"].as_str() {
            break id.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let cancel =
        signer.sign("GET", &format!("/openCypher/status?cancelQuery&queryId={id}"), None, "");
    assert_eq!(signer.send(&cancel).await.0, 200);
    let (status, body) = runs.await.unwrap();
    assert!(status == 500 && body.contains("CancelledByUserException"), "{status} {body}");
}
