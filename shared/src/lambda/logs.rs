//! JSON logs, one flat object a line, as Lambda's own log filter reads them.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>:
//! `timestamp` and `level` at the top level.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use lambda_runtime::Context;
use serde::Serialize;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Invocation;
use crate::emf::{self, Directive, Metadata, Metric};
use crate::error::Error;
use crate::query::Metrics;

/// How this process writes its lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logs {
    json: bool,
    metrics: bool,
}

/// Starts logging on standard output, at `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG`: as JSON in Lambda
/// or with `AWS_LAMBDA_LOG_FORMAT=JSON`, else as text.
pub(super) fn init() -> Logs {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let level = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"]
        .iter()
        .find_map(|name| level(&variable(name)?))
        .unwrap_or(LevelFilter::INFO);
    let json = variable("LAMBDA_TASK_ROOT").is_some()
        || variable("AWS_LAMBDA_LOG_FORMAT").is_some_and(|format| format == "JSON");
    let lines = tracing_subscriber::fmt::layer().with_target(false);
    let lines = if json {
        let lines = lines.json().flatten_event(true).with_current_span(false);
        lines.with_span_list(false).boxed()
    } else {
        lines.compact().with_ansi(false).boxed()
    };
    // Fails only if a subscriber is set already, which then receives the lines.
    let _ = tracing_subscriber::registry().with(lines.with_filter(filter(level))).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // The place and not the message: that may quote a value.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    // Config refuses what is neither true nor false.
    let metrics = variable("DB_METRICS").is_none_or(|value| value != "false");
    Logs { json, metrics }
}

/// Dependencies that log. Their lines stay off, because they hold requests with session tokens, events,
/// headers and parameter values, some of them at WARN.
const DEPENDENCIES: [&str; 8] = [
    "h2",
    "hyper",
    "hyper_rustls",
    "hyper_util",
    "lambda_runtime",
    "lambda_runtime_api_client",
    // These log through the crate log, which only a function with a bridge would show.
    "rustls",
    "tokio_postgres",
];
/// The AWS SDK's crates, whichever service a function uses.
const SDK: &str = "aws_";

/// This crate and your own function log at the requested level.
fn filter(level: LevelFilter) -> FilterFn<impl Fn(&tracing::Metadata<'_>) -> bool> {
    filter_fn(move |metadata| is_enabled(metadata.target(), metadata.level(), level))
        .with_max_level_hint(level)
}

fn is_enabled(target: &str, own: &Level, level: LevelFilter) -> bool {
    let package = target.split("::").next().unwrap_or(target);
    *own <= level && !is_dependency(package)
}

fn is_dependency(package: &str) -> bool {
    package.starts_with(SDK) || DEPENDENCIES.contains(&package)
}

/// Lambda writes `FATAL`, which tracing does not know.
fn level(text: &str) -> Option<LevelFilter> {
    if text.eq_ignore_ascii_case("fatal") {
        return Some(LevelFilter::ERROR);
    }
    text.parse().ok()
}

/// The one line of an invocation: what it did, how long each step took in milliseconds, and for
/// CloudWatch, which of its members are metrics.
#[derive(Serialize)]
struct Summary<'a> {
    timestamp: String,
    level: &'static str,
    message: &'static str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    #[serde(rename = "xrayTraceId")]
    xray_trace_id: Option<&'a str>,
    function: &'a str,
    cold_start: bool,
    query: Option<&'a str>,
    row_count: Option<usize>,
    violations: Option<u64>,
    connection: &'static str,
    login_attempts: u32,
    resolve_ms: Option<f64>,
    sign_ms: Option<f64>,
    dial_ms: Option<f64>,
    tls_ms: Option<f64>,
    login_ms: Option<f64>,
    connect_ms: Option<f64>,
    query_ms: Option<f64>,
    serialize_ms: Option<f64>,
    duration_ms: Option<f64>,
    #[serde(rename = "errorType")]
    error_type: Option<&'static str>,
    #[serde(rename = "errorMessage")]
    error_message: Option<String>,
    #[serde(flatten)]
    counters: BTreeMap<&'static str, u64>,
    #[serde(rename = "_aws")]
    metadata: Option<Metadata<'a>>,
}

