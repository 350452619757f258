//! The Neptune gate: other people's clients, signatures with one defect each, policies, and attacks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::https::{Raw, Signer, now};
use common::{text, with_env_sourced};
use rds_local::neptune::Cluster;
use rds_local::{CLUSTER_RESOURCE_ID, Options};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

async fn start(change: impl FnOnce(Options) -> Options) -> (Cluster, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path());
    let options = Options { resource_id: CLUSTER_RESOURCE_ID.into(), ..options };
    (Cluster::start(change(options)).await.unwrap(), folder)
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("gate.log")).unwrap()
}

/// The last reason in the gate's log.
fn last_reason(folder: &Path) -> String {
    let log = log(folder);
    let line = log.lines().rfind(|line| line.contains("reason=")).unwrap_or_default();
    line.split_once("reason=").map(|(_, reason)| reason.to_owned()).unwrap_or_default()
}

#[tokio::test]
async fn other_peoples_clients() {
    let (cluster, folder) = start(|options| options).await;
    let run = async |script: &str| {
        let output = with_env_sourced(folder.path(), script).await;
        text(&output.stdout) + &text(&output.stderr)
    };

    // A role without an external id; the keys go through jq, with and without -r.
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
    let status: Value = serde_json::from_str(&run(&export("jq -r")).await).unwrap();
    assert_eq!((&status["status"], &status["role"]), (&"healthy".into(), &"writer".into()));
    assert!(log(folder.path()).contains("assumed-role/rds-local-example/test"));
    let refused: Value = serde_json::from_str(&run(&export("jq")).await).unwrap();
    assert_eq!(refused["code"], "AccessDeniedException");
    let message = "The security token included in the request is invalid.";
    assert_eq!(refused["detailedMessage"], message);
    assert!(last_reason(folder.path()).contains("quotes"), "{}", last_reason(folder.path()));

    let created = run("awscurl --service neptune-db --region us-east-1 \
        https://$NEPTUNE_HOST:8182/openCypher -X POST -d 'query=CREATE (p:Person {name: \"Ann\"}) RETURN p'").await;
    let created: Value = serde_json::from_str(&created).unwrap();
    assert_eq!(created["results"][0]["p"]["~labels"][0], "Person");

    let boto3 = run(r#"python - <<'END'
import boto3, json
client = boto3.client("neptunedata")
answer = client.execute_open_cypher_query(
    openCypherQuery="MATCH (p:Person {name: $n}) RETURN p.name AS name", parameters='{"n": "Ann"}')
print(json.dumps([client.get_engine_status()["status"], answer["results"]]))
try:
    client.cancel_open_cypher_query(queryId="none")
except client.exceptions.BadRequestException as error:
    print(error.response["Error"]["Code"])
END"#)
    .await;
    assert!(boto3.contains(r#"["healthy", [{"name": "Ann"}]]"#), "{boto3}");
    assert!(boto3.contains("BadRequestException"), "{boto3}");

    let curl = "curl -sS --aws-sigv4 aws:amz:us-east-1:neptune-db --user $AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY \
                -H \"x-amz-security-token: $AWS_SESSION_TOKEN\" https://$NEPTUNE_HOST:8182/sparql";
    let update =
        run(&format!("{curl} --data-urlencode 'update=INSERT DATA {{ <urn:a> <urn:b> \"x\" }}'"))
            .await;
    assert!(!update.contains("Exception"), "{update}");
    let select =
        run(&format!("{curl} --data-urlencode 'query=SELECT ?o {{ <urn:a> ?p ?o }}'")).await;
    let select: Value = serde_json::from_str(&select).unwrap();
    assert_eq!(select["results"]["bindings"][0]["o"]["value"], "x");
    let elsewhere = run("curl -sS https://example.com/ 2>&1 || true").await;
    assert!(elsewhere.contains("403"), "{elsewhere}");
    cluster.stop().await.unwrap();
}

const QUERY: &str = "query=RETURN%201%20AS%20one";

#[tokio::test]
async fn every_signature_defect_is_refused_and_its_reason_logged() {
    let (cluster, folder) = start(|options| options).await;
    let good = Signer::new(&cluster.variables());

    // What is right: in each form that a client has.
    let presigned = Signer { presigned: Some(Duration::from_secs(60)), ..good.clone() };
    let hashed = Signer { content_hash: true, ..good.clone() };
    let late = Signer { time: now() - Duration::from_secs(290), ..good.clone() };
    for signer in [&good, &presigned, &hashed, &late] {
        for raw in [
            signer.sign("POST", "/openCypher", FORM, QUERY),
            signer.sign("POST", "/openCypher", None, QUERY),
            signer.sign("GET", &format!("/openCypher?{QUERY}"), None, ""),
            signer.sign(
                "POST",
                "/opencypher",
                Some("application/json"),
                r#"{"query":"RETURN 1 AS one","parameters":{}}"#,
            ),
        ] {
            let (status, body) = signer.send(&raw).await;
            assert_eq!(
                (status, body.as_str()),
                (200, r#"{"results":[{"one":1}]}"#),
                "{}",
                raw.target
            );
        }
    }

    let at = |seconds: u64| now() - Duration::from_secs(seconds);
    let base = || good.sign("POST", "/openCypher", FORM, QUERY);
    let from = |signer: &Signer| signer.sign("POST", "/openCypher", FORM, QUERY);
    let changed = |change: &dyn Fn(&mut Raw)| {
        let mut raw = base();
        change(&mut raw);
        raw
    };
    let authorization = |from: &str, to: &str| {
        changed(&|raw| {
            raw.header("authorization", |value| {
                assert!(value.contains(from), "{value}");
                value.replace(from, to)
            })
        })
    };
    let presigned_as = |from: &str, to: &str| {
        let mut raw = presigned.sign("GET", &format!("/openCypher?{QUERY}"), None, "");
        assert!(raw.target.contains(from), "{}", raw.target);
        raw.target = raw.target.replacen(from, to, 1);
        raw
    };
    let with =
        |name: &str, value: &str| changed(&|raw| raw.headers.push((name.into(), value.into())));
    let without = |name: &str| changed(&|raw| raw.headers.retain(|(other, _)| other != name));
    let mut other_key = good.clone();
    other_key.variables.insert("AWS_ACCESS_KEY_ID".into(), "ASIAUNKNOWN".into());
    let mut other_secret = good.clone();
    other_secret.variables.insert("AWS_SECRET_ACCESS_KEY".into(), "wrong".into());
    let mut other_token = good.clone();
    other_token.variables.insert("AWS_SESSION_TOKEN".into(), "wrong".into());
    let mut other_host = good.clone();
    other_host
        .variables
        .insert("NEPTUNE_HOST".into(), "other.us-east-1.neptune.amazonaws.com".into());

    let defects: Vec<(&str, Raw, &str)> = vec![
        ("no signature", without("authorization"), "not signed"),
        ("path", changed(&|raw| raw.target = "/opencypher".into()), "altered after signing"),
        (
            "path with dots",
            changed(&|raw| raw.target = "/x/%2e%2e/openCypher".into()),
            "altered after signing",
        ),
        ("query string", changed(&|raw| raw.target.push_str("?a=1")), "altered after signing"),
        ("method", changed(&|raw| raw.method = "PUT".into()), "altered after signing"),
        (
            "body",
            changed(&|raw| raw.body = b"query=RETURN%202%20AS%20one".to_vec()),
            "altered after signing",
        ),
        (
            "content-type",
            changed(&|raw| raw.header("content-type", |_| "text/plain".into())),
            "altered after signing",
        ),
        ("host", changed(&|raw| raw.header("host", |_| "localhost:8182".into())), "the Host is"),
        (
            "host signed for another",
            {
                let mut raw = from(&other_host);
                raw.header("host", |_| good.endpoint());
                raw
            },
            "altered after signing",
        ),
        (
            "date header",
            changed(&|raw| {
                // The last digit of the seconds, changed whatever it is.
                raw.header("x-amz-date", |date| {
                    let (start, digit) = date.trim_end_matches('Z').split_at(date.len() - 2);
                    format!("{start}{}Z", if digit == "0" { "1" } else { "0" })
                })
            }),
            "altered after signing",
        ),
        (
            "malformed date",
            changed(&|raw| raw.header("x-amz-date", |_| "today".into())),
            "malformed",
        ),
        ("no date", without("x-amz-date"), "X-Amz-Date is missing"),
        (
            "replay after 15 minutes",
            from(&Signer { time: at(900), ..good.clone() }),
            "expired: signed 90",
        ),
        (
            "from the future",
            from(&Signer { time: now() + Duration::from_secs(400), ..good.clone() }),
            "in the future",
        ),
        (
            "scope's date",
            authorization(
                &format!(
                    "/{}/",
                    &base().headers.iter().find(|(n, _)| n == "x-amz-date").unwrap().1[..8]
                ),
                "/20200101/",
            ),
            "dates",
        ),
        ("service", from(&Signer { service: "rds-db".into(), ..good.clone() }), "service"),
        ("region", from(&Signer { region: "eu-west-1".into(), ..good.clone() }), "region"),
        ("terminator", authorization("aws4_request", "aws5_request"), "credential is malformed"),
        ("algorithm", authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"), "AWS4-HMAC-SHA256"),
        ("unknown key", from(&other_key), "unknown access key"),
        ("wrong secret", from(&other_secret), "wrong secret key"),
        ("wrong session token", from(&other_token), "wrong session token"),
        (
            "no session token",
            from(&Signer { session_token: false, ..good.clone() }),
            "session token missing",
        ),
        (
            "session token altered",
            changed(&|raw| raw.header("x-amz-security-token", |value| value.to_lowercase())),
            "wrong session token",
        ),
        ("unsigned x-amz header", with("x-amz-target", "x"), "is not signed"),
        ("host not signed", authorization("host;", ""), "host is not signed"),
        ("signed header not sent", without("content-type"), "was not sent"),
        (
            "signed headers unsorted",
            authorization("content-type;host", "host;content-type"),
            "not sorted",
        ),
        ("no signature field", authorization("Signature=", "Sig="), "lacks Signature"),
        ("two authorizations", with("authorization", "AWS4-HMAC-SHA256 x"), "stands twice"),
        ("two hosts", with("host", "localhost"), "stands twice"),
        ("two dates", with("x-amz-date", "20200101T000000Z"), "stands twice"),
        (
            "content hash of another body",
            {
                let mut raw = from(&hashed);
                raw.body = b"query=RETURN%202".to_vec();
                raw
            },
            "not the body's SHA-256",
        ),
        (
            "signed twice",
            {
                let mut raw = base();
                raw.target.push_str("?X-Amz-Signature=0");
                raw
            },
            "signed twice",
        ),
        (
            "presigned, expired",
            Signer { time: at(61), ..presigned.clone() }.sign(
                "GET",
                &format!("/openCypher?{QUERY}"),
                None,
                "",
            ),
            "valid for 60 s",
        ),
        (
            "presigned, longer life",
            presigned_as("X-Amz-Expires=60", "X-Amz-Expires=600"),
            "altered after signing",
        ),
        (
            "presigned for eternity",
            presigned_as("X-Amz-Expires=60", "X-Amz-Expires=9999999"),
            "between 1 and 604800",
        ),
        ("presigned, query altered", presigned_as("RETURN", "return"), "altered after signing"),
        (
            "presigned, parameter twice",
            presigned_as("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=60"),
            "twice",
        ),
        (
            "presigned, unsigned parameter",
            presigned_as("query=", "parameters=%7B%7D&query="),
            "altered after signing",
        ),
    ];
    assert!(defects.len() >= 25);
    let token = &cluster.variables()["AWS_SESSION_TOKEN"];
    for (name, raw, reason) in defects {
        let (status, body) = good.send(&raw).await;
        assert!(matches!(status, 400 | 403), "{name}: {status} {body}");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{name}: {body}"));
        assert!(body["requestId"].is_string() && body["code"].is_string(), "{name}: {body}");
        let logged = last_reason(folder.path());
        assert!(logged.contains(reason), "{name}: {logged}");
        assert!(!body.to_string().contains("altered after"), "{name}: {body}");
    }
    assert!(!log(folder.path()).contains(token.as_str()), "no session token in the log");
    cluster.stop().await.unwrap();
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

#[tokio::test]
async fn policies_say_what_a_query_may_do() {
    let read = r#""neptune-db:ReadDataViaQuery""#;
    let sparql = r#""Condition": { "StringEquals": { "neptune-db:QueryLanguage": "Sparql" } },"#;
    let policies = tempfile::NamedTempFile::new().unwrap();
    let all = [
        ("reader", allow(read, "")),
        ("writer", allow(r#"["neptune-db:ReadDataViaQuery", "neptune-db:WriteDataViaQuery"]"#, "")),
        (
            "deleter",
            allow(r#"["neptune-db:ReadDataViaQuery", "neptune-db:DeleteDataViaQuery"]"#, ""),
        ),
        ("sparql", allow(r#""neptune-db:*""#, sparql)),
        ("connect", allow(r#""neptune-db:connect""#, "")),
        ("status", allow(r#""neptune-db:GetEngineStatus""#, "")),
        ("everything", allow(r#""neptune-db:*""#, "")),
        ("elsewhere", allow(r#""neptune-db:*""#, "").replace(CLUSTER_RESOURCE_ID, "cluster-OTHER")),
    ];
    let users: Vec<(&str, &str)> = all.iter().map(|(name, text)| (*name, text.as_str())).collect();
    std::fs::write(policies.path(), principals(&users)).unwrap();
    let policy = policies.path().to_owned();
    let (mut cluster, folder) =
        start(|options| Options { policies: vec![policy], ..options }).await;
    let keys = std::fs::read_to_string(folder.path().join("credentials")).unwrap();
    let signer = |user: &str| {
        let profile = keys.split('[').find(|part| part.starts_with(&format!("{user}]"))).unwrap();
        let value = |name: &str| {
            let line = profile.lines().find(|line| line.starts_with(name)).unwrap();
            line.split(" = ").nth(1).unwrap().to_owned()
        };
        let mut signer = Signer { session_token: false, ..Signer::new(&cluster.variables()) };
        signer.variables.insert("AWS_ACCESS_KEY_ID".into(), value("aws_access_key_id"));
        signer.variables.insert("AWS_SECRET_ACCESS_KEY".into(), value("aws_secret_access_key"));
        signer
    };
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
        let signer = signer(user);
        for ((method, path, body), expected) in requests.iter().zip(expected) {
            let raw = signer.sign(method, path, FORM, body);
            let (status, answer) = signer.send(&raw).await;
            assert_eq!(status, expected, "{user}: {path} {body}: {answer}");
            if status == 403 {
                assert!(answer.contains("is not authorized to perform: neptune-db:"), "{answer}");
            }
        }
    }
    attacks(&signer("everything")).await;

    // A slow query is listed, and cancelled by its id.
    let slow = signer("everything");
    let text = "query=UNWIND+range(1,9000)+AS+a+UNWIND+range(1,9000)+AS+b+WITH+a,b+WHERE+a*b%3D7+RETURN+count(*)";
    let began = Instant::now();
    let runs = tokio::spawn({
        let slow = slow.clone();
        async move { slow.send(&slow.sign("POST", "/openCypher", FORM, text)).await }
    });
    let id = loop {
        let (_, list) = slow.send(&slow.sign("GET", "/openCypher/status", None, "")).await;
        let list: Value = serde_json::from_str(&list).unwrap();
        if let Some(id) = list["queries"][0]["queryId"].as_str() {
            break id.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let cancel =
        slow.sign("GET", &format!("/openCypher/status?cancelQuery&queryId={id}"), None, "");
    assert_eq!(slow.send(&cancel).await.0, 200);
    let (status, body) = runs.await.unwrap();
    assert!(status == 500 && body.contains("CancelledByUserException"), "{status} {body}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    cluster.kill_engine().await;
    let (status, body) = slow.send(&slow.sign("POST", "/openCypher", FORM, QUERY)).await;
    assert!(status == 500 && body.contains("InternalFailureException"), "{status} {body}");
    let (status, _) = slow.send(&slow.sign("GET", "/status", None, "")).await;
    assert_eq!(status, 200);
    cluster.stop().await.unwrap();
}

/// Requests that are signed, or claim to be, and must neither reach an engine's other paths nor stop the
/// gate.
async fn attacks(signer: &Signer) {
    for path in [
        "/api/v1/server",
        "/openCypher/../api/v1/server",
        "/",
        "/gremlin",
        "/openCypher/status/a/b",
    ] {
        let (status, body) = signer.send(&signer.sign("GET", path, None, "")).await;
        assert!(matches!(status, 400 | 403 | 404), "{path}: {status} {body}");
    }
    // A chunked body is one body.
    let mut chunked = signer.sign("POST", "/openCypher", FORM, QUERY);
    chunked.headers.push(("transfer-encoding".into(), "chunked".into()));
    chunked.body =
        format!("5\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", &QUERY[..5], QUERY.len() - 5, &QUERY[5..])
            .into_bytes();
    assert_eq!(signer.send(&chunked).await.0, 200);
    // Two lengths, a length and chunks: no second request is smuggled.
    let mut twice = signer.sign("POST", "/openCypher", FORM, QUERY);
    twice.headers.push(("content-length".into(), "3".into()));
    assert_eq!(signer.send(&twice).await.0, 400);
    // A parameter twice, in the body and in the query string.
    let both = signer.sign("POST", "/openCypher?query=RETURN%202", FORM, QUERY);
    assert_eq!(signer.send(&both).await.0, 400);
    // A line break in a path stays one line of the log.
    let (status, _) = signer.send(&signer.sign("GET", "/a%0Ab", None, "")).await;
    assert_eq!(status, 404);
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET http://evil/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    ] {
        let (status, _) = signer.send_bytes(bytes).await;
        assert!(matches!(status, 0 | 400 | 403), "{status}");
    }
    let body = format!("query=RETURN+%27{}%27+AS+a", "x".repeat(8 * 1024 * 1024));
    let (status, answer) = signer.send(&signer.sign("POST", "/openCypher", FORM, &body)).await;
    assert!(matches!(status, 200 | 400 | 500), "{status} {}", &answer[..answer.len().min(200)]);
    let (status, _) = signer.send(&signer.sign("POST", "/openCypher", FORM, QUERY)).await;
    assert_eq!(status, 200);
}
