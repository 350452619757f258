//! CloudWatch's embedded metric format: metrics in a line of JSON on standard output, which needs
//! no network and no endpoint in a private subnet.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::time::SystemTime;

use serde::Serialize;

/// The namespace of the functions' own metrics, and of queries that name none.
pub const NAMESPACE: &str = "rds-iam-lambda";
/// The format's limit of metrics in one document.
pub(crate) const MAX_METRICS: usize = 100;
/// The format's limit of dimensions in one set.
pub(crate) const MAX_DIMENSIONS: usize = 30;
/// The format's limit of a document, in bytes, less room for what stands around the values.
pub(crate) const MAX_DOCUMENT: usize = 1_000_000;
/// The format's limit of a dimension's name, in characters.
pub(crate) const MAX_DIMENSION_NAME: usize = 250;
/// CloudWatch's limit of a dimension's value, in characters.
pub(crate) const MAX_DIMENSION_VALUE: usize = 1024;

/// CloudWatch's units.
pub(crate) const UNITS: [&str; 27] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
    "None",
];

/// The `_aws` member of a document: which of its other members are metrics and dimensions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metadata<'a> {
    timestamp: u64,
    cloud_watch_metrics: Vec<Directive<'a>>,
}

/// Metrics that share their dimensions.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Directive<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) dimensions: Vec<Vec<&'a str>>,
    pub(crate) metrics: Vec<Metric<'a>>,
}

/// The name of a member that is a metric.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Metric<'a> {
    pub(crate) name: &'a str,
    pub(crate) unit: &'a str,
}

impl<'a> Metadata<'a> {
    pub(crate) fn new(now: SystemTime, cloud_watch_metrics: Vec<Directive<'a>>) -> Self {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { timestamp: u64::try_from(since.as_millis()).unwrap_or(0), cloud_watch_metrics }
    }
}