impl Logs {
    /// Writes an invocation's line.
    pub(super) fn summary(
        self,
        context: &Context,
        cold_start: bool,
        invocation: &Invocation,
        took: Duration,
        error: Option<&Error>,
        now: SystemTime,
    ) {
        let enabled = match error {
            None => tracing::enabled!(tracing::Level::INFO),
            Some(_) => tracing::enabled!(tracing::Level::ERROR),
        };
        if !enabled {
            return;
        }
        let mut summary = Summary::new(context, cold_start, invocation, took, error);
        if self.metrics && self.json && !summary.function.is_empty() {
            summary.counters.extend([
                ("cold_starts", cold_start.into()),
                ("reused", invocation.work.report.reused.into()),
                ("errors", error.is_some().into()),
            ]);
            summary.metadata = Some(summary.metadata(now));
        }
        if let Ok(serde_json::Value::Object(mut line)) = serde_json::to_value(&summary) {
            line.retain(|_, value| !value.is_null());
            println!("{}", if self.json { json(&line) } else { text(line) });
        }
    }

    /// Writes lines that are metrics and nothing else.
    pub(super) fn metrics(self, metrics: &Metrics, now: SystemTime) {
        for line in metrics.lines(now) {
            println!("{line}");
        }
    }
}

impl<'a> Summary<'a> {
    fn new(
        context: &'a Context,
        cold_start: bool,
        invocation: &'a Invocation,
        took: Duration,
        error: Option<&Error>,
    ) -> Self {
        let report = &invocation.work.report;
        let login = report.login;
        let connect = login.map(|steps| {
            let before = report.resolve.unwrap_or_default() + report.sign.unwrap_or_default();
            before + steps.dial + steps.tls + steps.login
        });
        Self {
            timestamp: timestamp(),
            level: if error.is_some() { "ERROR" } else { "INFO" },
            message: if error.is_some() { "invocation failed" } else { "invocation succeeded" },
            request_id: &context.request_id,
            xray_trace_id: context.xray_trace_id.as_deref(),
            function: &context.env_config.function_name,
            cold_start,
            query: invocation.query.as_deref(),
            row_count: invocation.row_count,
            violations: report.violations,
            connection: match (report.reused, login) {
                (true, _) => "reused",
                (false, Some(_)) => "new",
                (false, None) => "none",
            },
            login_attempts: report.login_attempts,
            resolve_ms: ms(report.resolve),
            sign_ms: ms(report.sign),
            dial_ms: ms(login.map(|steps| steps.dial)),
            tls_ms: ms(login.map(|steps| steps.tls)),
            login_ms: ms(login.map(|steps| steps.login)),
            connect_ms: ms(connect),
            query_ms: ms(report.query),
            serialize_ms: ms(invocation.serialize),
            duration_ms: ms(Some(took)),
            error_type: error.map(|error| error.kind().error_type()),
            error_message: error.map(ToString::to_string),
            counters: invocation.counters.iter().copied().collect(),
            metadata: None,
        }
    }

