//! Tokens agree with other implementations: botocore, the AWS SDK for Rust, and the gate's own
//! check, which shares no code with the signer.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_rds::auth_token::{AuthTokenGenerator, Config};
use aws_smithy_async::time::{SharedTimeSource, StaticTimeSource};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use rds_iam::token::TokenSigner;
use rds_local::gate::{Expected, verify};
use rds_local::iam::{Iam, Identity, dbuser_arn};
use serde_json::{Value, json};

fn at(epoch: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(epoch)
}

/// One thing to sign.
#[derive(Clone, Debug)]
struct Case {
    key: String,
    secret: String,
    session: Option<String>,
    epoch: u64,
    signer: TokenSigner,
}

impl Case {
    fn token(&self) -> String {
        let credentials =
            Credentials::new(&self.key, &self.secret, self.session.clone(), None, "test");
        self.signer.sign(&credentials, at(self.epoch)).unwrap().as_str().to_owned()
    }

    fn json(&self) -> Value {
        json!({
            "key": self.key, "secret": self.secret, "session": self.session, "epoch": self.epoch,
            "host": self.signer.host, "port": self.signer.port,
            "region": self.signer.region, "user": self.signer.user,
        })
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let user = prop_oneof![
        "[a-z_][a-z0-9_]{0,20}",
        "[ -~]{1,40}",
        "[a b+&#%@/=?:;,~*!'()é日本\u{1f418}]{1,16}",
    ];
    let host = prop_oneof![
        "[a-z][a-z0-9-]{0,20}\\.[a-z0-9]{12}\\.us-east-1\\.rds\\.amazonaws\\.com",
        "[A-Z][A-Za-z0-9]{0,20}\\.Cluster-[A-Z0-9]{8}\\.US-East-1\\.RDS\\.amazonaws\\.com",
        "[a-z]{1,12}",
    ];
    let port = prop_oneof![Just(443u16), Just(5432), Just(80), 1u16..];
    let region = prop_oneof![Just("us-east-1"), Just("eu-west-3"), Just("us-gov-west-1")];
    let session = proptest::option::of("[A-Za-z0-9+/]{20,80}={0,2}");
    // From 1970 to 2065.
    let epoch = 0u64..3_000_000_000;
    (("[A-Z0-9]{16,20}", "[A-Za-z0-9/+]{40}", session), epoch, user, host, port, region).prop_map(
        |((key, secret, session), epoch, user, host, port, region)| Case {
            key,
            secret,
            session,
            epoch,
            signer: TokenSigner { host, port, region: region.into(), user },
        },
    )
}

fn generate(count: usize) -> Vec<Case> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = cases();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// A token as host and a set of parameters: their order in the text differs between SDKs.
fn parts(token: &str) -> (&str, BTreeMap<&str, &str>) {
    let (host, query) = token.split_once("/?").unwrap();
    let params: Vec<(&str, &str)> =
        query.split('&').map(|pair| pair.split_once('=').unwrap()).collect();
    let set: BTreeMap<&str, &str> = params.iter().copied().collect();
    assert_eq!(set.len(), params.len(), "no parameter stands twice");
    (host, set)
}

const BOTOCORE: &str = r#"
import datetime, json, sys
import boto3, botocore.auth
class Clock:
    epoch = 0
def now(*args, **kwargs):
    return datetime.datetime.fromtimestamp(Clock.epoch, datetime.timezone.utc).replace(tzinfo=None)
botocore.auth.get_current_datetime = now
for line in sys.stdin:
    case = json.loads(line)
    Clock.epoch = case["epoch"]
    session = boto3.Session(case["key"], case["secret"], case["session"], case["region"])
    client = session.client("rds", endpoint_url="https://rds.invalid")
    print(client.generate_db_auth_token(case["host"], case["port"], case["user"]))
"#;

#[test]
fn botocore_signs_the_same() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/python");
    assert!(python.exists(), "botocore is missing: run make test, or local/setup.sh --tests");
    let cases = generate(250);
    assert!(cases.iter().filter(|case| case.signer.port == 443).count() >= 20);
    assert!(cases.iter().filter(|case| case.session.is_some()).count() >= 50);

