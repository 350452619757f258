//! `rds-local invoke batch-job --until-done`: sends an event again until its run is finished, as the
//! template's state machine does.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use axum::body::Bytes;
use nix::sys::signal::Signal;
use rds_iam::ErrorKind;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::time::{Instant, sleep};

use crate::environment::quote;
use crate::invoke::{LogSink, Sandbox};
use crate::runtime_api::Outcome;
use crate::{Result, exit_code};

/// Failures in a row that may be transient, before it gives up.
const ATTEMPTS: u32 = 5;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What an invocation answers.
#[derive(Deserialize)]
struct Answer {
    run: String,
    done: bool,
    step: usize,
    query: String,
    chunks: u64,
    rows: u64,
    this_call: Counts,
    skipped: Option<String>,
}

/// The work of that invocation alone.
#[derive(Deserialize)]
struct Counts {
    rows: u64,
}

/// A function's binary, and how to start it.
#[derive(Clone)]
pub struct Launch<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// Its environment.
    pub variables: &'a BTreeMap<String, String>,
    /// Its time-out.
    pub timeout: Duration,
    /// Takes its log.
    pub log: LogSink,
}

impl std::fmt::Debug for Launch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launch").field("binary", &self.binary).finish_non_exhaustive()
    }
}

/// Sends each event until its run is finished or `interrupted` returns. Writes the progress to standard
/// error and the last answers to standard output, and returns how this process should end.
///
/// An event without a run gets `given`, or else the time; a second event gets it with `-2`, and so on.
/// After an interruption the function is stopped and its chunks stay committed; the command that goes on
/// is printed. Dropping the future kills the function.
///
/// # Errors
/// If an event is not an object, the function does not start, or its answer is not a batch job's.
pub async fn run(
    launch: Launch<'_>,
    events: &[Vec<u8>],
    given: Option<String>,
    mut interrupted: Pin<&mut impl Future<Output = Signal>>,
) -> Result<ExitCode> {
    let chosen = given.is_none() && !events.iter().all(|event| has_run(event));
    let origin = if given.is_some() { RunOrigin::Option } else { RunOrigin::Time };
    let first = given.unwrap_or_else(new_run);
    let mut code = ExitCode::SUCCESS;
    for (index, event) in events.iter().enumerate() {
        let run = if index == 0 { first.clone() } else { format!("{first}-{}", index + 1) };
        match run_event(launch.clone(), event, (&run, origin), interrupted.as_mut()).await? {
            Ended::Interrupted(signal) => {
                tell("this command goes on there, as soon as the lease has ended:");
                eprintln!("  {}", command_with_run(chosen.then_some(&first)));
                return Ok(exit_code(signal));
            }
            Ended::Outcome(outcome) => {
                let (Outcome::Response(body) | Outcome::Error(body)) = &outcome;
                println!("{}", String::from_utf8_lossy(body));
                if !matches!(outcome, Outcome::Response(_)) || !is_done(body) {
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
    Ok(code)
}

/// Where the run of an event without one comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RunOrigin {
    /// `--run`
    Option,
    Time,
}

fn tell(line: &str) {
    eprintln!("rds-local: {line}");
}

/// A run for events that have none: the time, to the millisecond.
fn new_run() -> String {
    const FORMAT: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    let now = OffsetDateTime::from(SharedTimeSource::default().now());
    now.format(FORMAT).unwrap_or_else(|_| uuid::Uuid::new_v4().to_string())
}

/// This process's command line for a shell, with the run that was chosen.
fn command_with_run(run: Option<&String>) -> String {
    let mut words: Vec<_> =
        std::env::args_os().map(|word| quote(&word.to_string_lossy())).collect();
    if let Some(run) = run {
        words.extend(["--run".to_owned(), quote(run)]);
    }
    words.join(" ")
}

fn is_done(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|answer: Answer| answer.done)
}

/// How the calls of one run ended.
enum Ended {
    /// The run is finished, skipped or failed: the last outcome.
    Outcome(Outcome),
    /// This signal came, and the function is stopped.
    Interrupted(Signal),
}

/// The calls of one event.
async fn run_event(
    launch: Launch<'_>,
    event: &[u8],
    (run, origin): (&str, RunOrigin),
    interrupted: Pin<&mut impl Future<Output = Signal>>,
) -> Result<Ended> {
    let mut event: Event = serde_json::from_slice(event)
        .map_err(|_| "--until-done needs an event that is a JSON object".to_owned())?;
    if says_run(&event) {
        if origin == RunOrigin::Option {
            tell("--run is not used: the event names its own run");
        }
    } else {
        let why = match origin {
            RunOrigin::Option => "as --run says",
            RunOrigin::Time => "chosen, because the event names none",
        };
        tell(&format!("run {run}: {why}"));
        event.insert("run".into(), to_raw_value(&run).map_err(|error| error.to_string())?);
    }
    let text = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
    let sandbox = start_sandbox(&launch).await?;
    let mut calls =
        Calls { launch, event: text.into(), sandbox, start: Instant::now(), rows: 0, last: None };
    let ended = tokio::select! {
        biased;
        signal = interrupted => Ended::Interrupted(signal),
        outcome = calls.until_done() => Ended::Outcome(outcome?),
    };
    let stopped = calls.stopped();
    calls.sandbox.stop().await;
    if matches!(ended, Ended::Interrupted(_)) {
        tell(&stopped);
    }
    Ok(ended)
}

type Event = BTreeMap<String, Box<RawValue>>;

/// Whether the event says which run it is, as far as it can be read.
fn has_run(event: &[u8]) -> bool {
    serde_json::from_slice(event).is_ok_and(|event| says_run(&event))
}

/// An event of EventBridge says it too: with its time.
fn says_run(event: &Event) -> bool {
    let has = |name: &str| event.get(name).is_some_and(|value| value.get() != "null");
    has("run") || has("detail-type") && has("source")
}

/// The calls of one run.
struct Calls<'a> {
    launch: Launch<'a>,
    event: Bytes,
    sandbox: Sandbox,
    start: Instant,
    /// The rows of these calls; the answers also count those of earlier ones.
    rows: u64,
    last: Option<Answer>,
}

impl Calls<'_> {
    async fn until_done(&mut self) -> Result<Outcome> {
        let mut failures = 0;
        loop {
            let outcome = self.sandbox.invoke(self.event.clone()).await;
            let Outcome::Response(body) = &outcome else {
                failures += 1;
                let kind = outcome.error().map(|error| error.error_type).unwrap_or_default();
                if failures >= ATTEMPTS || !may_pass(&kind) {
                    return Ok(outcome);
                }
                let pause = Duration::from_secs(1 << failures).min(LONGEST_PAUSE);
                tell(&format!("{kind}; again in {} s", pause.as_secs()));
                sleep(pause).await;
                if kind.starts_with("Runtime.") || kind.starts_with("Sandbox.") {
                    self.sandbox = start_sandbox(&self.launch).await?;
                }
                continue;
            };
            failures = 0;
            let answer: Answer = serde_json::from_slice(body).map_err(|_| {
                "--until-done needs a function that answers as batch-job does".to_owned()
            })?;
            self.rows += answer.this_call.rows;
            tell(&progress(&answer, self.rows, self.start.elapsed()));
            if answer.done || answer.skipped.is_some() {
                return Ok(outcome);
            }
            self.last = Some(answer);
        }
    }

    /// How far the run got, after an interruption. The call that was interrupted gave no answer.
    fn stopped(&self) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        match &self.last {
            Some(Answer { run, step, query, chunks, rows, .. }) => format!(
                "interrupted after {seconds:.1} s; run {run}: step {step} ({query}), {chunks} chunks and \
                 {rows} rows at its last answer; later chunks are committed too"
            ),
            None => format!(
                "interrupted after {seconds:.1} s, before the first answer; job_runs says how far it got"
            ),
        }
    }
}

async fn start_sandbox(launch: &Launch<'_>) -> Result<Sandbox> {
    let Launch { binary, variables, timeout, log } = launch.clone();
    Sandbox::start(binary, variables, timeout, log).await
}

/// Whether another attempt may succeed: the same that the state machine repeats.
fn may_pass(error_type: &str) -> bool {
    let kind = ErrorKind::ALL.into_iter().find(|kind| kind.error_type() == error_type);
    kind.is_some_and(ErrorKind::is_transient)
        || error_type.starts_with("Runtime.")
        || error_type.starts_with("Sandbox.")
}

/// `here` are the rows of this command.
fn progress(answer: &Answer, here: u64, elapsed: Duration) -> String {
    let Answer { run, step, query, chunks, rows, .. } = answer;
    if let Some(skipped) = &answer.skipped {
        return format!("run {run}: skipped, because {skipped}");
    }
    let seconds = elapsed.as_secs_f64();
    let rate = here as f64 / seconds.max(0.001);
    let state = if answer.done { "done" } else { "goes on" };
    format!(
        "run {run}: {state}, step {step} ({query}), {chunks} chunks and {rows} rows in all; \
         now {here} rows in {seconds:.1} s, {rate:.0} rows/s"
    )
}
