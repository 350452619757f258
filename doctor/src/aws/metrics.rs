//! RDS's metrics `IamDbAuthConnection…`, which need no export as its log does. They are one
//! number for all users of the database, and a minute or two old.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Troubleshooting.html>

use std::time::Duration;

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::error::SdkError;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, Metric, MetricDataQuery, MetricStat};

use super::refused::{RECENT, Refused, When};
use crate::aws::evidence::{Counts, RdsMetrics};
use crate::report::{Status, Step};

/// The metrics' names behind `IamDbAuthConnection`, with the ids of their queries.
const METRICS: [(&str, &str); 5] = [
    ("requests", "Requests"),
    ("invalid", "FailureInvalidToken"),
    ("permissions", "FailureInsufficientPermissions"),
    ("throttling", "FailureThrottling"),
    ("server", "FailureServerError"),
];
/// RDS's own period, in seconds.
const PERIOD: i32 = 60;

pub(crate) async fn read(refused: &Refused<'_>, when: When) -> RdsMetrics {
    let Some((name, value)) = &refused.database.dimension else { return RdsMetrics::Unknown };
    let Some(service) = refused.service("CLOUDWATCH") else { return RdsMetrics::Unreachable };
    let dimension = Dimension::builder().name(*name).value(value).build();
    let call = Client::new(&service)
        .get_metric_data()
        .set_metric_data_queries(Some(METRICS.map(|metric| query(metric, &dimension)).into()))
        .start_time(DateTime::from(when.now - RECENT))
        .end_time(DateTime::from(when.now));
    let answer = when.within(async { Some(call.send().await) }, None).await;
    let answer = match answer {
        Some(Ok(answer)) => answer,
        Some(Err(SdkError::ServiceError(_))) => return RdsMetrics::Denied,
        _ => return RdsMetrics::Unreachable,
    };
    let mut counts = Counts::default();
    for result in answer.metric_data_results() {
        let sum: f64 = result.values().iter().sum();
        let field = match result.id().unwrap_or_default() {
            "requests" => &mut counts.requests,
            "invalid" => &mut counts.invalid_token,
            "permissions" => &mut counts.insufficient_permissions,
            "throttling" => &mut counts.throttling,
            "server" => &mut counts.server_error,
            _ => continue,
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
        let sum = sum.round() as u64;
        *field = sum;
    }
    if counts == Counts::default() { RdsMetrics::Silent } else { RdsMetrics::Count(counts) }
}

fn query((id, name): (&str, &str), dimension: &Dimension) -> MetricDataQuery {
    let metric = Metric::builder()
        .namespace("AWS/RDS")
        .metric_name(format!("IamDbAuthConnection{name}"))
        .dimensions(dimension.clone());
    let sums = MetricStat::builder().metric(metric.build()).period(PERIOD).stat("Sum");
    MetricDataQuery::builder().id(id).metric_stat(sums.build()).build()
}

pub(crate) fn step(metrics: &RdsMetrics, took: Duration) -> Step {
    let (status, found) = match metrics {
        RdsMetrics::Unknown => (Status::Skipped, "RDS has no such metrics for it".to_owned()),
        RdsMetrics::Count(counts) => (Status::Ok, counts.to_string()),
        RdsMetrics::Silent => (Status::Unknown, "they count no login in 15 minutes".to_owned()),
        RdsMetrics::Denied => {
            (Status::Unknown, "the caller may not call cloudwatch:GetMetricData".to_owned())
        }
        RdsMetrics::Unreachable => (Status::Unknown, "CloudWatch cannot be reached".to_owned()),
    };
    Step::new("rds-metrics", status, took, found)
}