    let mut child = Command::new(python)
        .args(["-c", BOTOCORE])
        // Its own signer, whose clock can be set: not the C library that another tool installs.
        .env("BOTO_DISABLE_CRT", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input: String = cases.iter().map(|case| format!("{}\n", case.json())).collect();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let tokens = String::from_utf8(output.stdout).unwrap();
    let tokens: Vec<&str> = tokens.lines().collect();
    assert_eq!(tokens.len(), cases.len());
    for (case, botocore) in cases.iter().zip(tokens) {
        let ours = case.token();
        assert_eq!(parts(&ours), parts(botocore), "{case:?}");
    }
}

#[tokio::test]
async fn the_aws_sdk_for_rust_signs_the_same() {
    // Its generator does not encode users and hosts, so only plain ones can be compared.
    let plain = |text: &str| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b"-._".contains(&b) || b.is_ascii_digit())
    };
    let cases: Vec<Case> = generate(600)
        .into_iter()
        .filter(|case| {
            plain(&case.signer.user) && plain(&case.signer.host) && case.signer.port != 443
        })
        .collect();
    assert!(cases.len() >= 50, "{}", cases.len());
    for case in cases {
        let generator = AuthTokenGenerator::new(
            Config::builder()
                .hostname(&case.signer.host)
                .port(case.signer.port.into())
                .username(&case.signer.user)
                .region(aws_types::region::Region::new(case.signer.region.clone()))
                .credentials(Credentials::new(
                    &case.key,
                    &case.secret,
                    case.session.clone(),
                    None,
                    "test",
                ))
                .build()
                .unwrap(),
        );
        let sdk = aws_types::SdkConfig::builder()
            .time_source(SharedTimeSource::new(StaticTimeSource::new(at(case.epoch))))
            .build();
        let theirs = generator.auth_token(&sdk).await.unwrap();
        let ours = case.token();
        // It writes ~ and other unreserved characters as the URL standard does; none is here.
        assert_eq!(parts(&ours), parts(theirs.as_str()), "{case:?}");
    }
}

proptest! {
    #[test]
    fn the_gate_accepts_signed_tokens_only(case in cases(), flip in any::<proptest::sample::Index>()) {
        let iam = Iam::new("unused");
        iam.add(Identity::with_key(&case.key, &case.secret, case.session.clone(), "arn:signer", &[dbuser_arn("*")]));
        let host = case.signer.host.to_ascii_lowercase();
        let expected = Expected {
            host: &host,
            port: case.signer.port,
            region: &case.signer.region,
            user: &case.signer.user,
            strict: false,
            source_ip: None,
        };
        let token = case.token();
        let verified = verify(&token, expected, &iam, at(case.epoch));
        prop_assert_eq!(verified.map(|identity| identity.arn), Ok("arn:signer".to_owned()));
        prop_assert!(verify(&token, expected, &iam, at(case.epoch + 900)).is_err());

        // Any one byte changed to another letter spoils it, unless only the case of the host changed.
        let start = token.find("/?").unwrap() + 2;
        let at_byte = start + flip.index(token.len() - start);
        let mut bytes = token.clone().into_bytes();
        bytes[at_byte] = if bytes[at_byte] == b'Z' { b'Y' } else { b'Z' };
        if let Ok(changed) = String::from_utf8(bytes) {
            // An escape may be written with other letters and mean the same.
            let same = changed.eq_ignore_ascii_case(&token);
            prop_assert!(same || verify(&changed, expected, &iam, at(case.epoch)).is_err());
        }
    }

    #[test]
    fn no_text_makes_the_check_panic(text in ".{0,300}", params in "([A-Za-z-]{1,12}=[%0-9A-Za-z/]{0,20}&?){0,12}") {
        let iam = Iam::new("unused");
        let expected = Expected { host: "h", port: 1, region: "us-east-1", user: "u", strict: false, source_ip: None };
        let refused = |token: &str| verify(token, expected, &iam, at(0)).is_err();
        prop_assert!(refused(&text));
        let token = format!("h:1/?{params}");
        prop_assert!(refused(&token));
    }
}
