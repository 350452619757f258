//! The gate refuses every defect of a login with RDS's message, and writes the true reason only to its
//! own log, and accepts what is good. Each case is a real login over TCP and TLS.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_async::time::SharedTimeSource;
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::{HOST, Options, Server};
use tokio_postgres::config::SslMode;

const MINUTE: Duration = Duration::from_secs(60);

/// What a token is made from; each case changes one thing.
#[derive(Clone)]
struct Recipe {
    host: String,
    port: u16,
    user: String,
    action: String,
    region: String,
    service: String,
    signed_at: SystemTime,
    expires: u64,
    key: String,
    secret: String,
    session: Option<String>,
}

impl Recipe {
    fn good(server: &Server) -> Self {
        let variables = server.variables();
        Self {
            host: HOST.into(),
            port: server.address.port(),
            user: "iam_ro_user".into(),
            action: "connect".into(),
            region: "us-east-1".into(),
            service: "rds-db".into(),
            signed_at: SharedTimeSource::default().now(),
            expires: 900,
            key: variables["AWS_ACCESS_KEY_ID"].clone(),
            secret: variables["AWS_SECRET_ACCESS_KEY"].clone(),
            session: Some(variables["AWS_SESSION_TOKEN"].clone()),
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut recipe = self.clone();
        change(&mut recipe);
        recipe
    }

    fn identity(&self, identity: &Identity) -> Self {
        self.with(|r| {
            r.key.clone_from(&identity.access_key_id);
            r.secret.clone_from(&identity.secret_access_key);
            r.session.clone_from(&identity.session_token);
        })
    }

    fn token(&self) -> String {
        let url = format!(
            "https://{}:{}/?Action={}&DBUser={}",
            self.host, self.port, self.action, self.user
        );
        let credentials =
            Credentials::new(&self.key, &self.secret, self.session.clone(), None, "test");
        let mut settings = SigningSettings::default();
        settings.expires_in = Some(Duration::from_secs(self.expires));
        settings.signature_location = SignatureLocation::QueryParams;
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.signed_at)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let request =
            SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(&[]))
                .unwrap();
        let (signed, _) = sign(request, &params).unwrap().into_parts();
        let mut token = url.replace("https://", "");
        for (name, value) in signed.params() {
            let value =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            token.push_str(&format!("&{name}={value}"));
        }
        token
    }
}

/// A login with this password, and the error that the client gets.
async fn login(
    server: &Server,
    user: &str,
    password: &str,
    tls: bool,
) -> Result<(), (String, String)> {
    let mut config = tokio_postgres::Config::new();
    config
        .host("127.0.0.1")
        .port(server.address.port())
        .dbname("sample_db")
        .user(user)
        .password(password);
    let result = if tls {
        let root = std::fs::read(&server.variables()["PGSSLROOTCERT"]).unwrap();
        let connector = native_tls::TlsConnector::builder()
            .disable_built_in_roots(true)
            .add_root_certificate(native_tls::Certificate::from_pem(&root).unwrap())
            .danger_accept_invalid_hostnames(true)
            .build()
            .unwrap();
        config.ssl_mode(SslMode::Require);
        let connector = postgres_native_tls::MakeTlsConnector::new(connector);
        match config.connect(connector).await {
            Ok((client, connection)) => {
                let task = tokio::spawn(connection);
                client.query_one("SELECT 1", &[]).await.unwrap();
                task.abort();
                Ok(())
            }
            Err(error) => Err(error),
        }
    } else {
        config.ssl_mode(SslMode::Disable);
        config.connect(tokio_postgres::NoTls).await.map(|_| ())
    };
    result.map_err(|error| {
        let db = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(db.severity(), "FATAL");
        (db.code().code().to_owned(), db.message().to_owned())
    })
}

fn last_reason(server: &Server) -> String {
    server.gate.log().records().last().unwrap().outcome.clone().unwrap_err()
}

