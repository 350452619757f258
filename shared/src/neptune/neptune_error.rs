//! The errors of Neptune's answers, without any value in them.
//!
//! Codes: <https://docs.aws.amazon.com/neptune/latest/userguide/errors-engine-codes.html>. Neptune's own
//! message may quote the query, and with it values, so that only the code is passed on. A load balancer
//! or a proxy on the way answers without a code: then the HTTP status decides.

use hyper::StatusCode;
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

/// Why Neptune answers 403. It has one code for both reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// No policy of the signer allows this action, such as `neptune-db:ReadDataViaQuery`.
    Action(String),
    /// The signature, or the credentials behind it, were refused; or there is none.
    Signature,
}

/// An error, and whether other credentials may prevent it.
pub(crate) struct Refused {
    pub(crate) error: Error,
    /// Whether the signature, or the credentials behind it, were refused: fresh ones may do.
    pub(crate) credentials: bool,
}

/// The error of an answer that is not a success.
pub(crate) fn refused(statement: &Statement, target: &str, response: &Response) -> Refused {
    match denial(response) {
        Some(Denial::Action(action)) => {
            Refused { error: denied(statement, &action), credentials: false }
        }
        Some(Denial::Signature) => Refused { error: rejected(target), credentials: true },
        None => {
            let error = failed(statement, &code(response), response.status);
            Refused { error, credentials: false }
        }
    }
}

/// The reason of an answer of status 403.
pub(super) fn denial(response: &Response) -> Option<Denial> {
    if response.status != StatusCode::FORBIDDEN {
        return None;
    }
    Some(denied_action(&body(response).message).map_or(Denial::Signature, Denial::Action))
}

/// Neptune's code for an error. It is one of a list; anything else might quote a value, and is empty here.
pub(super) fn code(response: &Response) -> String {
    let code = body(response).code;
    let plain = code.len() < 60 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if plain { code } else { String::new() }
}

