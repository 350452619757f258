//! RDS's own reason for a refused token: its log `iam-db-auth-error`, where RDS exports it to CloudWatch.
//! A line can take a minute to arrive there, so an earlier one may be all there is.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Troubleshooting.html>

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::error::SdkError;
use aws_types::SdkConfig;
use rds_iam::Config;
use tokio::time::{Instant, timeout_at};

use super::aws::for_service;
use super::bound;
use crate::environment::Environment;
use crate::evidence::{Login, Rds, RdsLog, Refusal};
use crate::report::{Status, Step};

const LONGEST: Duration = Duration::from_millis(1000);
/// A token is no older either.
const RECENT: Duration = Duration::from_secs(15 * 60);
/// Codes that AWS documents; others are not repeated.
const CODES: [&str; 5] =
    ["NotAuthorized", "InvalidToken", "ExpiredToken", "ThrottlingException", "InternalError"];

/// Reads the log, if the login shows that a token was refused.
pub(super) async fn read(
    environment: &Environment,
    (config, sdk): (Option<&Config>, Option<&SdkConfig>),
    (login, rds): (&Login, &Rds),
    now: SystemTime,
    deadline: Instant,
) -> (RdsLog, Option<Step>) {
    let refused = matches!(login, Login::Refused { refusal: Refusal::Token, .. });
    let (true, Some(config), Some(sdk), Rds::Is(database)) = (refused, config, sdk, rds) else {
        return (RdsLog::Unknown, None);
    };
    let start = Instant::now();
    let logs = for_service(environment, sdk, config, "CLOUDWATCH_LOGS");
    let log = match (&database.auth_log, logs) {
        (None, _) => RdsLog::NotExported,
        (Some(_), None) => RdsLog::Unreachable,
        (Some(group), Some(logs)) => {
            let client = Client::new(&logs);
            let last = last_line(&client, group, &config.user, now);
            timeout_at(bound(deadline, LONGEST), last).await.unwrap_or(RdsLog::Unreachable)
        }
    };
    let step = step(&log, start.elapsed());
    (log, Some(step))
}

async fn last_line(client: &Client, group: &str, user: &str, now: SystemTime) -> RdsLog {
    let now = millis(now);
    let since = now - i64::try_from(RECENT.as_millis()).unwrap_or(i64::MAX);
    // Quotes make it one term; the user's name has none that matter to the search.
    let about = format!("\"{}\"", user.replace(['"', '\\'], "?"));
    let call = client.filter_log_events().log_group_name(group).start_time(since);
    let found = match call.filter_pattern(about).send().await {
        Ok(found) => found,
        Err(SdkError::ServiceError(error)) if error.err().is_resource_not_found_exception() => {
            return RdsLog::Silent;
        }
        Err(SdkError::ServiceError(_)) => return RdsLog::Denied,
        Err(_) => return RdsLog::Unreachable,
    };
    let lines = found.events().iter().filter_map(|event| {
        let text = event.message()?;
        let code = CODES.into_iter().find(|code| text.contains(code))?;
        Some((event.timestamp().unwrap_or(now), code, arn(text)))
    });
    match lines.max_by_key(|(at, ..)| *at) {
        None => RdsLog::Silent,
        Some((at, code, caller)) => {
            RdsLog::Says { code, caller, seconds_ago: ((now - at) / 1000).max(0) }
        }
    }
}

/// The first ARN in a line.
fn arn(text: &str) -> Option<String> {
    let rest = &text[text.find("arn:")?..];
    let legal = |c: char| c.is_ascii_alphanumeric() || ":/_+=,.@-".contains(c);
    let arn = &rest[..rest.find(|c| !legal(c)).unwrap_or(rest.len())];
    Some(arn.trim_end_matches([',', '.']).to_owned())
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn step(log: &RdsLog, took: Duration) -> Step {
    let unknown = "RDS's reason for the refusal is unknown";
    let (status, found) = match log {
        RdsLog::Says { .. } => (Status::Failed, log.to_string()),
        RdsLog::Silent => (Status::Unknown, "no line about this user in 15 minutes".to_owned()),
        RdsLog::NotExported => (Status::Unknown, format!("RDS does not export it: {unknown}")),
        RdsLog::Denied => {
            (Status::Unknown, format!("the caller may not call logs:FilterLogEvents: {unknown}"))
        }
        _ => (Status::Unknown, format!("CloudWatch Logs cannot be reached: {unknown}")),
    };
    Step::new("rds-log", status, took, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_ends_where_its_letters_do() {
        let line =
            "the caller 'arn:aws:sts::123456789012:assumed-role/app/i-0+x' is not authorized";
        assert_eq!(arn(line).unwrap(), "arn:aws:sts::123456789012:assumed-role/app/i-0+x");
        assert_eq!(arn("of arn:aws:iam::1:user/a, and").unwrap(), "arn:aws:iam::1:user/a");
        assert_eq!(arn("no name"), None);
    }
}