#[tokio::test]
async fn every_defect_is_refused_alike_and_its_reason_logged() {
    let (server, _folder) = common::start(|options| options).await;
    let good = Recipe::good(&server);
    let now = good.signed_at;
    let expired =
        Identity::session("arn:expired".into(), Some(now - MINUTE), vec![dbuser_arn("*")]);
    let without_policy = Identity::session("arn:none".into(), None, vec![]);
    let other_user = Identity::session("arn:other".into(), None, vec![dbuser_arn("iam_rw_user")]);
    let wrong_resource = Identity::session(
        "arn:name".into(),
        None,
        vec![dbuser_arn("iam_ro_user").replace("db-", "db-X")],
    );
    for identity in [&expired, &without_policy, &other_user, &wrong_resource] {
        server.iam.add(identity.clone());
    }
    let token = good.token();
    let signature_at = token.find("X-Amz-Signature=").unwrap() + 16;
    let flipped = if token.as_bytes()[signature_at] == b'0' { "1" } else { "0" };
    let tampered = format!("{}{flipped}{}", &token[..signature_at], &token[signature_at + 1..]);

    let defects: Vec<(&str, String, &str)> = vec![
        ("expired", good.with(|r| r.signed_at = now - 16 * MINUTE).token(), "expired"),
        (
            "short-lived and expired",
            good.with(|r| (r.signed_at, r.expires) = (now - MINUTE, 30)).token(),
            "expired",
        ),
        ("future-dated", good.with(|r| r.signed_at = now + 6 * MINUTE).token(), "future"),
        ("expires over 900", good.with(|r| r.expires = 901).token(), "X-Amz-Expires is 901"),
        ("expires 0", token.replace("X-Amz-Expires=900", "X-Amz-Expires=0"), "X-Amz-Expires is 0"),
        (
            "other host",
            good.with(|r| r.host = HOST.replace("rds-local", "other")).token(),
            "signed for endpoint",
        ),
        ("other port", good.with(|r| r.port = 5432).token(), "signed for endpoint"),
        ("other user", good.with(|r| r.user = "iam_rw_user".into()).token(), "DBUser"),
        ("user in another case", good.with(|r| r.user = "IAM_RO_USER".into()).token(), "DBUser"),
        ("other region", good.with(|r| r.region = "eu-west-1".into()).token(), "signed for region"),
        ("other service", good.with(|r| r.service = "rds".into()).token(), "signed for service"),
        ("other action", good.with(|r| r.action = "Connect".into()).token(), "Action"),
        ("a line end", good.token() + "\n", "a line end after it"),
        ("unknown key", good.with(|r| r.key = "ASIAUNKNOWN".into()).token(), "unknown access key"),
        ("wrong secret", good.with(|r| r.secret.push('x')).token(), "signature does not match"),
        ("missing session token", good.with(|r| r.session = None).token(), "session token missing"),
        (
            "wrong session token",
            good.with(|r| r.session = Some("x".into())).token(),
            "wrong session token",
        ),
        ("expired session", good.identity(&expired).token(), "session has expired"),
        ("tampered signature", tampered, "signature does not match"),
        (
            "tampered expiry",
            token.replace("X-Amz-Expires=900", "X-Amz-Expires=800"),
            "signature does not match",
        ),
        ("truncated", token[..token.len() * 2 / 3].to_owned(), ""),
        ("without its signature", token[..signature_at - 17].to_owned(), "missing"),
        (
            "duplicate parameter",
            format!("{token}&DBUser=iam_ro_user"),
            "duplicate parameter DBUser",
        ),
        ("unknown parameter", format!("{token}&X=1"), "unknown parameter"),
        ("broken escape", format!("{token}%"), "percent escape"),
        ("no policy", good.identity(&without_policy).token(), "because no identity-based policy"),
        (
            "policy for another user",
            good.identity(&other_user).token(),
            "because no identity-based policy",
        ),
        (
            "policy for another resource",
            good.identity(&wrong_resource).token(),
            "because no identity-based policy",
        ),
        ("plain password", "hunter2".into(), "plain password"),
    ];
    assert!(defects.len() >= 16);
    for (defect, token, reason) in &defects {
        let refused = login(&server, "iam_ro_user", token, true).await.expect_err(defect);
        let rds_says = "PAM authentication failed for user \"iam_ro_user\"";
        assert_eq!(refused, ("28000".into(), rds_says.into()), "{defect}");
        let logged = last_reason(&server);
        assert!(logged.contains(reason), "{defect}: {logged}");
    }
    assert_eq!(server.gate.log().records().len(), defects.len());
    login(&server, "iam_ro_user", &token, true).await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn good_tokens_are_accepted() {
    let (server, _folder) = common::start(|options| options).await;
    let good = Recipe::good(&server);
    let long_lived =
        Identity::with_key("AKIAEXAMPLE", "secret", None, "arn:user", &[dbuser_arn("iam_*")]);
    server.iam.add(long_lived.clone());
    let host_in_capitals = good.token().replacen(HOST, &HOST.to_uppercase(), 1);
    for (case, token) in [
        ("as signed", good.token()),
        ("14 minutes old", good.with(|r| r.signed_at -= 14 * MINUTE).token()),
        ("a clock 4 minutes ahead", good.with(|r| r.signed_at += 4 * MINUTE).token()),
        ("a user's own key", good.identity(&long_lived).token()),
        ("host in capitals", host_in_capitals),
    ] {
        login(&server, "iam_ro_user", &token, true)
            .await
            .unwrap_or_else(|told| panic!("{case}: {told:?} {}", last_reason(&server)));
    }
    let writer = good.with(|r| r.user = "iam_rw_user".into());
    login(&server, "iam_rw_user", &writer.token(), true).await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn port_443_is_signed_without_the_port() {
    // Every signer drops HTTPS's default port from the Host header, and writes it in the token.
    let clock = SharedTimeSource::default();
    let iam = rds_local::iam::Iam::new("u");
    let identity = Identity::session("arn:x".into(), None, vec![dbuser_arn("u")]);
    iam.add(identity.clone());
    let recipe = Recipe {
        host: HOST.into(),
        port: 443,
        user: "u".into(),
        action: "connect".into(),
        region: "us-east-1".into(),
        service: "rds-db".into(),
        signed_at: clock.now(),
        expires: 900,
        key: identity.access_key_id.clone(),
        secret: identity.secret_access_key.clone(),
        session: identity.session_token.clone(),
    };
    let expected = rds_local::gate::Expected {
        host: HOST,
        port: 443,
        region: "us-east-1",
        user: "u",
        strict: true,
        source_ip: None,
    };
    let verified = rds_local::gate::verify(&recipe.token(), expected, &iam, clock.now());
    assert_eq!(verified.unwrap().arn, "arn:x");
}

#[tokio::test]
async fn without_tls_there_is_no_login() {
    let (server, _folder) = common::start(|options| options).await;
    let token = Recipe::good(&server).token();
    let (code, message) = login(&server, "iam_ro_user", &token, false).await.unwrap_err();
    assert_eq!(code, "28000");
    assert_eq!(
        message,
        "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"iam_ro_user\", database \"sample_db\", no encryption"
    );
    assert_eq!(last_reason(&server), "no TLS");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_user_without_rds_iam_is_asked_for_a_password() {
    let (server, _folder) = common::start(|options| options).await;
    let good = Recipe::good(&server);
    // Superusers count as members of every role, but not for logins.
    for user in ["postgres", "nobody_here"] {
        let token = good.with(|r| r.user = user.into()).token();
        let refused = login(&server, user, &token, true).await.unwrap_err();
        let message = format!("password authentication failed for user \"{user}\"");
        assert_eq!(refused, ("28P01".into(), message));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn logins_beyond_the_throttle_are_refused_like_any_other() {
    let (server, _folder) =
        common::start(|options| Options { throttle: Some((2, 2)), ..options }).await;
    let good = Recipe::good(&server);
    let mut refused = 0;
    for number in 0..10 {
        // Two tokens that are signed within one second are the same, unless they differ in this.
        let token = good.with(|r| r.expires -= number).token();
        if let Err((code, message)) = login(&server, "iam_ro_user", &token, true).await {
            assert_eq!(
                (code.as_str(), message.starts_with("PAM authentication failed")),
                ("28000", true)
            );
            assert!(last_reason(&server).starts_with("throttled"));
            refused += 1;
        }
    }
    assert!((1..=8).contains(&refused), "{refused}");
    // The first token is in use: it is admitted, and takes nothing from the others.
    for _ in 0..10 {
        login(&server, "iam_ro_user", &good.token(), true).await.unwrap();
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn sessions_end_by_the_clock() {
    let manual =
        aws_smithy_async::test_util::ManualTimeSource::new(SharedTimeSource::default().now());
    let clock = SharedTimeSource::new(manual.clone());
    let (server, _folder) = common::start(|options| Options { clock, ..options }).await;
    let good = Recipe::good(&server);
    login(&server, "iam_ro_user", &good.token(), true).await.unwrap();
    manual.advance(Duration::from_secs(12 * 3600));
    let later = good.with(|r| r.signed_at += Duration::from_secs(12 * 3600));
    login(&server, "iam_ro_user", &later.token(), true).await.unwrap_err();
    assert!(last_reason(&server).contains("session has expired"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_log_holds_no_token() {
    let (server, folder) = common::start(|options| options).await;
    let token = Recipe::good(&server).token();
    login(&server, "iam_ro_user", &token, true).await.unwrap();
    login(&server, "iam_ro_user", &format!("{token}x"), true).await.unwrap_err();
    let log = std::fs::read_to_string(folder.path().join("gate.log")).unwrap();
    let secrets: BTreeMap<String, String> = server.variables();
    assert!(log.contains("login accepted") && log.contains("login refused"), "{log}");
    for secret in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        assert!(!log.contains(&secrets[secret]), "{log}");
    }
    assert!(!log.contains("X-Amz-Signature="), "{log}");
    server.stop().await.unwrap();
}
