//! The sources of the function's credentials, and the errors when they fail.

use crate::common;

use std::time::Duration;

use common::{World, event};

const KEYS: [&str; 3] = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// Takes the keys out of the function's environment.
fn without_keys(world: &mut World) -> [String; 3] {
    world.set("AWS_EC2_METADATA_DISABLED", "true");
    world.set("AWS_CONFIG_FILE", "/dev/null");
    world.set("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    KEYS.map(|name| world.variables.remove(name).unwrap())
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id_and_not_without() {
    let mut world = common::start().await;
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
        "STS refused the role: AccessDenied: arn:aws:iam::123456789012:user/developer may not assume arn:aws:iam::",
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
    let mut world = common::start().await;
    let [key, secret, token] = without_keys(&mut world);
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
    let mut world = common::start().await;
    without_keys(&mut world);
    let mut function = world.function().await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Credentials.Unavailable", "{}", error.error_message);
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn keys_pasted_with_their_quotes_are_named_and_not_shown() {
    let mut world = common::start().await;
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
    let mut world = common::start().await;
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
async fn an_unreachable_sts_is_reported_without_the_request() {
    let mut world = common::start().await;
    world.set("DB_ROLE_ARN", world.variables["DB_ROLE_ARN_EXAMPLE"].clone());
    world.set("DB_ROLE_EXTERNAL_ID", "s3cret-external-id");
    world.set("AWS_EC2_METADATA_DISABLED", "true");
    // No endpoint at all is AWS's own, which is out of reach here; the others are broken ways to it.
    for (endpoint, kind) in [
        ("http://127.0.0.1:1", "Credentials.Unavailable"),
        ("https://[broken", "Credentials.Unavailable"),
        ("http://[broken", "Config.Invalid"),
        ("http:// ", "Config.Invalid"),
        ("", "Credentials.Unavailable"),
    ] {
        world.set("AWS_ENDPOINT_URL_STS", endpoint);
        if endpoint.is_empty() {
            world.set("HTTPS_PROXY", "http://127.0.0.1:1");
        }
        let mut function = world.function().await;
        let error = function.error(event("customers.json")).await;
        assert_eq!(error.error_type, kind, "{endpoint}: {}", error.error_message);
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

/// STS echoes a request that it cannot verify, and anything may stand behind a wrong endpoint.
#[tokio::test]
async fn nothing_that_an_sts_echoes_reaches_response_or_log() {
    let mut world = common::start().await;
    world.set("DB_ROLE_ARN", world.variables["DB_ROLE_ARN_EXAMPLE"].clone());
    world.set("DB_ROLE_EXTERNAL_ID", "s3cret-external-id");
    world.set("AWS_LAMBDA_LOG_LEVEL", "TRACE");
    world.set("RUST_LOG", "trace");
    let session_token = world.variables["AWS_SESSION_TOKEN"].clone();
    let secrets =
        ["s3cret-external-id", session_token.as_str(), "AWS4-HMAC-SHA256", "x-amz-security"];
    for form in ECHOES {
        let (address, echo) = echo(form).await;
        world.set("AWS_ENDPOINT_URL_STS", format!("http://{address}"));
        let mut function = world.function_with_timeout(Duration::from_secs(5)).await;
        let error = function.error(event("customers.json")).await;
        assert!(error.error_type.starts_with("Credentials."), "{}", error.error_message);
        let mut lines = function.stop().await;
        assert!(lines.iter().any(|line| line.contains("invocation failed")), "{lines:?}");
        lines.push(error.error_message);
        for line in lines {
            for secret in secrets {
                assert!(!line.contains(secret), "{form}: {line}");
            }
        }
        echo.abort();
    }
    world.stop().await;
}

/// Answers in which `ECHO` is the request that came.
const ECHOES: [&str; 8] = [
    "HTTP/1.1 403 Forbidden\r\n\r\n<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>The Canonical String should have been ECHO</Message></Error></ErrorResponse>",
    "HTTP/1.1 403 Forbidden\r\n\r\n<ErrorResponse><Error><Code>AccessDenied</Code><Message>User: ECHO is not authorized arn:aws:iam::123456789012:role/ECHO</Message></Error></ErrorResponse>",
    "HTTP/1.1 400 Bad Request\r\n\r\n<ErrorResponse><Error><Code>ECHO</Code><Message>ECHO</Message></Error></ErrorResponse>",
    "HTTP/1.1 500 Internal Server Error\r\nx-echo: yes\r\n\r\nECHO",
    "HTTP/1.1 200 OK\r\n\r\nECHO",
    "HTTP/1.1 200 OK\r\n\r\n<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ECHO</AccessKeyId></Credentials></AssumeRoleResult></AssumeRoleResponse>",
    "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://ECHO.example/\r\n\r\n",
    "ECHO",
];

/// A server that answers each request with what it was sent.
async fn echo(form: &'static str) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 64 * 1024];
            let mut length = stream.read(&mut request).await.unwrap();
            // The body may arrive in a packet of its own.
            let more = stream.read(&mut request[length..]);
            if let Ok(more) = tokio::time::timeout(Duration::from_millis(50), more).await {
                length += more.unwrap();
            }
            // As STS escapes it: a raw one would not be XML, and would not be read.
            let request = String::from_utf8_lossy(&request[..length]).replace('&', "&amp;");
            let answer = match form.split_once("\r\n\r\n") {
                Some((head, body)) => {
                    let head = head.replace("ECHO", "s3cret-external-id");
                    let body = body.replace("ECHO", &request);
                    let length = body.len();
                    format!("{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
                }
                None => form.replace("ECHO", &request),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (address, task)
}

#[tokio::test]
async fn a_credential_process_is_asked() {
    let mut world = common::start().await;
    let [key, secret, token] = without_keys(&mut world);
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("answer.json");
    let json = serde_json::json!({
        "Version": 1, "AccessKeyId": key, "SecretAccessKey": secret, "SessionToken": token,
    });
    std::fs::write(&answer, json.to_string()).unwrap();
    let config = folder.path().join("config");
    std::fs::write(&config, format!("[default]\ncredential_process = cat {}\n", answer.display()))
        .unwrap();
    world.set("AWS_CONFIG_FILE", config.display().to_string());
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn a_web_identity_assumes_the_role() {
    let mut world = common::start().await;
    without_keys(&mut world);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, &world.server.iam.web_identity_token).unwrap();
    world.set("AWS_WEB_IDENTITY_TOKEN_FILE", file.display().to_string());
    world.set("AWS_ROLE_ARN", world.variables["DB_ROLE_ARN_EXAMPLE"].clone());
    world.set("AWS_ROLE_SESSION_NAME", "web");
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.stop().await;
    let records = world.server.gate.log().records();
    let principal = "arn:aws:sts::123456789012:assumed-role/rds-local-example/web";
    assert_eq!(records[0].outcome.as_deref(), Ok(principal));

    std::fs::write(&file, "forged").unwrap();
    let mut function = world.function().await;
    let error = function.error(event("customers.json")).await;
    assert_eq!(error.error_type, "Credentials.Unavailable");
    assert!(!error.error_message.contains("forged"), "{}", error.error_message);
    function.stop().await;
    world.stop().await;
}

/// The credential endpoint of a container, as SnapStart functions and ECS tasks have one.
#[tokio::test]
async fn a_container_endpoint_is_asked_with_its_token() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut world = common::start().await;
    let [key, secret, token] = without_keys(&mut world);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let json = serde_json::json!({
        "AccessKeyId": key, "SecretAccessKey": secret, "Token": token,
        "Expiration": "2099-01-01T00:00:00Z",
    })
    .to_string();
    let endpoint = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request[..length].to_vec()).unwrap()
    });
    world.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{address}/role"));
    world.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "container-token");
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    function.stop().await;
    let request = endpoint.await.unwrap().to_ascii_lowercase();
    assert!(request.starts_with("get /role") && request.contains("authorization: container-token"));
    world.stop().await;
}
