//! Where the function's credentials come from, and what it says when they do not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use common::{World, event};

const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

impl World {
    /// Takes the keys out of the function's environment.
    fn without_keys(&mut self) -> [String; 3] {
        self.set("AWS_EC2_METADATA_DISABLED", "true");
        self.set("AWS_CONFIG_FILE", "/dev/null");
        self.set("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
        KEYS.map(|name| self.variables.remove(name).unwrap())
    }
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id_and_not_without() {
    let mut world = World::start().await;
    world.set("DB_ROLE_ARN", world.variables["DB_ROLE_ARN_EXAMPLE"].clone());
    world.set("DB_ROLE_EXTERNAL_ID", world.variables["DB_ROLE_EXTERNAL_ID_EXAMPLE"].clone());
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.stop().await;
    let records = world.server.gate.log().records();
    assert_eq!(
        records[0].outcome.as_deref(),
        Ok("arn:aws:sts::123456789012:assumed-role/rds-local-example/scheduled-query")
    );

    world.set("DB_ROLE_EXTERNAL_ID", "wrong");
    let mut function = world.function().await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Credentials.Unavailable");
    for told in [
        "STS refused the role: AccessDenied: User: arn:aws:iam::123456789012:user/developer is not authorized",
        "DB_ROLE_EXTERNAL_ID",
    ] {
        assert!(error.error_message.contains(told), "{}", error.error_message);
    }
    assert!(!error.error_message.contains("wrong"), "{}", error.error_message);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_profile_serves_where_the_environment_has_no_keys() {
    let mut world = World::start().await;
    let [key, secret, token] = world.without_keys();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credentials");
    std::fs::write(
        &file,
        format!(
            "[dev]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\naws_session_token = {token}\n"
        ),
    )
    .unwrap();
    world.set("AWS_SHARED_CREDENTIALS_FILE", file.display().to_string());
    world.set("AWS_PROFILE", "dev");
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.stop().await;
    assert_eq!(world.logins(), (1, vec![]));
    world.stop().await;
}

#[tokio::test]
async fn without_any_credentials_that_is_the_error() {
    let mut world = World::start().await;
    world.without_keys();
    let mut function = world.function().await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Credentials.Unavailable", "{}", error.error_message);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn keys_pasted_with_their_quotes_are_named_and_not_shown() {
    let mut world = World::start().await;
    let secret = world.variables["AWS_SECRET_ACCESS_KEY"].clone();
    world.set("AWS_SECRET_ACCESS_KEY", format!("\"{secret}\""));
    let mut function = world.function().await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Credentials.Unavailable");
    assert!(
        error.error_message.contains("AWS_SECRET_ACCESS_KEY holds quotes"),
        "{}",
        error.error_message
    );
    assert!(!error.error_message.contains(&secret));
    assert_eq!(world.logins(), (0, vec![]));
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_silent_sts_is_an_error_within_the_invocations_time() {
    let mut world = World::start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    world.set("AWS_ENDPOINT_URL_STS", format!("http://{}", listener.local_addr().unwrap()));
    world.set("DB_ROLE_ARN", world.variables["DB_ROLE_ARN_EXAMPLE"].clone());
    let mut function = world.function_with_timeout(std::time::Duration::from_secs(2)).await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Credentials.Unavailable", "{}", error.error_message);
    assert!(error.error_message.contains("STS"), "{}", error.error_message);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn an_unreachable_sts_is_told_without_the_request() {
    let mut world = World::start().await;
    world.set("DB_ROLE_ARN", world.variables["DB_ROLE_ARN_EXAMPLE"].clone());
    world.set("DB_ROLE_EXTERNAL_ID", "s3cret-external-id");
    world.set("AWS_EC2_METADATA_DISABLED", "true");
    // No endpoint at all is AWS's own, which is out of reach here; the others are broken ways to it.
    for endpoint in ["http://127.0.0.1:1", "http://[broken", "http:// ", ""] {
        world.set("AWS_ENDPOINT_URL_STS", endpoint);
        if endpoint.is_empty() {
            world.set("HTTPS_PROXY", "http://127.0.0.1:1");
        }
        let mut function = world.function().await;
        let error = function.error(event("customers.json")).await;
        assert_eq!(
            error.error_type, "Credentials.Unavailable",
            "{endpoint}: {}",
            error.error_message
        );
        let mut told = function.stop().await;
        told.push(error.error_message);
        for line in told {
            for secret in ["s3cret-external-id", &world.variables["AWS_SESSION_TOKEN"], "Request {"]
            {
                assert!(!line.contains(secret), "{endpoint}: {line}");
            }
        }
    }
    world.stop().await;
}
