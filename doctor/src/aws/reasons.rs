//! Why RDS refused a token, which it does not tell the client: its log, its metrics, and IAM's simulation
//! of the caller's policies. Each needs a right of its own; without it, the reason stays unknown.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::refused::{Refused, When};
use super::{log, metrics, simulation};
use crate::aws::evidence::Reasons;
use crate::report::Step;
use crate::times::bound;

const LONGEST: Duration = Duration::from_millis(1000);

/// Asks all of them at once.
pub(crate) async fn ask(
    refused: &Refused<'_>,
    now: SystemTime,
    limit: Instant,
) -> (Reasons, Vec<Step>) {
    let when = When { now, deadline: bound(limit, LONGEST) };
    let ((log, l), (metrics, m), (simulation, s)) = tokio::join!(
        timed(log::read(refused, when)),
        timed(metrics::read(refused, when)),
        timed(simulation::run(refused, when)),
    );
    let steps =
        vec![log::step(&log, l), metrics::step(&metrics, m), simulation::step(&simulation, s)];
    (Reasons { log, metrics, simulation }, steps)
}

async fn timed<T>(step: impl Future<Output = T>) -> (T, Duration) {
    let start = Instant::now();
    (step.await, start.elapsed())
}
