//! The end of a sandbox: Lambda sends SIGTERM, but only to functions with an extension.
//!
//! An internal extension without events is registered for that
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>). The runtime
//! crate's own helper panics where the Extensions API is absent; here that only means no SIGTERM.

use std::future::pending;
use std::time::Duration;

use lambda_runtime_api_client::body::Body;
use lambda_runtime_api_client::{BoxError, PooledClient, build_request};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// Registering is a call to the sandbox's own loopback interface.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(1);
const NAME: &str = "rds-iam-shutdown";

/// Registers the extension, which must happen before the first invocation is asked for.
pub(super) async fn register() {
    match timeout(REGISTER_TIMEOUT, register_unbounded()).await {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => tracing::debug!(%reason, "no Extensions API here"),
        Err(_) => tracing::debug!("the Extensions API did not answer"),
    }
}

async fn register_unbounded() -> Result<(), BoxError> {
    let client = PooledClient::builder().build();
    let request = build_request()
        .method("POST")
        .uri("/2020-01-01/extension/register")
        .header("Lambda-Extension-Name", NAME)
        .header("Content-Type", "application/json")
        .body(Body::from(r#"{"events":[]}"#))?;
    let response = client.call(request).await?;
    if !response.status().is_success() {
        return Err(response.status().to_string().into());
    }
    let id = response
        .headers()
        .get("Lambda-Extension-Identifier")
        .ok_or("the Extensions API gave no identifier")?;
    // Its initialisation ends with asking for the first event, of which none ever comes.
    let next = build_request()
        .uri("/2020-01-01/extension/event/next")
        .header("Lambda-Extension-Identifier", id)
        .body(Body::empty())?;
    tokio::spawn(async move {
        let _ = client.call(next).await;
    });
    Ok(())
}

/// Returns on SIGTERM.
pub(super) async fn requested() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            terminate.recv().await;
        }
        Err(error) => {
            tracing::debug!(%error, "no SIGTERM here");
            pending::<()>().await;
        }
    }
}
