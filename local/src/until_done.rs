//! `rds-local invoke batch-job --until-done`: sends an event again until its run is finished, as the
//! template's state machine does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rds_iam::ErrorKind;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, sleep};

use crate::Result;
use crate::invoke::{LogSink, Sandbox};
use crate::runtime_api::Outcome;

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
    skipped: Option<String>,
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

/// Sends `event` until its run is finished, writes the progress to `told`, and returns the last outcome.
/// Dropping the future kills the function; its chunks stay committed.
///
/// # Errors
/// If the event is not an object, the function does not start, or its answer is not a batch job's.
pub async fn run(launch: Launch<'_>, event: &[u8], told: impl Fn(&str)) -> Result<Outcome> {
    let mut event: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(event)
        .map_err(|_| "--until-done needs an event that is a JSON object".to_owned())?;
    let start = Instant::now();
    let mut sandbox = start_sandbox(&launch).await?;
    let mut failures = 0;
    loop {
        let text = serde_json::to_vec(&event).map_err(|error| error.to_string())?;
        let outcome = sandbox.invoke(text.into()).await;
        let Outcome::Response(body) = &outcome else {
            failures += 1;
            let kind = outcome.error().map(|error| error.error_type).unwrap_or_default();
            if failures >= ATTEMPTS || !may_pass(&kind) {
                sandbox.stop().await;
                return Ok(outcome);
            }
            let pause = Duration::from_secs(1 << failures).min(LONGEST_PAUSE);
            told(&format!("{kind}; again in {} s", pause.as_secs()));
            sleep(pause).await;
            if kind.starts_with("Runtime.") || kind.starts_with("Sandbox.") {
                sandbox = start_sandbox(&launch).await?;
            }
            continue;
        };
        failures = 0;
        let answer: Answer = serde_json::from_slice(body).map_err(|_| {
            "--until-done needs a function that answers as batch-job does".to_owned()
        })?;
        told(&progress(&answer, start.elapsed()));
        if answer.done || answer.skipped.is_some() {
            sandbox.stop().await;
            return Ok(outcome);
        }
        // Without one, each request would be a run of its own.
        let run = to_raw_value(&answer.run).map_err(|error| error.to_string())?;
        event.entry("run".into()).or_insert(run);
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

fn progress(answer: &Answer, elapsed: Duration) -> String {
    let Answer { run, step, query, chunks, rows, .. } = answer;
    if let Some(skipped) = &answer.skipped {
        return format!("run {run}: skipped, because {skipped}");
    }
    let rate = *rows as f64 / elapsed.as_secs_f64().max(0.001);
    let state = if answer.done { "done" } else { "goes on" };
    format!(
        "run {run}: {state}, step {step} ({query}), {chunks} chunks, {rows} rows, {rate:.0} rows/s, {:.1} s",
        elapsed.as_secs_f64()
    )
}
