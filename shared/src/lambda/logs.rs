//! JSON logs, one flat object a line, as Lambda's own log filter reads them.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>:
//! `timestamp` and `level` at the top level.

use std::time::Duration;

use lambda_runtime::Context;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Invocation;
use crate::error::Error;

/// Starts logging on standard output, at `AWS_LAMBDA_LOG_LEVEL` or `RUST_LOG`.
pub(super) fn init() {
    let level = ["AWS_LAMBDA_LOG_LEVEL", "RUST_LOG"]
        .iter()
        .find_map(|name| level(&std::env::var(name).ok()?))
        .unwrap_or(LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_current_span(false)
        .with_span_list(false)
        .with_filter(filter(level));
    // Only fails when a subscriber is set already, which then takes the lines.
    let _ = tracing_subscriber::registry().with(lines).try_init();
    std::panic::set_hook(Box::new(|panic| {
        // The place and not the message: that may quote a value.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
}

/// This crate and the functions log at the level asked for. Dependencies stop at INFO, because
/// their DEBUG and TRACE hold events, headers and parameter values; and the runtime's own report of
/// a handler's error would repeat the summary line.
fn filter(level: LevelFilter) -> Targets {
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("rds_iam", level)
        .with_target("lambda_runtime::layers", LevelFilter::OFF)
}

/// Lambda writes `FATAL`, which tracing does not know.
fn level(text: &str) -> Option<LevelFilter> {
    if text.eq_ignore_ascii_case("fatal") {
        return Some(LevelFilter::ERROR);
    }
    text.parse().ok()
}

/// The one line that tells what an invocation did and how long each step took, in milliseconds.
pub(super) fn summary(
    context: &Context,
    cold_start: bool,
    invocation: &Invocation,
    took: Duration,
    error: Option<&Error>,
) {
    let report = &invocation.report;
    let login = report.login;
    macro_rules! line {
        ($level:ident, $message:literal $(, $extra:ident = $value:expr)*) => {
            tracing::$level!(
                requestId = context.request_id,
                xrayTraceId = context.xray_trace_id,
                function = context.env_config.function_name,
                cold_start,
                query = invocation.query,
                row_count = invocation.row_count,
                connection = if report.reused { "reused" } else if login.is_some() { "new" } else { "none" },
                login_attempts = report.login_attempts,
                resolve_ms = ms(report.resolve),
                sign_ms = ms(report.sign),
                dial_ms = ms(login.map(|steps| steps.dial)),
                tls_ms = ms(login.map(|steps| steps.tls)),
                login_ms = ms(login.map(|steps| steps.login)),
                query_ms = ms(report.query),
                duration_ms = ms(Some(took)),
                $($extra = $value,)*
                $message
            )
        };
    }
    match error {
        None => line!(info, "invocation succeeded"),
        Some(error) => line!(
            error,
            "invocation failed",
            errorType = error.kind().error_type(),
            errorMessage = error.to_string()
        ),
    }
}

/// Milliseconds with three digits after the point: microseconds are enough.
fn ms(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| (duration.as_secs_f64() * 1e6).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn dependencies_stop_at_info() {
        let filter = filter(LevelFilter::TRACE);
        assert!(filter.would_enable("rds_iam::session", &Level::TRACE));
        for target in ["tokio_postgres::query", "lambda_runtime::requests", "aws_config"] {
            assert!(!filter.would_enable(target, &Level::DEBUG), "{target}");
            assert!(filter.would_enable(target, &Level::INFO), "{target}");
        }
        assert!(!filter.would_enable("lambda_runtime::layers::panic", &Level::ERROR));
    }

    #[test]
    fn lambdas_level_names_are_known() {
        assert_eq!(level("FATAL"), Some(LevelFilter::ERROR));
        assert_eq!(level("INFO"), Some(LevelFilter::INFO));
        assert_eq!(level("trace"), Some(LevelFilter::TRACE));
        assert_eq!(level("loud"), None);
    }
}
