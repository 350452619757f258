//! The calls of Lambda's Runtime API that a runtime makes
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>), and the calls of the
//! Extensions API with which a function asks for SIGTERM.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::drain::{self, Unread};
use crate::{ACCOUNT, REGION, Result};

/// Lambda's limit for a buffered response.
const LONGEST_RESPONSE: usize = 6 * 1024 * 1024;
/// The outcome of an invocation whose response is longer.
const TOO_LARGE: &[u8] = br#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#;

/// The result of an invocation, as Lambda returns it to the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The function's response.
    Response(Bytes),
    /// The function's error: an object with `errorType` and `errorMessage`.
    Error(Bytes),
}

/// The `errorType` and `errorMessage` of a failed invocation.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct FunctionError {
    /// One of the documented kinds, such as `Auth.Rejected`.
    pub error_type: String,
    /// What failed, why, and what to do.
    pub error_message: String,
}

impl Outcome {
    /// The error, if its body has the documented form.
    pub fn error(&self) -> Option<FunctionError> {
        match self {
            Self::Response(_) => None,
            Self::Error(body) => serde_json::from_slice(body).ok(),
        }
    }
}

#[derive(Debug)]
struct Pending {
    request_id: String,
    event: Bytes,
    deadline_ms: u128,
    answer: oneshot::Sender<Outcome>,
}

#[derive(Debug)]
struct Shared {
    function: String,
    queue: Mutex<mpsc::Receiver<Pending>>,
    current: Mutex<Option<(String, oneshot::Sender<Outcome>)>>,
    has_extension: AtomicBool,
}

/// A running Runtime API for one sandbox. Dropping it closes its listener.
#[derive(Debug)]
pub struct RuntimeApi {
    /// `host:port`, for `AWS_LAMBDA_RUNTIME_API`.
    pub address: SocketAddr,
    queue: mpsc::Sender<Pending>,
    clock: SharedTimeSource,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl RuntimeApi {
    /// Starts on a free port of the loopback interface.
    pub async fn start(function: &str) -> Result<Self> {
        let failed = |error: std::io::Error| format!("cannot start the Runtime API: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (queue, receiver) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            function: function.to_owned(),
            queue: Mutex::new(receiver),
            current: Mutex::default(),
            has_extension: AtomicBool::new(false),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2020-01-01/extension/register", post(register_extension))
            .route("/2020-01-01/extension/event/next", get(std::future::pending::<StatusCode>))
            .fallback(|headers, body| unknown(headers, body, StatusCode::NOT_FOUND))
            .method_not_allowed_fallback(|headers, body| {
                unknown(headers, body, StatusCode::METHOD_NOT_ALLOWED)
            })
            .with_state(shared.clone());
        let task = tokio::spawn(async move {
            // It only returns when the listener fails; the sandbox then reports it.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, queue, clock: SharedTimeSource::default(), shared, task })
    }

    /// Whether the function registered an extension: Lambda sends SIGTERM only then.
    pub(crate) fn has_extension(&self) -> bool {
        self.shared.has_extension.load(Ordering::Relaxed)
    }

    /// Hands an event to the runtime under this request id, and waits for the outcome. `None` when
    /// the runtime ended without one. The caller bounds the wait.
    pub async fn invoke(
        &self,
        request_id: &str,
        event: Bytes,
        timeout: Duration,
    ) -> Option<Outcome> {
        let request_id = request_id.to_owned();
        let deadline = self.clock.now() + timeout;
        let deadline_ms = deadline
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        let (answer, outcome) = oneshot::channel();
        self.queue.send(Pending { request_id, event, deadline_ms, answer }).await.ok()?;
        outcome.await.ok()
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn unknown(headers: HeaderMap, mut body: Body, status: StatusCode) -> StatusCode {
    drain::discard(&headers, &mut body).await;
    status
}

async fn register_extension(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    mut body: Body,
) -> Response {
    drain::discard(&headers, &mut body).await;
    shared.has_extension.store(true, Ordering::Relaxed);
    let body = serde_json::json!({ "functionName": shared.function, "functionVersion": "$LATEST", "handler": "bootstrap" });
    ([("Lambda-Extension-Identifier", "00000000-0000-0000-0000-000000000000")], body.to_string())
        .into_response()
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let Some(pending) = shared.queue.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let id = pending.request_id;
    *shared.current.lock().await = Some((id.clone(), pending.answer));
    let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", shared.function);
    let headers = [
        ("Lambda-Runtime-Aws-Request-Id", id),
        ("Lambda-Runtime-Deadline-Ms", pending.deadline_ms.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", arn),
        ("Content-Type", "application/json".to_owned()),
    ];
    (headers, pending.event).into_response()
}

async fn response(
    state: State<Arc<Shared>>,
    id: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    end(state, id, &headers, body, Outcome::Response).await
}

async fn error(
    state: State<Arc<Shared>>,
    id: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> StatusCode {
    end(state, id, &headers, body, Outcome::Error).await
}

/// Reads the outcome of an invocation, and finishes it.
async fn end(
    state: State<Arc<Shared>>,
    id: Path<String>,
    headers: &HeaderMap,
    mut body: Body,
    outcome: fn(Bytes) -> Outcome,
) -> StatusCode {
    match drain::read(headers, &mut body, LONGEST_RESPONSE).await {
        Ok(body) => finish(state, id, outcome(body)).await,
        Err(Unread::TooLong) => {
            finish(state, id, Outcome::Error(Bytes::from_static(TOO_LARGE))).await;
            StatusCode::PAYLOAD_TOO_LARGE
        }
        Err(Unread::Broken | Unread::Late) => StatusCode::BAD_REQUEST,
    }
}

async fn finish(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    outcome: Outcome,
) -> StatusCode {
    match shared.current.lock().await.take_if(|(current, _)| *current == id) {
        Some((_, answer)) => {
            // The caller may have given up.
            let _ = answer.send(outcome);
            StatusCode::ACCEPTED
        }
        None => StatusCode::BAD_REQUEST,
    }
}
