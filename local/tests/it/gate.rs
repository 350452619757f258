//! The gate refuses every defect of a login with RDS's message, and writes the true reason only to its
//! own log, and accepts what is good. Each case is a real login over TCP and TLS.

use crate::common;

use std::collections::BTreeMap;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use common::recipe::{Recipe, defects};
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::{HOST, Options, Server};
use tokio_postgres::config::SslMode;

const MINUTE: Duration = Duration::from_secs(60);

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
    let defects = defects(&server);
    assert!(defects.len() >= 16);
    for (defect, token, reason) in &defects {
        let refused = login(&server, "iam_ro_user", token, true).await.expect_err(defect);
        let rds_says = "PAM authentication failed for user \"iam_ro_user\"";
        assert_eq!(refused, ("28000".into(), rds_says.into()), "{defect}");
        let logged = last_reason(&server);
        assert!(logged.contains(reason), "{defect}: {logged}");
    }
    assert_eq!(server.gate.log().records().len(), defects.len());
    login(&server, "iam_ro_user", &Recipe::good(&server).token(), true).await.unwrap();
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
    login(&server, "iam_ro_user", &good.token(), true).await.unwrap();
    // All at once: one after another, a slow machine would keep within the limit.
    let logins = (1..=10).map(|number| {
        // Two tokens that are signed within one second are the same, unless they differ in this.
        let token = good.with(|r| r.expires -= number).token();
        let server = &server;
        async move { login(server, "iam_ro_user", &token, true).await }
    });
    let mut refused = 0;
    for result in futures_util::future::join_all(logins).await {
        if let Err((code, message)) = result {
            assert_eq!(
                (code.as_str(), message.starts_with("PAM authentication failed")),
                ("28000", true)
            );
            refused += 1;
        }
    }
    assert!((1..=9).contains(&refused), "{refused}");
    let records = server.gate.log().records();
    let reasons = records.iter().filter_map(|record| record.outcome.as_ref().err());
    assert!(reasons.clone().all(|reason| reason.starts_with("throttled")));
    assert_eq!(reasons.count(), refused);
    // A token in use is admitted, and takes nothing from the others.
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
