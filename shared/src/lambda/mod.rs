//! Running a handler as a Lambda function: start-up, the run loop, and one log line an invocation.

mod logs;
mod raw_event;
mod response;
mod shutdown;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use futures_util::FutureExt;
use lambda_runtime::{Context, LambdaEvent, Runtime, service_fn};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::Instant;

use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::query::{Metrics, Query};
use crate::session::{Answer, Report};
use logs::Logs;
use response::Response;

/// What a function does with one event.
pub trait Handler {
    /// Answers an event, which is the invocation's payload as it came, JSON or not.
    fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> impl Future<Output = Result<Box<RawValue>, Error>>;

    /// The sandbox ends: close what is open, within 300 ms.
    fn shut_down(&self) -> impl Future<Output = ()> {
        std::future::ready(())
    }
}

/// One invocation: its time budget, and what it has to say in the log.
#[derive(Debug)]
pub struct Invocation {
    /// When the answer must be ready.
    pub deadline: Deadline,
    /// What the session did.
    pub report: Report,
    /// Lambda's id of it, the same when Lambda repeats it.
    pub request_id: String,
    /// What became of an event's records.
    pub records: Records,
    /// The query that ran.
    pub query: Option<String>,
    /// How many rows it gave.
    pub row_count: Option<usize>,
    /// Time to write the response.
    pub serialize: Option<Duration>,
    /// Metrics that the query gave, for the log.
    pub metrics: Vec<Metrics>,
}

/// How an event's records fared, for functions that take several.
#[derive(Clone, Copy, Debug, Default)]
pub struct Records {
    /// How many there were.
    pub total: usize,
    /// How many had been dealt with before.
    pub duplicates: usize,
    /// How many failed in a way that may pass by itself.
    pub passing_failures: usize,
    /// How many will fail again.
    pub permanent_failures: usize,
}

impl Records {
    /// Counts a record that failed.
    pub fn count(&mut self, fate: &Result<(), Error>) {
        match fate {
            Ok(()) => {}
            Err(error) if error.kind().is_passing() => self.passing_failures += 1,
            Err(_) => self.permanent_failures += 1,
        }
    }
}

impl Invocation {
    /// An invocation with this budget and nothing done yet.
    pub fn new(deadline: Deadline) -> Self {
        Self {
            deadline,
            report: Report::default(),
            request_id: String::new(),
            records: Records::default(),
            query: None,
            row_count: None,
            serialize: None,
            metrics: Vec::new(),
        }
    }

    /// The response to an answer, as docs/queries.md has it for each result; notes what the log and
    /// CloudWatch are to know of it.
    pub fn respond(&mut self, query: &Query, answer: Answer) -> Result<Box<RawValue>, Error> {
        let start = Instant::now();
        let response = Response::new(&query.name, &answer);
        self.row_count = response.row_count();
        let text = to_raw_value(&response).map_err(|_| {
            Error::new(ErrorKind::QueryFailed, "the answer has no JSON form")
                .remedy("This is a bug")
        })?;
        self.serialize = Some(start.elapsed());
        if let Answer::Metrics(metrics) = answer {
            self.metrics.push(metrics);
        }
        Ok(text)
    }
}

/// Runs a function until Lambda stops it. What `start` fails with, a bad configuration mostly, is
/// the error of every invocation: Lambda has no way to report it earlier.
pub fn run<H: Handler + 'static>(start: impl FnOnce() -> Result<H, Error>) -> ExitCode {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        // As Lambda does not: someone started the binary by hand, perhaps with --help.
        eprintln!(
            "This is an AWS Lambda function; it answers events that Lambda's Runtime API hands it.\n\
             To run it here:  rds-local serve   and then   rds-local invoke FUNCTION --event FILE"
        );
        return ExitCode::from(2);
    }
    let logs = logs::init();
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

async fn serve<H: Handler + 'static>(
    start: impl FnOnce() -> Result<H, Error>,
    logs: Logs,
) -> Result<(), lambda_runtime::Error> {
    let function = Arc::new(Function {
        handler: start(),
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
                .unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::InternalPanic, "the function panicked")
                        .because("this is a bug")
                        .remedy("Report it with the log line that names the place"))
                }),
            Err(error) => Err(error.clone()),
        };
        let (took, error, now) = (start.elapsed(), result.as_ref().err(), self.clock.now());
        for metrics in &invocation.metrics {
            self.logs.metrics(metrics, now);
        }
        self.logs.summary(context, cold, &invocation, took, error, now);
        result
    }
}
