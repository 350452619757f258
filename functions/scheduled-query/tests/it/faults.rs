//! Failures between the function and its database: each has its error type, within
//! the invocation's time, and the function recovers when the fault is gone.

use crate::common;

use std::time::Duration;

use common::{event, summaries};
use rds_local::gate::Fault;

#[tokio::test]
async fn a_dead_connection_is_replaced_within_the_invocation() {
    let world = common::start().await;
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    let admin = world.server.database.superuser("sample_db").await.unwrap();
    let killed = admin
        .query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'iam_ro_user'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(killed.len(), 1);
    function.ok(event("customers.json")).await;
    assert_eq!(world.logins(), (2, vec![]));
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_reset_is_reported_and_the_next_invocation_works() {
    let world = common::start().await;
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    world.server.gate.set_fault(Fault::Reset);
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Network.Unreachable", "{}", error.error_message);
    world.server.gate.set_fault(Fault::None);
    function.ok(event("customers.json")).await;
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn silence_is_a_timeout_before_lambdas_own() {
    for (warm, kind) in [(false, "Network.Timeout"), (true, "Query.Timeout")] {
        let world = common::start().await;
        let mut function = world.function_with_timeout(Duration::from_secs(3)).await;
        if warm {
            function.ok(event("customers.json")).await;
        }
        world.server.gate.set_fault(Fault::Stall);
        let error = function.error(event("customers.json")).await;
        assert_eq!(error.error_type, kind, "{}", error.error_message);
        world.server.gate.set_fault(Fault::None);
        function.ok(event("customers.json")).await;
        function.stop().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_slow_query_is_stopped_on_the_server_too() {
    let mut world = common::start().await;
    world.queries(&[("slow", "SELECT pg_sleep(60)::text AS s"), ("quick", "SELECT 1 AS one")]);
    let mut function = world.function().await;
    function.ok(r#"{"query":"quick"}"#).await;
    function.sandbox.set_timeout(Duration::from_secs(2));
    let error = function.error(r#"{"query":"slow"}"#).await;
    assert_eq!(error.error_type, "Query.Timeout", "{}", error.error_message);
    let admin = world.server.database.superuser("sample_db").await.unwrap();
    let running = admin
        .query(
            "SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_ro_user' AND state = 'active'",
            &[],
        )
        .await
        .unwrap();
    assert!(running.is_empty());
    function.ok(r#"{"query":"quick"}"#).await;
    assert_eq!(world.logins().0, 1, "the connection outlives its statement's time-out");
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_throttled_login_is_tried_again_and_then_rejected() {
    let mut world =
        common::start_with(|options| rds_local::Options { throttle: Some((0, 0)), ..options })
            .await;
    world.set("DB_LOGIN_ATTEMPTS", "3");
    let mut function = world.function().await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Auth.Rejected");
    for told in ["throttled", "signed moments ago for rds-local.", "temporary credentials (ASIA…)"]
    {
        assert!(error.error_message.contains(told), "{}", error.error_message);
    }
    let (_, refused) = world.logins();
    assert_eq!(refused.len(), 3);
    assert!(refused.iter().all(|reason| reason.starts_with("throttled")), "{refused:?}");
    let summary = &summaries(&function.stop().await)[0];
    assert_eq!(summary["login_attempts"], 3);
    assert_eq!(summary["errorType"], "Auth.Rejected");
    world.stop().await;
}

#[tokio::test]
async fn a_stopped_database_is_unreachable() {
    let mut world = common::start().await;
    let port = world.variables["PGPORT"].clone();
    let free = rds_local::testing::ports::free_port();
    world.set("PGPORT", free.to_string());
    assert_ne!(port, free.to_string());
    let mut function = world.function().await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Network.Unreachable");
    assert!(error.error_message.contains("PGPORT"), "{}", error.error_message);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_authority_and_a_wrong_name_are_untrusted() {
    let mut world = common::start().await;
    let own_root = world.variables["PGSSLROOTCERT"].clone();
    let amazon = common::root().join("shared/roots/amazon.pem").display().to_string();
    let name = world.variables["PGHOST"].clone();
    let other_name = name.replace("rds-local", "another");
    for (root, host) in [(&amazon, &name), (&own_root, &other_name), (&String::new(), &name)] {
        world.set("PGSSLROOTCERT", root);
        world.set("PGHOST", host);
        let mut function = world.function().await;
        let error = function.error(event("customers.json")).await;
        assert_eq!(error.error_type, "Tls.Untrusted", "{root} {host}: {}", error.error_message);
        function.stop().await;
    }
    // No token was sent to a server that is not trusted.
    assert_eq!(world.logins(), (0, vec![]));
    world.set("PGSSLROOTCERT", std::fs::read_to_string(&own_root).unwrap());
    world.set("PGHOST", &other_name);
    world.set("PGSSLMODE", "verify-ca");
    let mut function = world.function().await;
    // The chain is trusted and the name not looked at; then the token is for another endpoint.
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Auth.Rejected", "{}", error.error_message);
    assert!(world.logins().1[0].contains("signed for endpoint"));
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_alias_is_warned_about_once_with_the_fix() {
    let mut world = common::start().await;
    world.set("PGHOST", "localhost");
    let mut function = world.function().await;
    for _ in 0..2 {
        let error = function.error(event("customers.json")).await;
        assert_eq!(error.error_type, "Auth.Rejected", "{}", error.error_message);
    }
    let log = function.stop().await;
    let warnings: Vec<&String> = log.iter().filter(|line| line.contains("\"WARN\"")).collect();
    assert_eq!(warnings.len(), 1, "{log:#?}");
    assert!(warnings[0].contains("DB_TUNNEL or PGHOSTADDR"), "{}", warnings[0]);
    world.stop().await;
}

#[tokio::test]
async fn direct_tls_and_a_tunnel_lead_to_the_same_database() {
    let mut world = common::start().await;
    world.set("PGSSLNEGOTIATION", "direct");
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.stop().await;
    world.set("PGSSLNEGOTIATION", "");
    world.set("DB_TUNNEL", format!("localhost:{}", world.variables["PGPORT"]));
    world.set("PGHOSTADDR", "192.0.2.1");
    world.set("PGTARGETSESSIONATTRS", "read-write");
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.stop().await;
    assert_eq!(world.logins(), (2, vec![]));
    world.stop().await;
}

#[tokio::test]
async fn errors_distinguish_refused_logins() {
    let mut world = common::start().await;
    let admin = world.server.database.superuser("sample_db").await.unwrap();
    for statement in [
        "CREATE ROLE no_iam LOGIN",
        "CREATE DATABASE closed",
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
    ] {
        admin.batch_execute(statement).await.unwrap();
    }
    for (user, database, kind, told) in [
        ("no_iam", "sample_db", "Auth.Rejected", "GRANT rds_iam TO no_iam"),
        ("nobody_here", "sample_db", "Auth.Rejected", "28P01"),
        ("iam_ro_user", "missing", "Config.Invalid", "no database missing"),
        ("iam_ro_user", "closed", "Auth.Rejected", "GRANT CONNECT"),
    ] {
        world.set("PGUSER", user);
        world.set("PGDATABASE", database);
        let mut function = world.function().await;
        let error = function.error(event("customers.json")).await;
        assert_eq!(error.error_type, kind, "{user}: {}", error.error_message);
        assert!(error.error_message.contains(told), "{user}: {}", error.error_message);
        function.stop().await;
    }
    world.stop().await;
}

#[tokio::test]
async fn no_secret_reaches_the_log_at_trace_level() {
    let mut world = common::start().await;
    world.set("RUST_LOG", "trace");
    world.set("AWS_LAMBDA_LOG_LEVEL", "trace");
    world.queries(&[
        (
            "q",
            "/*+++\nparams = [{ name = \"p\" }]\n+++*/ SELECT name FROM customers WHERE name <> $1",
        ),
        ("bad", "/*+++\nparams = [{ name = \"p\" }]\n+++*/ SELECT $1::int AS n"),
        ("lookup", "/*+++\nparams = [{ name = \"p\" }]\n+++*/ SELECT $1::regclass::text AS n"),
        ("late", "SELECT name::regclass::text AS n FROM customers"),
        ("detail", "SELECT raise_it() AS n"),
    ]);
    let admin = world.server.database.superuser("sample_db").await.unwrap();
    admin
        .batch_execute(
            "CREATE FUNCTION raise_it() RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''s3cret-value'';
             RAISE EXCEPTION ''s3cret-value'' USING DETAIL = ''s3cret-value'', HINT = ''s3cret-value''; END'",
        )
        .await
        .unwrap();
    let mut function = world.function().await;
    function.ok(r#"{"query":"q","params":{"p":"s3cret-value"}}"#).await;
    let mut told = Vec::new();
    for query in ["bad", "lookup", "late", "detail"] {
        let params =
            if matches!(query, "late" | "detail") { "{}" } else { r#"{"p":"s3cret-value"}"# };
        let event = format!(r#"{{"query":"{query}","params":{params}}}"#);
        told.push(function.error(event).await.error_message);
    }
    told.push(function.error(r#"{"query":"s3cret-value/"}"#).await.error_message);
    told.push(function.error("s3cret-value").await.error_message);
    told.extend(function.stop().await);
    let secrets = [
        "s3cret-value",
        "Alice",
        "X-Amz-Signature",
        &world.variables["AWS_SECRET_ACCESS_KEY"],
        &world.variables["AWS_SESSION_TOKEN"],
    ];
    for line in &told {
        for secret in secrets {
            assert!(!line.contains(secret), "{line}");
        }
    }
    assert!(told.len() >= 13, "{told:#?}");
    world.stop().await;
}
