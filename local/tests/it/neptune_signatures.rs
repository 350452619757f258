//! The Neptune gate's check of signatures: every form that a client has is accepted, and a request with
//! one defect is refused, with a reason that only the log has.

use crate::common;

use std::time::{Duration, SystemTime};

use common::cluster::{FORM, QUERY, last_reason, log, start};
use common::https::{Raw, Signer, now};
use serde_json::Value;

/// A defect's name, the request, and what the gate's log says of it.
type Defect = (&'static str, Raw, &'static str);

const ALTERED: &str = "altered after signing";

#[tokio::test]
async fn every_signature_defect_is_refused_and_its_reason_logged() {
    let (cluster, folder) = start(|options| options).await;
    let signers = Signers::new(&Signer::new(&cluster.variables()));
    good_signatures_are_accepted(&signers).await;
    let defects = [
        signers.altered_requests(),
        signers.wrong_dates(),
        signers.wrong_scopes(),
        signers.wrong_keys(),
        signers.wrong_headers(),
        signers.repeated_parts(),
        signers.presigned_defects(),
    ]
    .concat();
    assert!(defects.len() >= 25);
    let token = &cluster.variables()["AWS_SESSION_TOKEN"];
    for (name, raw, reason) in defects {
        let (status, body) = signers.good.send(&raw).await;
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

/// What is right, in each form that a client has.
async fn good_signatures_are_accepted(signers: &Signers) {
    let late = signers.at(seconds_ago(290));
    for signer in [&signers.good, &signers.presigned, &signers.hashed, &late] {
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
            let answer = signer.send(&raw).await;
            let expected = (200, r#"{"results":[{"one":1}]}"#.to_owned());
            assert_eq!(answer, expected, "{}", raw.target);
        }
    }
}

fn seconds_ago(seconds: u64) -> SystemTime {
    now() - Duration::from_secs(seconds)
}

/// Ways to sign a query, each of which is right.
struct Signers {
    good: Signer,
    presigned: Signer,
    /// With the body's hash in a header.
    hashed: Signer,
}

impl Signers {
    fn new(good: &Signer) -> Self {
        Self {
            good: good.clone(),
            presigned: Signer { presigned: Some(Duration::from_secs(60)), ..good.clone() },
            hashed: Signer { content_hash: true, ..good.clone() },
        }
    }

    fn at(&self, time: SystemTime) -> Signer {
        Signer { time, ..self.good.clone() }
    }

    /// A signer whose variable of this name is another.
    fn other(&self, name: &str, value: &str) -> Signer {
        let mut signer = self.good.clone();
        signer.variables.insert(name.into(), value.into());
        signer
    }

    /// A good request, changed after signing.
    fn changed(&self, change: impl FnOnce(&mut Raw)) -> Raw {
        let mut raw = query(&self.good);
        change(&mut raw);
        raw
    }

    fn with(&self, name: &str, value: &str) -> Raw {
        self.changed(|raw| raw.headers.push((name.into(), value.into())))
    }

    fn without(&self, name: &str) -> Raw {
        self.changed(|raw| raw.headers.retain(|(other, _)| other != name))
    }

    /// A good request whose Authorization header has `to` in the place of `from`.
    fn authorization(&self, from: &str, to: &str) -> Raw {
        self.changed(|raw| {
            raw.header("authorization", |value| {
                assert!(value.contains(from), "{value}");
                value.replace(from, to)
            });
        })
    }

    /// A request that was signed in its query string, and has `to` in the place of `from`.
    fn presigned_as(&self, from: &str, to: &str) -> Raw {
        let mut raw = presigned_query(&self.presigned);
        assert!(raw.target.contains(from), "{}", raw.target);
        raw.target = raw.target.replacen(from, to, 1);
        raw
    }

    fn altered_requests(&self) -> Vec<Defect> {
        let other_host = self.other("NEPTUNE_HOST", "other.us-east-1.neptune.amazonaws.com");
        let mut signed_for_another = query(&other_host);
        signed_for_another.header("host", |_| self.good.endpoint());
        let other_body = b"query=RETURN%202%20AS%20one".to_vec();
        let dots = "/x/%2e%2e/openCypher";
        let text = |_: &str| "text/plain".to_owned();
        let local = |_: &str| "localhost:8182".to_owned();
        vec![
            ("no signature", self.without("authorization"), "not signed"),
            ("path", self.changed(|raw| raw.target = "/opencypher".into()), ALTERED),
            ("path with dots", self.changed(|raw| raw.target = dots.into()), ALTERED),
            ("query string", self.changed(|raw| raw.target.push_str("?a=1")), ALTERED),
            ("method", self.changed(|raw| raw.method = "PUT".into()), ALTERED),
            ("body", self.changed(|raw| raw.body = other_body), ALTERED),
            ("content-type", self.changed(|raw| raw.header("content-type", text)), ALTERED),
            ("host", self.changed(|raw| raw.header("host", local)), "the Host is"),
            ("host signed for another", signed_for_another, ALTERED),
        ]
    }

    fn wrong_dates(&self) -> Vec<Defect> {
        // The last digit of the seconds, changed whatever it is.
        let next_second = |date: &str| {
            let (start, digit) = date.trim_end_matches('Z').split_at(date.len() - 2);
            format!("{start}{}Z", if digit == "0" { "1" } else { "0" })
        };
        let today = |_: &str| "today".to_owned();
        let good = query(&self.good);
        let (_, date) = good.headers.iter().find(|(name, _)| name == "x-amz-date").unwrap();
        let scopes_date = self.authorization(&format!("/{}/", &date[..8]), "/20200101/");
        let future = self.at(now() + Duration::from_secs(400));
        vec![
            ("date header", self.changed(|raw| raw.header("x-amz-date", next_second)), ALTERED),
            ("malformed date", self.changed(|raw| raw.header("x-amz-date", today)), "malformed"),
            ("no date", self.without("x-amz-date"), "X-Amz-Date is missing"),
            ("replay after 15 minutes", query(&self.at(seconds_ago(900))), "expired: signed 90"),
            ("from the future", query(&future), "in the future"),
            ("scope's date", scopes_date, "dates"),
        ]
    }

    fn wrong_scopes(&self) -> Vec<Defect> {
        let service = Signer { service: "rds-db".into(), ..self.good.clone() };
        let region = Signer { region: "eu-west-1".into(), ..self.good.clone() };
        let terminator = self.authorization("aws4_request", "aws5_request");
        let algorithm = self.authorization("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1");
        vec![
            ("service", query(&service), "service"),
            ("region", query(&region), "region"),
            ("terminator", terminator, "credential is malformed"),
            ("algorithm", algorithm, "AWS4-HMAC-SHA256"),
        ]
    }

    fn wrong_keys(&self) -> Vec<Defect> {
        let no_token = Signer { session_token: false, ..self.good.clone() };
        let lower_case = self.changed(|raw| raw.header("x-amz-security-token", str::to_lowercase));
        let key = self.other("AWS_ACCESS_KEY_ID", "ASIAUNKNOWN");
        let secret = self.other("AWS_SECRET_ACCESS_KEY", "wrong");
        let token = self.other("AWS_SESSION_TOKEN", "wrong");
        vec![
            ("unknown key", query(&key), "unknown access key"),
            ("wrong secret", query(&secret), "wrong secret key"),
            ("wrong session token", query(&token), "wrong session token"),
            ("no session token", query(&no_token), "session token missing"),
            ("session token altered", lower_case, "wrong session token"),
        ]
    }

    fn wrong_headers(&self) -> Vec<Defect> {
        let unsorted = self.authorization("content-type;host", "host;content-type");
        let mut other_body = query(&self.hashed);
        other_body.body = b"query=RETURN%202".to_vec();
        vec![
            ("unsigned x-amz header", self.with("x-amz-target", "x"), "is not signed"),
            ("host not signed", self.authorization("host;", ""), "host is not signed"),
            ("signed header not sent", self.without("content-type"), "was not sent"),
            ("signed headers unsorted", unsorted, "not sorted"),
            ("no signature field", self.authorization("Signature=", "Sig="), "lacks Signature"),
            ("content hash of another body", other_body, "not the body's SHA-256"),
        ]
    }

    fn repeated_parts(&self) -> Vec<Defect> {
        let authorization = self.with("authorization", "AWS4-HMAC-SHA256 x");
        let signed_twice = self.changed(|raw| raw.target.push_str("?X-Amz-Signature=0"));
        vec![
            ("two authorizations", authorization, "stands twice"),
            ("two hosts", self.with("host", "localhost"), "stands twice"),
            ("two dates", self.with("x-amz-date", "20200101T000000Z"), "stands twice"),
            ("signed twice", signed_twice, "signed twice"),
        ]
    }

    fn presigned_defects(&self) -> Vec<Defect> {
        let life = "X-Amz-Expires=60";
        let expired = Signer { time: seconds_ago(61), ..self.presigned.clone() };
        let longer = self.presigned_as(life, "X-Amz-Expires=600");
        let eternal = self.presigned_as(life, "X-Amz-Expires=9999999");
        let twice = self.presigned_as(life, "X-Amz-Expires=60&X-Amz-Expires=60");
        let unsigned = self.presigned_as("query=", "parameters=%7B%7D&query=");
        vec![
            ("presigned, expired", presigned_query(&expired), "valid for 60 s"),
            ("presigned, longer life", longer, ALTERED),
            ("presigned for eternity", eternal, "between 1 and 604800"),
            ("presigned, query altered", self.presigned_as("RETURN", "return"), ALTERED),
            ("presigned, parameter twice", twice, "twice"),
            ("presigned, unsigned parameter", unsigned, ALTERED),
        ]
    }
}

fn query(signer: &Signer) -> Raw {
    signer.sign("POST", "/openCypher", FORM, QUERY)
}

fn presigned_query(signer: &Signer) -> Raw {
    signer.sign("GET", &format!("/openCypher?{QUERY}"), None, "")
}
