//! What MySQL's refusals mean, without any value in them.
//!
//! The server's message is passed on only for what PREPARE refuses: that knows the query file's text and
//! names, and no value. Codes: <https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>.

use std::io;

use mysql_async::{DriverError, Error as MysqlError, IoError, ServerError};

use super::connect::Target;
use crate::error::{Error, ErrorKind};
use crate::query::{Mode, Query, Stage, outcome_unknown, too_large};

fn at(target: &Target) -> String {
    let endpoint = format!("{}:{}", target.endpoint.host, target.endpoint.port);
    match &target.dial {
        None => endpoint,
        Some((host, port)) => format!("{endpoint} (through {host}:{port})"),
    }
}

pub(super) fn no_login_in_time(target: &Target) -> Error {
    Error::new(ErrorKind::NetworkTimeout, format!("no login at {}", at(target)))
        .because("nothing answered in time")
        .remedy("Check the security groups, subnets and routes between the function and the database: silence is the network; see docs/errors.md#networktimeout")
}

pub(super) fn unreachable(target: &Target, error: &io::Error) -> Error {
    Error::new(ErrorKind::NetworkUnreachable, format!("{} cannot be reached", at(target)))
        .because(error.to_string())
        .remedy("Check the endpoint's name and port, and that the database is running")
}

/// From a login that failed.
pub(super) fn login_error(target: &Target, error: &MysqlError) -> Error {
    match error {
        MysqlError::Server(refusal) => refused(target, refusal),
        MysqlError::Io(IoError::Io(error)) => unreachable(target, error),
        MysqlError::Io(IoError::Tls(error)) => untrusted(target, error.to_string()),
        MysqlError::Driver(DriverError::NoClientSslFlagFromServer) => {
            untrusted(target, "the server offers no TLS, so the token was not sent".into())
        }
        _ => Error::new(ErrorKind::NetworkUnreachable, format!("no login at {}", at(target)))
            .because("the server did not speak MySQL's protocol, or hung up")
            .remedy("Check that the endpoint is a MySQL server"),
    }
}

fn untrusted(target: &Target, why: String) -> Error {
    Error::new(ErrorKind::TlsUntrusted, format!("no verified TLS connection to {}", at(target)))
        .because(why)
        .remedy("Use the RDS endpoint's own name, not an alias or address, and its region's roots; see docs/errors.md#tlsuntrusted")
}

fn refused(target: &Target, refusal: &ServerError) -> Error {
    let Target { user, database, .. } = target;
    let rejected = |why: &str| {
        Error::new(ErrorKind::AuthRejected, format!("{user} was refused at {}", at(target)))
            .because(why)
    };
    match refusal.code {
        1044 => rejected("the user may not use the database (1044)")
            .remedy(format!("GRANT a privilege on {database} to {user}")),
        1045 | 1698 => rejected("the database did not accept the token (1045)").remedy(format!(
            "Check that the role's policy allows rds-db:connect on dbuser:<resource id>/{user} (the db-… or cluster-… id, the user's exact case), and that the user is IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'; a throttled login gets the same answer; see docs/errors.md#authrejected"
        )),
        1049 => {
            let what = format!("there is no database {database} at {}", at(target));
            Error::new(ErrorKind::ConfigInvalid, what).remedy("Name one that exists")
        }
        code => {
            let what = format!("{} accepts no login now", at(target));
            Error::new(ErrorKind::DatabaseUnavailable, what)
                .because(format!("the server refused it ({code})"))
                .remedy("Look the code up in MySQL's manual; 1040 and 1203 are too many connections")
        }
    }
}

/// The error of a statement that the server refused. `parsing` tells that PREPARE did.
pub(super) fn statement_error(query: &Query, error: &MysqlError, parsing: bool) -> Error {
    let MysqlError::Server(refusal) = error else { return connection_broke(query) };
    let (code, state) = (refusal.code, refusal.state.as_str());
    let (kind, what, remedy) = match code {
        // max_statement_time, max_execution_time, KILL QUERY
        1317 | 1969 | 3024 => return timed_out(query, &ran_too_long(query)),
        1205 => (
            ErrorKind::QueryTimeout,
            "got no lock in time",
            "Look in information_schema.innodb_trx for the session that holds it",
        ),
        1290 | 1792 | 1836 => (
            ErrorKind::QueryDenied,
            "tried to write where nothing may be written",
            "A query that writes needs mode = \"write\"; a reader takes no writes",
        ),
        1044 | 1142 | 1143 | 1227 | 1370 => (
            ErrorKind::QueryDenied,
            "is not permitted",
            "GRANT the right to the database user, or use a user that has it",
        ),
        1210 => (
            ErrorKind::QueryInvalid,
            "has other parameters than its front matter declares",
            "Declare one entry in params for each ?, in that order",
        ),
        1213 => {
            (ErrorKind::QueryFailed, "failed", "Another transaction was in its way: run it again")
        }
        1053 | 1077 => (
            ErrorKind::DatabaseUnavailable,
            "could not run",
            "Try again when the database has recovered",
        ),
        _ if parsing => (
            ErrorKind::QueryInvalid,
            "is not valid",
            "A query file holds one statement that MySQL can prepare",
        ),
        _ => (
            ErrorKind::QueryFailed,
            "failed",
            "Look the code up in MySQL's manual, and the values in the server's own log",
        ),
    };
    let why = match parsing {
        true => format!("{} ({code}, SQLSTATE {state})", refusal.message),
        false => format!("error {code}, SQLSTATE {state}"),
    };
    let error =
        Error::new(kind, format!("query {} {what}", query.name)).because(why).remedy(remedy);
    if code == 1213 { error.transient() } else { error }
}

/// The error of a connection that broke while a statement ran.
pub(super) fn lost(query: &Query, error: &MysqlError, stage: Stage) -> Error {
    let too_long = matches!(error, MysqlError::Driver(DriverError::PacketTooLarge));
    match (query.mode, stage) {
        _ if too_long && stage != Stage::Committing => {
            too_large(&query.name, "Lambda's limit is 6 MB, and one row alone is longer")
        }
        (Mode::Write, stage) => outcome_unknown(query, stage),
        (Mode::Read, _) => connection_broke(query),
    }
}

pub(super) fn connection_broke(query: &Query) -> Error {
    let what = format!("the connection broke while query {} ran", query.name);
    Error::new(ErrorKind::NetworkUnreachable, what)
        .because("the database closed it, or the network did")
        .remedy(
            "Log in again; if it happens often, look for restarts and failovers of the database",
        )
}

pub(super) fn not_json(query: &Query) -> Error {
    Error::new(ErrorKind::QueryFailed, format!("query {} gave a row that is not JSON", query.name))
        .because("a value is not what its column's type says")
        .remedy("CAST the columns to types that docs/mysql.md lists")
}

pub(super) fn timed_out(query: &Query, why: &str) -> Error {
    Error::new(ErrorKind::QueryTimeout, format!("query {} timed out", query.name))
        .because(why)
        .remedy("Make it faster (look at EXPLAIN), or give the function a longer Timeout")
}

fn ran_too_long(query: &Query) -> String {
    let own = query.timeout.map(|own| format!("its timeout of {} s, or than ", own.as_secs_f64()));
    format!("it ran longer than {}the time left in this invocation", own.unwrap_or_default())
}
