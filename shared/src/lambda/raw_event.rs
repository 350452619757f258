//! Passes the payload's text to the handler, even if it is not JSON.
//!
//! The runtime parses payloads as JSON before the handler sees them, and answers a malformed one
//! with its own error type. This layer wraps the payload as a JSON string, which always
//! parses, so that the handler can answer `Event.Invalid`.

use std::task::{Context, Poll};

use lambda_runtime::LambdaInvocation;
use tower::{Layer, Service};

pub(super) struct RawEventLayer;

impl<S> Layer<S> for RawEventLayer {
    type Service = RawEvent<S>;

    fn layer(&self, inner: S) -> RawEvent<S> {
        RawEvent(inner)
    }
}

pub(super) struct RawEvent<S>(S);

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for RawEvent<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> S::Future {
        let text = String::from_utf8_lossy(&invocation.body);
        // A string always has a JSON form.
        invocation.body = serde_json::to_vec(&text).unwrap_or_default().into();
        self.0.call(invocation)
    }
}
