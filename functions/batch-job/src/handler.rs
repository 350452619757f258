//! Event to run, run to response.

use std::collections::BTreeMap;
use std::time::Duration;

use rds_iam::lambda::{Handler, Invocation};
use rds_iam::query::{Library, Parameters, time_of};
use rds_iam::session::{JobEnd, JobReport, JobRun, Step};
use rds_iam::{Config, Error, ErrorKind, Session};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::event::Event;

const LEASE: Duration = Duration::from_secs(30);
const LONGEST_LEASE: u64 = 900;

/// The function: its database, and the query files that were deployed with it.
pub(crate) struct BatchJob {
    session: Session,
    library: Library,
    lease: Duration,
}

/// How far a run has come. Call again while `done` is false and nobody else runs.
#[derive(Serialize)]
pub(crate) struct JobResponse {
    job: String,
    run: String,
    done: bool,
    step: usize,
    query: String,
    chunks: u64,
    rows: u64,
    this_call: Counts,
    /// Who runs instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
}

/// The work of one invocation; `chunks` and `rows` beside it are those of the whole run.
#[derive(Serialize)]
struct Counts {
    chunks: u64,
    rows: u64,
}

impl BatchJob {
    pub(crate) async fn from_env() -> Result<Self, Error> {
        let config = Config::from_env()?;
        let lease = lease(std::env::var("JOB_LEASE").ok().as_deref())?;
        Ok(Self { library: config.common.library(), session: Session::new(config)?, lease })
    }

    fn steps(&self, event: &Event) -> Result<Vec<Step>, Error> {
        // Dates count from the run: every invocation of it must get the same ones.
        let time = event.run.as_deref().and_then(time_of);
        if event.queries.is_empty() {
            let query = self.library.load(None)?;
            let parameters = Parameters::bind_at(&query, &event.params, time)?;
            return Ok(vec![Step { query, parameters }]);
        }
        let queries = event.queries.iter().map(|name| self.library.load(Some(name)));
        let queries = queries.collect::<Result<Vec<_>, _>>()?;
        let declared = |name: &str| {
            queries.iter().any(|query| query.params.iter().any(|param| param.name == name))
        };
        if queries.len() > 1 && !event.params.keys().all(|name| declared(name)) {
            let what = "the event has a parameter that none of the job's queries declares";
            return Err(Error::new(ErrorKind::QueryBadParameter, what).remedy(
                "Each query of a job takes those of its params that its front matter declares",
            ));
        }
        let several = queries.len() > 1;
        let bind = |query: rds_iam::query::Query| {
            // A query of several takes its own share.
            let own = event.params.iter().filter(|(name, _)| {
                !several || query.params.iter().any(|param| param.name == **name)
            });
            let own: BTreeMap<String, Box<RawValue>> =
                own.map(|(name, value)| (name.clone(), value.clone())).collect();
            let parameters = Parameters::bind_at(&query, &own, time)?;
            Ok(Step { query, parameters })
        };
        queries.into_iter().map(bind).collect()
    }
}

/// `JOB_LEASE`: how long a run stays with an invocation that gives no sign of life.
fn lease(text: Option<&str>) -> Result<Duration, Error> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(LEASE) };
    let seconds = text.parse().ok().filter(|seconds| (1..=LONGEST_LEASE).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        Error::new(ErrorKind::ConfigInvalid, "the function's environment is wrong")
            .because("JOB_LEASE is in whole seconds, 1 to 900")
            .remedy("Set it on the function, or leave it out for 30")
    })
}

/// What the run is asked to do: its queries, and their values as the event wrote them.
fn input(steps: &[Step], event: &Event) -> String {
    let mut text = String::new();
    for step in steps {
        text.push_str(&step.query.name);
        text.push('\n');
    }
    for (name, value) in &event.params {
        text.push_str(name);
        text.push('=');
        text.push_str(value.get());
        text.push('\n');
    }
    text
}

impl Handler for BatchJob {
    type Response = JobResponse;

    async fn handle(&self, event: &str, invocation: &mut Invocation) -> Result<JobResponse, Error> {
        let event = Event::parse(event)?;
        let steps = self.steps(&event)?;
        let job = event.job.clone().unwrap_or_else(|| steps[0].query.name.clone());
        let run = event.run.clone().unwrap_or_else(|| invocation.request_id.clone());
        invocation.query = Some(steps[0].query.name.clone());
        let job_run = JobRun {
            job: &job,
            run: &run,
            steps: &steps,
            input: &input(&steps, &event),
            overlap: event.overlap,
            lease: self.lease,
        };
        let mut report = JobReport::default();
        let ended = self.session.run_job(&job_run, &mut invocation.work, &mut report).await;
        let unfinished = ended.as_ref().is_ok_and(|state| state.end == JobEnd::Unfinished);
        invocation.counters.extend([
            ("chunks", report.chunks),
            ("rows", report.rows),
            ("lease_lost", report.lease_lost),
            ("stalled", (unfinished && report.chunks == 0).into()),
        ]);
        invocation.counters.extend(report.run_seconds.map(|seconds| ("run_seconds", seconds)));
        invocation.metrics.append(&mut report.metrics);
        let state = ended?;
        let query = steps.get(state.step - 1).map(|step| step.query.name.clone());
        Ok(JobResponse {
            done: state.end == JobEnd::Finished,
            step: state.step,
            query: query.unwrap_or_default(),
            chunks: state.chunks,
            rows: state.rows,
            this_call: Counts { chunks: report.chunks, rows: report.rows },
            skipped: match state.end {
                JobEnd::Skipped(who) => Some(who),
                _ => None,
            },
            job,
            run,
        })
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
