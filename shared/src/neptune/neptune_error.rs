//! What Neptune's errors mean, without any value in them.
//!
//! Codes: <https://docs.aws.amazon.com/neptune/latest/userguide/errors-engine-codes.html>. Neptune's own
//! message may quote the query, and with it values, so that only the code is passed on.

use serde::Deserialize;

use super::http::Response;
use super::statement::Statement;
use crate::error::{Error, ErrorKind};
use crate::query::Mode;

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    code: String,
    #[serde(default, rename = "detailedMessage")]
    message: String,
}

/// What an error means for what comes next.
pub(super) struct Refused {
    pub(super) error: Error,
    /// Whether the signature, or the credentials behind it, were refused: fresh ones may do.
    pub(super) credentials: bool,
}

/// The error of an answer that is not a success.
pub(super) fn refused(statement: &Statement, target: &str, response: &Response) -> Refused {
    let empty = Body { code: String::new(), message: String::new() };
    let body: Body = serde_json::from_slice(&response.body).unwrap_or(empty);
    if response.status.as_u16() == 403 {
        return match denied_action(&body.message) {
            Some(action) => Refused { error: denied(statement, &action), credentials: false },
            None => Refused { error: rejected(target), credentials: true },
        };
    }
    // The code is one of a list; anything else might quote a value.
    let plain = body.code.len() < 60 && body.code.bytes().all(|b| b.is_ascii_alphanumeric());
    let code = if plain && !body.code.is_empty() {
        body.code.clone()
    } else {
        format!("HTTP status {}", response.status.as_u16())
    };
    Refused { error: failed(statement, &code), credentials: false }
}

/// `User: ARN is not authorized to perform: neptune-db:ReadDataViaQuery on resource: …`
fn denied_action(message: &str) -> Option<String> {
    let rest = message.split_once("is not authorized to perform: ")?.1;
    let action = rest.split_whitespace().next()?;
    let name = action.strip_prefix("neptune-db:")?;
    name.bytes().all(|b| b.is_ascii_alphabetic()).then(|| action.to_owned())
}

fn denied(statement: &Statement, action: &str) -> Error {
    let what = format!("query {} may not run", statement.query.name);
    Error::new(ErrorKind::QueryDenied, what)
        .because(format!("no policy of the function's role allows {action} for its query language"))
        .remedy("Allow it on arn:aws:neptune-db:REGION:ACCOUNT:CLUSTER-RESOURCE-ID/*")
}

fn rejected(target: &str) -> Error {
    Error::new(ErrorKind::AuthRejected, format!("the request was refused at {target}"))
        .because("Neptune did not accept the signature")
        .remedy("Check that the cluster has IAM authentication, that NEPTUNE_HOST and the region are its own, and the role's policy: neptune-db:connect alone allows nothing since engine 1.2")
}

fn failed(statement: &Statement, code: &str) -> Error {
    let name = &statement.query.name;
    let writes = statement.query.mode == Mode::Write;
    let error = |kind, what: &str| {
        Error::new(kind, format!("query {name} {what}")).because(format!("Neptune says {code}"))
    };
    match code {
        "MalformedQueryException" | "ParsingException" | "BadRequestException"
        | "InvalidParameterException" | "InvalidArgumentException" | "IllegalArgumentException"
        | "MissingParameterException" | "UnsupportedOperationException" | "QueryTooLargeException"
        | "MethodNotAllowedException" => error(ErrorKind::QueryInvalid, "is not accepted")
            .remedy("Run the statement with awscurl to see Neptune's message; it may quote values, so that it is not shown here"),
        "TimeLimitExceededException" | "QueryTimeoutException" => {
            error(ErrorKind::QueryTimeout, "timed out")
                .remedy("Make it faster, or raise neptune_query_timeout in the cluster's parameters")
        }
        "CancelledByUserException" => error(ErrorKind::QueryTimeout, "was cancelled")
            .remedy("Make it faster, or give the function a longer Timeout"),
        "ReadOnlyViolationException" => error(ErrorKind::QueryDenied, "cannot write here")
            .remedy("Set NEPTUNE_HOST to the cluster endpoint, not the reader endpoint"),
        "ThrottlingException" | "TooManyRequestsException" | "QueryLimitExceededException"
        | "ServerShutdownException" | "ServiceUnavailableException" => {
            error(ErrorKind::DatabaseUnavailable, "was not run")
                .remedy("Try again when the cluster has recovered")
        }
        "ConcurrentModificationException" => error(ErrorKind::QueryFailed, "failed")
            .remedy("Another write touched the same data; try again")
            .transient(),
        // What became of the transaction is not documented.
        "InternalFailureException" | "HTTP status 500" | "HTTP status 502" | "HTTP status 503"
        | "HTTP status 504"
            if writes =>
        {
            outcome_unknown(statement).also(&format!("Neptune says {code}"))
        }
        "InternalFailureException" => error(ErrorKind::QueryFailed, "failed")
            .remedy("Try again, and look at the cluster's state")
            .transient(),
        _ => error(ErrorKind::QueryFailed, "failed")
            .remedy("Look the code up among Neptune's engine errors"),
    }
}

/// A write whose answer was lost.
pub(super) fn outcome_unknown(statement: &Statement) -> Error {
    let what = format!("query {} was sent and its answer was lost", statement.query.name);
    Error::new(ErrorKind::QueryOutcomeUnknown, what)
        .because("the write may or may not have happened")
        .remedy("Look in the graph before you repeat it, unless it is idempotent (MERGE)")
}

pub(super) fn timed_out(statement: &Statement, why: &str) -> Error {
    Error::new(ErrorKind::QueryTimeout, format!("query {} timed out", statement.query.name))
        .because(why.to_owned())
        .remedy("Make it faster, or give the function a longer Timeout")
}
