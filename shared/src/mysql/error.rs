//! Explains MySQL's refusals of a statement, without any value in them, and says whether it may run again.
//!
//! The server's message is passed on only for what PREPARE refuses: that knows the query file's text and
//! names, and no value. Codes: <https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>.

use mysql_async::{DriverError, Error as MysqlError};

use super::statement::{DECLARE_THEM, OTHER_PARAMETERS, placeholders};
use super::warning::is_of_a_value;
use crate::error::{Error, ErrorKind};
use crate::query::{Failure, Mode, Query, Stage, cancelled, outcome_unknown, timed_out};

/// The codes with which the server ends the session: shutdown, KILL (MariaDB's, MySQL's), or idleness.
const ENDS_SESSION: [u16; 5] = [1053, 1077, 1927, 3169, IDLE];
/// The server closed an idle connection, before it read anything more (MySQL 8.0.24 and later).
const IDLE: u16 = 4031;
/// The server takes no writes: `read_only`, or `innodb_read_only` of a reader.
const TAKES_NO_WRITES: [u16; 2] = [1290, 1836];
/// Another transaction was in the way: a changed row (MariaDB's snapshot isolation), a deadlock, a changed
/// table, twice, and a deadlock of GET_LOCK. After some of them the transaction is gone, and a next statement
/// would commit: so the packet ends there, and ROLLBACK follows.
const IN_ANOTHERS_WAY: [u16; 5] = [1020, 1213, 1412, 1615, 3058];
/// The packet is longer than `max_allowed_packet`. The server closes the connection.
const TOO_LONG: u16 = 1153;

/// From a statement that the server refused, so that it changed nothing. `parsing` tells that PREPARE did,
/// and `entered` that a ledger keeps the statement from happening twice.
pub(super) fn refused(query: &Query, error: &MysqlError, parsing: bool, entered: bool) -> Failure {
    let explained = statement_error(query, error, parsing);
    let MysqlError::Server(refusal) = error else { return Failure::lost(explained) };
    let writes = query.mode == Mode::Write;
    match refusal.code {
        // The old writer, after a failover: the name leads to another by now.
        code if writes && TAKES_NO_WRITES.contains(&code) => {
            Failure { error: takes_no_writes(query, code), usable: false, repeat: true }
        }
        code if ENDS_SESSION.contains(&code) => {
            let repeat = !writes || entered || code == IDLE;
            Failure { error: explained, usable: false, repeat }
        }
        _ => Failure::refused(explained),
    }
}

/// From a COMMIT that failed.
pub(super) fn not_committed(query: &Query, error: &MysqlError, entered: bool) -> Failure {
    match error {
        // What is refused has written nothing. The connection's state is not worth a thought.
        MysqlError::Server(refusal) if !ENDS_SESSION.contains(&refusal.code) => {
            Failure { usable: false, ..refused(query, error, false, entered) }
        }
        _ => lost(query, error, Stage::Committing, entered),
    }
}

/// From a connection that broke at this stage.
pub(super) fn lost(query: &Query, error: &MysqlError, stage: Stage, entered: bool) -> Failure {
    if matches!(error, MysqlError::Driver(DriverError::PacketTooLarge))
        && let Some(too_long) = Failure::too_long(query, stage)
    {
        return too_long;
    }
    match query.mode {
        Mode::Write => {
            Failure { error: outcome_unknown(query, stage), usable: false, repeat: entered }
        }
        Mode::Read => Failure { error: connection_broke(query), usable: false, repeat: true },
    }
}

fn takes_no_writes(query: &Query, code: u16) -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, format!("query {} could not write", query.name))
        .because(format!("the server takes no writes ({code}): it is a reader, or the old writer after a failover; nothing was changed"))
        .remedy("Use the cluster (writer) endpoint; after a failover its name follows within a minute")
}

/// The setting that has ended a statement.
pub(super) fn time_limit(error: &MysqlError) -> Option<&'static str> {
    let MysqlError::Server(refusal) = error else { return None };
    match refusal.code {
        1969 => Some("max_statement_time"),
        3024 => Some("max_execution_time"),
        _ => None,
    }
}

