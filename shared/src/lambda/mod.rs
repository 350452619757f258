//! Running a handler as a Lambda function: start-up, the run loop, and one log line an invocation.

mod batch;
mod direct;
mod invocation;
mod logs;
mod message;
mod query_event;
mod query_function;
mod raw_event;
mod response;
mod shutdown;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_async::time::SharedTimeSource;
use futures_util::FutureExt;
use lambda_runtime::{Context, Diagnostic, LambdaEvent, Runtime, service_fn};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};

pub use batch::{BatchResponse, deliver_each, log_failed_record, log_written_record};
pub use direct::{DirectEvent, event_time, invalid_event, is_of_eventbridge, parse_object};
pub use invocation::Invocation;
use logs::Logs;
pub use message::{QueryMessage, named_ledger_id};
pub use query_event::QueryEvent;
pub use query_function::{QueryBackend, QueryFunction, QueryResponse};
pub use response::{DuplicateResponse, Response};

/// A function's code: one call for each event.
pub trait Handler {
    /// The response of an invocation.
    type Response: Serialize;

    /// Answers an event, which is the invocation's payload as it arrived, JSON or not.
    ///
    /// # Errors
    /// An error fails the invocation, with its kind as the `errorType`. A panic is caught, and is
    /// [`InternalPanic`](ErrorKind::InternalPanic).
    fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> impl Future<Output = Result<Self::Response, Error>>;

    /// The sandbox ends: close what is open, within 300 ms.
    fn shut_down(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.kind().error_type().to_owned(), error_message: error.to_string() }
    }
}

/// Runs a function until Lambda stops it. `start` builds the handler, and may wait for what it needs
/// (an SDK client, say). An error of `start`, mostly a bad configuration, is the error of every
/// invocation: Lambda has no way to report it earlier.
pub fn run<H: Handler + 'static>(start: impl AsyncFnOnce() -> Result<H, Error>) -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        // Lambda sets it: a person started the binary by hand, perhaps with --help.
        eprintln!(
            "This is an AWS Lambda function. It answers the events that Lambda's Runtime API sends it.\n\
             To run it here:  rds-local serve   and then   rds-local invoke FUNCTION --event FILE"
        );
        return ExitCode::from(2);
    }
    let logs = logs::init();
    warn_of_concurrency();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        runtime.block_on(serve(start, logs)).map_err(|error| error.to_string())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            tracing::error!(reason, "the Lambda Runtime API cannot be reached");
            ExitCode::FAILURE
        }
    }
}

/// Lambda Managed Instances send several requests to one process at once. lambda_runtime's own line about it is
/// switched off with the rest of its lines.
fn warn_of_concurrency() {
    let name = "AWS_LAMBDA_MAX_CONCURRENCY";
    let limit = std::env::var(name).ok().and_then(|limit| limit.parse::<u32>().ok());
    if let Some(limit) = limit.filter(|limit| *limit > 1) {
        tracing::warn!(
            limit,
            "this function works on one request at a time, and {name} lets {limit} wait in one process: set the \
             concurrency of an execution environment (PerExecutionEnvironmentMaxConcurrency) to 1"
        );
    }
}

async fn serve<H: Handler + 'static>(
    start: impl AsyncFnOnce() -> Result<H, Error>,
    logs: Logs,
) -> Result<(), lambda_runtime::Error> {
    let function = Arc::new(Function {
        handler: start().await,
        logs,
        clock: SharedTimeSource::default(),
        warm: AtomicBool::new(false),
    });
    let invoked = function.clone();
    let service = service_fn(move |event: LambdaEvent<String>| {
        let function = invoked.clone();
        async move { function.invoke(&event.payload, &event.context).await }
    });
    shutdown::register().await;
    tokio::select! {
        result = Runtime::new(service).layer(raw_event::RawEventLayer).run() => result,
        () = shutdown::requested() => {
            if let Ok(handler) = &function.handler {
                handler.shut_down().await;
            }
            Ok(())
        }
    }
}

struct Function<H> {
    handler: Result<H, Error>,
    logs: Logs,
    clock: SharedTimeSource,
    warm: AtomicBool,
}

impl<H: Handler> Function<H> {
    async fn invoke(&self, event: &str, context: &Context) -> Result<Box<RawValue>, Error> {
        let start = Instant::now();
        let cold = !self.warm.swap(true, Ordering::Relaxed);
        let mut invocation =
            Invocation::new(Deadline::from_epoch_ms(context.deadline, self.clock.now()));
        invocation.request_id.clone_from(&context.request_id);
        let result = match &self.handler {
            Ok(handler) => AssertUnwindSafe(handler.handle(event, &mut invocation))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| Err(panicked())),
            Err(error) => Err(error.clone()),
        };
        let serialize = Instant::now();
        let result = result.and_then(|response| to_json(&response));
        invocation.serialize = result.is_ok().then(|| serialize.elapsed());
        let (took, error, now) = (start.elapsed(), result.as_ref().err(), self.clock.now());
        for metrics in &invocation.metrics {
            self.logs.metrics(metrics, now);
        }
        self.logs.summary(context, cold, &invocation, took, error, now);
        result
    }
}

fn panicked() -> Error {
    Error::new(ErrorKind::InternalPanic, "the function panicked")
        .because("this is a bug")
        .remedy("Report it, with the log line that names the place")
}

fn to_json(response: &impl Serialize) -> Result<Box<RawValue>, Error> {
    // The serializer's own message may quote a value.
    to_raw_value(response).map_err(|_| {
        Error::new(ErrorKind::QueryFailed, "the response has no JSON form")
            .because("a key is not text, or its own Serialize failed")
            .remedy("Return a type with text keys")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_reports_the_stable_error_type() {
        let diagnostic: Diagnostic = Error::new(ErrorKind::AuthRejected, "login refused").into();
        assert_eq!(diagnostic.error_type, "Auth.Rejected");
        assert_eq!(diagnostic.error_message, "login refused.");
    }
}