fn body(response: &Response) -> Body {
    let empty = Body { code: String::new(), message: String::new() };
    serde_json::from_slice(&response.body).unwrap_or(empty)
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

/// The error of a code, which may be empty, and of the HTTP status that came with it.
fn failed(statement: &Statement, code: &str, status: StatusCode) -> Error {
    let name = &statement.query.name;
    let writes = statement.query.mode == Mode::Write;
    let said = match code {
        "" => format!("the answer is HTTP status {} without a code", status.as_u16()),
        code => format!("Neptune says {code}"),
    };
    let error =
        |kind, what: &str| Error::new(kind, format!("query {name} {what}")).because(said.clone());
    let not_run = || {
        error(ErrorKind::DatabaseUnavailable, "was not run")
            .remedy("Try again when the cluster has recovered")
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
        | "ServiceUnavailableException" => not_run(),
        "ConcurrentModificationException" => error(ErrorKind::QueryFailed, "failed")
            .remedy("Another write touched the same data; try again")
            .transient(),
        // The next query may be smaller, so that this is not the cluster's state.
        "MemoryLimitExceededException" => error(ErrorKind::QueryFailed, "ran out of memory")
            .remedy("Try again when the cluster is less busy, or make the query smaller")
            .transient(),
        // Neptune does not document what became of the transaction.
        "InternalFailureException" | "ServerShutdownException" if writes => {
            outcome_unknown(statement).also(&said)
        }
        "ServerShutdownException" => not_run(),
        "InternalFailureException" => error(ErrorKind::QueryFailed, "failed")
            .remedy("Try again, and look at the cluster's state")
            .transient(),
        _ => match status {
            // Refused before anything ran.
            StatusCode::TOO_MANY_REQUESTS => not_run(),
            StatusCode::INTERNAL_SERVER_ERROR if !code.is_empty() => looked_up(error),
            // Whoever answered may have passed a write on before.
            status if may_have_run(status) && writes => outcome_unknown(statement).also(&said),
            status if may_have_run(status) => error(ErrorKind::DatabaseUnavailable, "has no answer")
                .remedy("Try again; look at the cluster's state, and at the proxies on the way to it"),
            _ => looked_up(error),
        },
    }
}

fn looked_up(error: impl Fn(ErrorKind, &str) -> Error) -> Error {
    error(ErrorKind::QueryFailed, "failed").remedy("Look the code up among Neptune's engine errors")
}

/// Whether a status says that the server, or a gateway to it, failed on the way.
fn may_have_run(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT
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

#[cfg(test)]
mod tests {
    use hyper::body::Bytes;

    use super::super::Language;
    use super::*;

    const READ: &str = "RETURN 1 AS one";
    const WRITE: &str = "/*+++\nmode = \"write\"\n+++*/\nCREATE (n)";

    fn error(text: &str, status: u16, body: &str) -> Error {
        let statement = Statement::parse("q", Language::Cypher, text).unwrap();
        let status = StatusCode::from_u16(status).unwrap();
        let response = Response { status, body: Bytes::from(body.to_owned()) };
        refused(&statement, "graph:8182", &response).error
    }

    #[test]
    fn an_answer_without_a_code_is_judged_by_its_status() {
        let page = "<html><body>s3cret</body></html>";
        use ErrorKind::{DatabaseUnavailable, QueryFailed, QueryOutcomeUnknown};
        for body in ["", page, "{}", "[]", r#"{"message":"s3cret"}"#, r#"{"code":"s3cret value"}"#]
        {
            for (status, read, write) in [
                (429, DatabaseUnavailable, DatabaseUnavailable),
                (408, DatabaseUnavailable, QueryOutcomeUnknown),
                (500, DatabaseUnavailable, QueryOutcomeUnknown),
                (502, DatabaseUnavailable, QueryOutcomeUnknown),
                (503, DatabaseUnavailable, QueryOutcomeUnknown),
                (504, DatabaseUnavailable, QueryOutcomeUnknown),
                (520, DatabaseUnavailable, QueryOutcomeUnknown),
                (400, QueryFailed, QueryFailed),
                (302, QueryFailed, QueryFailed),
            ] {
                for (text, kind) in [(READ, read), (WRITE, write)] {
                    let error = error(text, status, body);
                    assert_eq!(error.kind(), kind, "{status} {body} {text}");
                    assert_eq!(error.is_transient(), kind != QueryFailed, "{status}");
                    let told = error.to_string();
                    assert!(told.contains(&status.to_string()), "{told}");
                    assert!(!told.contains("s3cret"), "{told}");
                }
            }
        }
    }

    #[test]
    fn a_code_says_more_than_its_status() {
        use ErrorKind::*;
        for (code, status, read, write) in [
            ("ThrottlingException", 500, DatabaseUnavailable, DatabaseUnavailable),
            ("TooManyRequestsException", 429, DatabaseUnavailable, DatabaseUnavailable),
            ("ServerShutdownException", 500, DatabaseUnavailable, QueryOutcomeUnknown),
            ("InternalFailureException", 500, QueryFailed, QueryOutcomeUnknown),
            ("MemoryLimitExceededException", 500, QueryFailed, QueryFailed),
            ("ConcurrentModificationException", 500, QueryFailed, QueryFailed),
            ("TimeLimitExceededException", 500, QueryTimeout, QueryTimeout),
            ("ReadOnlyViolationException", 400, QueryDenied, QueryDenied),
            ("MalformedQueryException", 400, QueryInvalid, QueryInvalid),
            ("AnotherException", 503, DatabaseUnavailable, QueryOutcomeUnknown),
        ] {
            let body = format!(r#"{{"requestId":"r","code":"{code}","detailedMessage":"s3cret"}}"#);
            for (text, kind) in [(READ, read), (WRITE, write)] {
                let error = error(text, status, &body);
                assert_eq!(error.kind(), kind, "{code} {text}");
                let permanent = matches!(kind, QueryDenied | QueryInvalid);
                assert_eq!(error.is_transient(), !permanent, "{code} {text}");
                let told = error.to_string();
                assert!(told.contains(code) && !told.contains("s3cret"), "{told}");
            }
        }
        let failed = error(READ, 500, r#"{"code":"FailureByQueryException"}"#);
        assert!(failed.kind() == QueryFailed && !failed.is_transient());
    }
}
