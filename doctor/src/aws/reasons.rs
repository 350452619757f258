//! Why RDS refused a token, which it does not tell the client: its log, its metrics, and IAM's simulation
//! of the caller's policies. Each needs a right of its own; without it, the reason stays unknown.

use std::time::{Duration, SystemTime};

use aws_types::SdkConfig;
use rds_iam::Config;
use rds_iam::postgres::Refusal;
use tokio::time::{Instant, timeout_at};

use super::{log, metrics, simulation, step as aws};
use crate::aws::evidence::{Caller, Database, Rds, RdsLog, RdsMetrics, Simulation};
use crate::environment::Environment;
use crate::login::evidence::Login;
use crate::report::Step;
use crate::steps::bound;

const LONGEST: Duration = Duration::from_millis(1000);
/// A token is no older either.
pub(crate) const RECENT: Duration = Duration::from_secs(15 * 60);

/// A token that RDS refused, and what is known of it.
pub(crate) struct Refused<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) config: &'a Config,
    pub(crate) sdk: &'a SdkConfig,
    pub(crate) caller: &'a Caller,
    pub(crate) database: &'a Database,
}

/// When the questions are asked, and until when.
#[derive(Clone, Copy)]
pub(crate) struct When {
    pub(crate) now: SystemTime,
    pub(crate) deadline: Instant,
}

#[derive(Default)]
pub(crate) struct Reasons {
    pub(crate) log: RdsLog,
    pub(crate) metrics: RdsMetrics,
    pub(crate) simulation: Simulation,
    pub(crate) steps: Vec<Step>,
}

impl<'a> Refused<'a> {
    /// The refused token, if that is how the login ended, of a database that RDS has described.
    pub(crate) fn by_rds(
        environment: &'a Environment,
        config: Option<&'a Config>,
        aws: &'a aws::Answers,
        login: &Login,
    ) -> Option<Self> {
        let (sdk, caller) = (aws.sdk.as_ref()?, &aws.caller);
        match (login, &aws.rds) {
            (Login::Refused { refusal: Refusal::Token, .. }, Rds::Is(database)) => {
                Some(Self { environment, config: config?, sdk, caller, database })
            }
            _ => None,
        }
    }

    /// Asks all of them at once.
    pub(crate) async fn ask(&self, now: SystemTime, limit: Instant) -> Reasons {
        let when = When { now, deadline: bound(limit, LONGEST) };
        let ((log, l), (metrics, m), (simulation, s)) = tokio::join!(
            timed(log::read(self, when)),
            timed(metrics::read(self, when)),
            timed(simulation::run(self, when)),
        );
        let steps =
            vec![log::step(&log, l), metrics::step(&metrics, m), simulation::step(&simulation, s)];
        Reasons { log, metrics, simulation, steps }
    }

    /// The configuration of a service's client, if the caller's keys may be shown to it.
    pub(crate) fn service(&self, name: &str) -> Option<SdkConfig> {
        aws::for_service(self.environment, self.sdk, self.config, name)
    }
}

impl When {
    /// An answer, or `otherwise` if it does not come in time.
    pub(crate) async fn within<T>(self, answer: impl Future<Output = T>, otherwise: T) -> T {
        timeout_at(self.deadline, answer).await.unwrap_or(otherwise)
    }
}

async fn timed<T>(step: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (step.await, start.elapsed())
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