fn statement_error(query: &Query, error: &MysqlError, parsing: bool) -> Error {
    let MysqlError::Server(refusal) = error else { return connection_broke(query) };
    let (code, state) = (refusal.code, refusal.state.as_str());
    match code {
        // KILL QUERY, of another session: the time-outs of the servers have codes of their own.
        1317 => return cancelled(query, &format!("error {code}, SQLSTATE {state}")),
        _ if time_limit(error).is_some() => return timed_out(query, &ran_too_long(query)),
        TOO_LONG => return too_long(query),
        _ => {}
    }
    let (kind, what, remedy) = meaning(query, code, parsing);
    let why = match parsing {
        true => format!("{} ({code}, SQLSTATE {state})", refusal.message),
        false => format!("error {code}, SQLSTATE {state}"),
    };
    let error =
        Error::new(kind, format!("query {} {what}", query.name)).because(why).remedy(remedy);
    if IN_ANOTHERS_WAY.contains(&code) { error.transient() } else { error }
}

/// The kind of an error, what goes after "query NAME", and what to do.
fn meaning(query: &Query, code: u16, parsing: bool) -> (ErrorKind, &'static str, &'static str) {
    use ErrorKind::*;
    let has_parameters = !query.params.is_empty();
    match code {
        1205 => (
            QueryTimeout,
            "got no lock in time",
            "Look in information_schema.innodb_trx for the session that holds it",
        ),
        1290 | 1792 | 1836 => (
            QueryDenied,
            "tried to write where nothing may be written",
            "A query that writes needs mode = \"write\"; a reader takes no writes",
        ),
        1044 | 1142 | 1143 | 1227 | 1370 => (
            QueryDenied,
            "is not permitted",
            "GRANT the right that the message names to the database user, on the database or table, or use a user that has it; MySQL says the same of a table or function that does not exist",
        ),
        // EXECUTE has one code for too few variables, and for a value that LIMIT does not take.
        1210 if has_parameters && placeholders(query) == Some(query.params.len()) => (
            QueryBadParameter,
            "has a parameter that does not fit",
            "LIMIT and OFFSET take whole numbers from 0",
        ),
        1210 => (QueryInvalid, OTHER_PARAMETERS, DECLARE_THEM),
        code if IN_ANOTHERS_WAY.contains(&code) => {
            (QueryFailed, "failed", "Another transaction was in its way: run it again")
        }
        code if ENDS_SESSION.contains(&code) => {
            (DatabaseUnavailable, "could not run", "Try again when the database has recovered")
        }
        _ if parsing => {
            let one = "A query file holds one statement that MySQL can prepare";
            (QueryInvalid, "is not valid", name_remedy(code).unwrap_or(one))
        }
        code if has_parameters && is_of_a_value(code) => (
            QueryBadParameter,
            "has a parameter that does not fit",
            "Send a value of the type and length that the column takes; docs/mysql.md has times",
        ),
        _ => (
            QueryFailed,
            "failed",
            "Look the code up in MySQL's manual, and the values in the server's own log",
        ),
    }
}

/// The remedy for a name that the server does not know. Its message says which, and only PREPARE's is
/// passed on.
fn name_remedy(code: u16) -> Option<&'static str> {
    match code {
        1049 => Some("Check the database's name, or create the database"),
        1054 => Some(
            "Check the column's spelling and its table; a string needs quotes, and a parameter is ?",
        ),
        1146 => Some(
            "Check the table's spelling, its letters' case too, and the database in MYSQL_DATABASE, or put the database in front",
        ),
        1305 => Some(
            "Check the spelling of the function or procedure and the database in MYSQL_DATABASE, or put the database in front",
        ),
        _ => None,
    }
}

/// The error of parameters that are longer than a packet of the server.
pub(super) fn too_long(query: &Query) -> Error {
    let what = format!("query {} has parameters that are too long", query.name);
    Error::new(ErrorKind::QueryBadParameter, what)
        .because("the server takes no packet of that length")
        .remedy("Send less, or raise the server's max_allowed_packet")
}

pub(super) fn connection_broke(query: &Query) -> Error {
    let what = format!("the connection broke while query {} ran", query.name);
    Error::new(ErrorKind::NetworkUnreachable, what)
        .because("the database closed it, or the network did")
        .remedy(
            "Run it again; if it happens often, look for restarts and failovers of the database",
        )
}

pub(super) fn not_json(query: &Query) -> Error {
    Error::new(ErrorKind::QueryFailed, format!("query {} gave a row that is not JSON", query.name))
        .because("a value is not what its column's type says")
        .remedy("CAST the columns to types that docs/mysql.md lists")
}

fn ran_too_long(query: &Query) -> String {
    let own = query.timeout.map(|own| format!("its timeout of {} s, or than ", own.as_secs_f64()));
    format!("it ran longer than {}the time left in this invocation", own.unwrap_or_default())
}
