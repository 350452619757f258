//! RDS's own reason for a refused token: its log `iam-db-auth-error`, where RDS exports it to CloudWatch.
//! A line can take a minute to arrive there, so an earlier one may be all there is.
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.Troubleshooting.html>

use std::time::{Duration, SystemTime};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::error::SdkError;
use aws_sdk_cloudwatchlogs::types::FilteredLogEvent;

use super::refused::{RECENT, Refused, When, millis};
use crate::aws::evidence::{Caller, RdsLog, principal_of};
use crate::report::{Status, Step};

/// Codes that AWS documents; others are not repeated.
const CODES: [&str; 5] =
    ["NotAuthorized", "InvalidToken", "ExpiredToken", "ThrottlingException", "InternalError"];

pub(crate) async fn read(refused: &Refused<'_>, when: When) -> RdsLog {
    let Some(group) = &refused.database.auth_log else { return RdsLog::NotExported };
    let Some(logs) = refused.service("CLOUDWATCH_LOGS") else { return RdsLog::Unreachable };
    let client = Client::new(&logs);
    when.within(last_line(&client, group, refused, when.now), RdsLog::Unreachable).await
}

async fn last_line(client: &Client, group: &str, refused: &Refused<'_>, now: SystemTime) -> RdsLog {
    let now = millis(now);
    let user = &refused.config.user;
    // Quotes make it one term; the user's name has none that matter to the search.
    let about = format!("\"{}\"", user.replace(['"', '\\'], "?"));
    let call = client.filter_log_events().log_group_name(group).filter_pattern(about);
    let since = now - i64::try_from(RECENT.as_millis()).unwrap_or(i64::MAX);
    // A page may be empty, and another follow.
    let mut pages = call.start_time(since).into_paginator().send();
    let mut last = RdsLog::Silent;
    let mut last_at = i64::MIN;
    while let Some(page) = pages.next().await {
        let page = match page {
            Ok(page) => page,
            Err(SdkError::ServiceError(error)) if error.err().is_resource_not_found_exception() => {
                return RdsLog::Silent;
            }
            Err(SdkError::ServiceError(_)) => return RdsLog::Denied,
            Err(_) => return RdsLog::Unreachable,
        };
        for (at, code, caller) in page.events().iter().filter_map(|event| reason(event, user)) {
            if at >= last_at && caller.as_ref().is_none_or(|named| is_own(named, refused.caller)) {
                last_at = at;
                last = RdsLog::Says { code, caller, seconds_ago: ((now - at) / 1000).max(0) };
            }
        }
    }
    last
}

/// The time, the code and the principal of a line about this user.
fn reason(event: &FilteredLogEvent, user: &str) -> Option<(i64, &'static str, Option<String>)> {
    let text = event.message()?;
    // The search finds longer names too; RDS writes the name with quotes, its documents without.
    let (_, name) = text.split_once("request for user ")?;
    let (name, end) = name.strip_prefix('\'').map_or((name, ' '), |name| (name, '\''));
    let rest = name.strip_prefix(user)?.strip_prefix(end)?;
    let code = CODES.into_iter().find(|code| rest.contains(code))?;
    Some((event.timestamp()?, code, arn(rest)))
}

/// Whether a line is about the caller's own principal, as far as that is known.
fn is_own(named: &str, caller: &Caller) -> bool {
    match caller {
        Caller::Is { arn, .. } => principal_of(named) == principal_of(arn),
        _ => true,
    }
}

/// The first ARN in a line.
fn arn(text: &str) -> Option<String> {
    let rest = &text[text.find("arn:")?..];
    let legal = |c: char| c.is_ascii_alphanumeric() || ":/_+=,.@-".contains(c);
    let arn = &rest[..rest.find(|c| !legal(c)).unwrap_or(rest.len())];
    Some(arn.trim_end_matches([',', '.']).to_owned())
}

pub(crate) fn step(log: &RdsLog, took: Duration) -> Step {
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

    #[test]
    fn a_line_about_a_longer_name_is_about_somebody_else() {
        let of = |name: &str| {
            let text = format!(
                "[ERROR] Failed to authorize the connection request for user {name} due to IAM DB authentication throttling. (Status Code: 429, Error Code: ThrottlingException)"
            );
            let event = FilteredLogEvent::builder().timestamp(7).message(text).build();
            reason(&event, "app").map(|(at, code, _)| (at, code))
        };
        assert_eq!(of("app"), Some((7, "ThrottlingException")));
        assert_eq!(of("'app'"), Some((7, "ThrottlingException")));
        assert_eq!(of("app_rw"), None);
        assert_eq!(of("'app rw'"), None);
    }
}
