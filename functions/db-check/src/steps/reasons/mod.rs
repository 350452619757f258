//! Why RDS refused a token, which it does not tell the client: its log, its metrics, and IAM's simulation
//! of the caller's policies. Each needs a right of its own; without it, the reason stays unknown.

mod log;
mod metrics;
mod simulation;

use std::time::{Duration, SystemTime};

use aws_types::SdkConfig;
use rds_iam::Config;
use tokio::time::{Instant, timeout_at};

use super::{aws, bound};
use crate::environment::Environment;
use crate::evidence::{Caller, Database, RdsLog, RdsMetrics, Simulation};
use crate::report::Step;

const LONGEST: Duration = Duration::from_millis(1000);
/// A token is no older either.
const RECENT: Duration = Duration::from_secs(15 * 60);

/// What is asked about.
pub(super) struct Refused<'a> {
    pub(super) environment: &'a Environment,
    pub(super) config: &'a Config,
    pub(super) sdk: &'a SdkConfig,
    pub(super) caller: &'a Caller,
    pub(super) database: &'a Database,
    pub(super) now: SystemTime,
    pub(super) deadline: Instant,
}

#[derive(Default)]
pub(super) struct Reasons {
    pub(super) log: RdsLog,
    pub(super) metrics: RdsMetrics,
    pub(super) simulation: Simulation,
    pub(super) steps: Vec<Step>,
}

/// Asks all of them at once.
pub(super) async fn ask(refused: &Refused<'_>) -> Reasons {
    let ((log, l), (metrics, m), (simulation, s)) = tokio::join!(
        timed(log::read(refused)),
        timed(metrics::read(refused)),
        timed(simulation::run(refused)),
    );
    let steps =
        vec![log::step(&log, l), metrics::step(&metrics, m), simulation::step(&simulation, s)];
    Reasons { log, metrics, simulation, steps }
}

async fn timed<T>(step: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (step.await, start.elapsed())
}

impl Refused<'_> {
    /// The configuration of a service's client, if the caller's keys may be shown to it.
    fn service(&self, name: &str) -> Option<SdkConfig> {
        aws::for_service(self.environment, self.sdk, self.config, name)
    }

    /// An answer, or `otherwise` if it does not come in time.
    async fn within<T>(&self, answer: impl Future<Output = T>, otherwise: T) -> T {
        timeout_at(bound(self.deadline, LONGEST), answer).await.unwrap_or(otherwise)
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