    /// Few metrics in few dimensions: CloudWatch bills each combination.
    fn metadata(&self, now: SystemTime) -> Metadata<'a> {
        let present = |name: &'static str, unit: &'static str, there: bool| {
            there.then_some(Metric { name, unit })
        };
        let unit = |name: &str| if name.ends_with("_seconds") { "Seconds" } else { "Count" };
        let counters = self.counters.keys().map(|name| Metric { name, unit: unit(name) });
        let measured = [
            present("connect_ms", "Milliseconds", self.connect_ms.is_some()),
            present("query_ms", "Milliseconds", self.query_ms.is_some()),
            present("row_count", "Count", self.row_count.is_some()),
        ];
        let directive = |dimensions: &[&'static str], metrics: Vec<Metric<'a>>| Directive {
            namespace: emf::NAMESPACE,
            dimensions: vec![dimensions.to_vec()],
            metrics,
        };
        let mut directives = vec![directive(
            &["function"],
            counters.chain(measured.into_iter().flatten()).collect(),
        )];
        if self.error_type.is_some() {
            let errors = vec![Metric { name: "errors", unit: "Count" }];
            directives.push(directive(&["function", "errorType"], errors));
        }
        if self.violations.is_some() && self.query.is_some() {
            let violations = vec![Metric { name: "violations", unit: "Count" }];
            directives.push(directive(&["function", "query"], violations));
        }
        Metadata::new(now, directives)
    }
}

/// The time in the format of the other lines.
fn timestamp() -> String {
    let mut text = String::new();
    let written = tracing_subscriber::fmt::time::SystemTime
        .format_time(&mut tracing_subscriber::fmt::format::Writer::new(&mut text));
    if written.is_err() { String::new() } else { text }
}

fn json(line: &serde_json::Map<String, serde_json::Value>) -> String {
    serde_json::to_string(line).unwrap_or_default()
}

/// For a person at a terminal: `timestamp LEVEL message key=value …`.
fn text(mut line: serde_json::Map<String, serde_json::Value>) -> String {
    let mut take = |name: &str| match line.remove(name) {
        Some(serde_json::Value::String(text)) => text,
        _ => String::new(),
    };
    let mut text = format!("{} {:>5} {}", take("timestamp"), take("level"), take("message"));
    let error = [take("errorType"), take("errorMessage")];
    if !error[0].is_empty() {
        text.push_str(&format!(": {}: {}", error[0], error[1]));
    }
    for (name, value) in line {
        text.push_str(&match value {
            serde_json::Value::String(value) => format!(" {name}={value}"),
            value => format!(" {name}={value}"),
        });
    }
    text
}

/// Milliseconds with three digits after the point: microseconds are enough.
fn ms(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| (duration.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_off_and_everything_else_follows_the_level() {
        for target in ["rds_iam::session", "event_query", "my_function::orders", "orders"] {
            assert!(is_enabled(target, &Level::DEBUG, LevelFilter::DEBUG), "{target}");
            assert!(!is_enabled(target, &Level::TRACE, LevelFilter::DEBUG), "{target}");
        }
        for target in ["tokio_postgres::query", "lambda_runtime::layers::panic", "aws_config"] {
            assert!(!is_enabled(target, &Level::ERROR, LevelFilter::TRACE), "{target}");
        }
    }

    /// A dependency that is new must be looked at before it may log.
    #[test]
    fn every_dependency_that_logs_is_known() {
        let output = std::process::Command::new(env!("CARGO"))
            .args(["tree", "--package", "rds-iam", "--edges", "normal", "--prefix", "none"])
            .args(["--invert", "tracing", "--features", "sso", "--offline", "--format", "{p}"])
            .output()
            .unwrap();
        let tree = String::from_utf8(output.stdout).unwrap();
        let packages: Vec<String> = tree
            .lines()
            .filter(|line| !line.contains("(/"))
            .filter_map(|line| line.split(' ').next())
            .map(|name| name.replace('-', "_"))
            .filter(|name| !name.is_empty() && !name.starts_with("tracing"))
            .collect();
        assert!(packages.len() > 10, "{tree}");
        for package in packages {
            assert!(is_dependency(&package), "{package} logs: add it to the list");
        }
    }

    #[test]
    fn lambdas_level_names_are_known() {
        assert_eq!(level("FATAL"), Some(LevelFilter::ERROR));
        assert_eq!(level("INFO"), Some(LevelFilter::INFO));
        assert_eq!(level("trace"), Some(LevelFilter::TRACE));
        assert_eq!(level("loud"), None);
    }
}
