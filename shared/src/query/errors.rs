//! What PostgreSQL's refusal of a statement means, told without repeating any value.
//!
//! The server's message is passed on only where it can hold nothing but names and SQL text of the
//! query file: parse-time errors of class 42, and a few operational classes. Its DETAIL, and
//! messages such as `invalid input syntax for type integer: "…"`, never are.
//! Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use tokio_postgres::error::{DbError, ErrorPosition};

use super::Query;
use super::execute::Stage;
use crate::error::{Error, ErrorKind};

/// The error of a statement. `wrapped_after` is the length, in characters, of what was put in
/// front of the file's text.
pub(crate) fn statement_error(
    query: &Query,
    error: &tokio_postgres::Error,
    wrapped_after: usize,
) -> Error {
    let name = &query.name;
    let Some(db) = error.as_db_error() else {
        return Error::new(
            ErrorKind::NetworkUnreachable,
            format!("the connection broke while query {name} ran"),
        )
        .because("the database closed it, or the network did")
        .remedy(
            "Run it again; if it happens often, look for restarts and failovers of the database",
        );
    };
    let code = db.code().code();
    if let Some(parameter) = parameter_of(query, db) {
        return Error::new(
            ErrorKind::QueryBadParameter,
            format!("query {name} refuses parameter {parameter}"),
        )
        .because(format!(
            "its value is not valid for the type that the statement gives it ({})",
            describe(code)
        ))
        .remedy("Send a value of that type, or cast the parameter in the SQL");
    }
    let failed = |kind, what: &str| Error::new(kind, format!("query {name} {what}"));
    if code.starts_with("42") && db.message().contains(" message_ledger")
        || db.message().contains("\"message_ledger\"")
    {
        return failed(ErrorKind::QueryDenied, "could not be entered into the ledger")
            .because(format!("{} ({code})", db.message()))
            .remedy("Run sql/ledger.sql in this database as an administrator, and grant INSERT on the table to the function's user");
    }
    match code {
        "57014" => failed(ErrorKind::QueryTimeout, "was stopped")
            .because(match query.timeout {
                Some(timeout) => format!(
                    "it ran longer than its timeout of {} s, or than this invocation had left",
                    timeout.as_secs_f64()
                ),
                None => "it ran longer than the time that this invocation had left for it".into(),
            })
            .remedy("Make it faster (look at EXPLAIN), or give the function a longer Timeout"),
        "55P03" => failed(ErrorKind::QueryTimeout, "got no lock in time")
            .because(describe(code))
            .remedy("Look in pg_locks for who holds it"),
        "25006" => failed(ErrorKind::QueryDenied, "tried to write in a read-only transaction")
            .because(describe(code))
            .remedy("A query that writes has mode = \"write\" and runs in a function that allows writes; on a standby nothing can be written"),
        "42501" => failed(ErrorKind::QueryDenied, "is not permitted")
            .because(db.message())
            .remedy("GRANT the right to the database user, or use a user that has it"),
        "08P01" => failed(ErrorKind::QueryInvalid, "has other parameters than its front matter says")
            .because(describe(code))
            .remedy("Declare one entry in params for each of $1…$n, in that order"),
        _ if code.starts_with("53") || matches!(code, "57P01" | "57P02" | "57P03") => {
            failed(ErrorKind::DatabaseUnavailable, "could not run")
                .because(db.message())
                .remedy("Try again when the database has recovered")
        }
        _ if code.starts_with("42") || code == "0A000" => {
            let why = match db.position() {
                Some(ErrorPosition::Original(position)) => {
                    let at = location(&query.sql, *position as usize, wrapped_after);
                    format!("{} ({code}){at}", db.message())
                }
                _ => describe(code),
            };
            failed(ErrorKind::QueryInvalid, "is not valid").because(why).remedy(
                "A query file holds one statement without a trailing semicolon: a SELECT, VALUES, TABLE or WITH, or with mode = \"write\" an INSERT, UPDATE or DELETE … RETURNING; anything else needs result = \"affected\"",
            )
        }
        _ => {
            let mut names: Vec<String> = vec![describe(code)];
            for (what, given) in
                [("constraint", db.constraint()), ("table", db.table()), ("column", db.column())]
            {
                names.extend(given.map(|value| format!("{what} {value}")));
            }
            failed(ErrorKind::QueryFailed, "failed")
                .because(names.join(", "))
                .remedy("Look the SQLSTATE up in PostgreSQL's manual, and the values in the server's own log")
        }
    }
}

/// The error of a write whose answer was lost, or did not come in time, at this stage.
pub(crate) fn outcome_unknown(query: &Query, stage: Stage) -> Error {
    let name = &query.name;
    Error::new(
        ErrorKind::QueryOutcomeUnknown,
        format!("it is not known whether query {name} has written"),
    )
    .because(match stage {
        Stage::Sent => "it was sent, and no answer came back",
        Stage::Begun => "the connection broke while it ran: COMMIT was not sent, so PostgreSQL should have rolled it back",
        Stage::Committing => "COMMIT was sent, and its answer did not come back",
    })
    .remedy("Look in the database before it runs again, or write it so that a repetition changes nothing (INSERT … ON CONFLICT DO NOTHING, UPDATE to a fixed value)")
}

/// The error of `result = "one"` with another number of rows.
pub(crate) fn not_one(query: &Query, none: bool) -> Error {
    Error::new(
        ErrorKind::ResultNotOne,
        format!("query {} did not give exactly one row", query.name),
    )
    .because(if none { "it gave none" } else { "it gave more" })
    .remedy("Correct its condition, aggregate, or use result = \"rows\"")
}

/// The error of `result = "check"` with `fail = true`.
pub(crate) fn has_violations(query: &Query, count: u64) -> Error {
    let what = query.description.as_deref().unwrap_or("its query selects what should not be there");
    Error::new(ErrorKind::CheckViolations, format!("check {} found {count} violations", query.name))
        .because(what)
        .remedy(
            "Run its query by hand to see them (without fail = true, the response shows the first)",
        )
}

/// The error of a write that a read-only server refused.
pub(crate) fn takes_no_writes(query: &Query) -> Error {
    Error::new(ErrorKind::DatabaseUnavailable, format!("query {} could not write", query.name))
        .because("the server takes no writes (25006): it is a reader or standby, or the old writer after a failover; nothing was changed")
        .remedy("Use the cluster (writer) endpoint, with PGTARGETSESSIONATTRS=read-write; after a failover its name follows within a minute")
}

/// The parameter that the server's context names, as in `unnamed portal parameter $2`.
fn parameter_of<'q>(query: &'q Query, db: &DbError) -> Option<&'q str> {
    let (_, rest) = db.where_()?.split_once("portal parameter $")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let index: usize = digits.parse().ok()?;
    query.params.get(index.checked_sub(1)?).map(|param| param.name.as_str())
}

/// A position of the server, which counts characters from 1 and the wrapping with them, as a line
/// of the file.
fn location(sql: &str, position: usize, wrapped_after: usize) -> String {
    match position.checked_sub(wrapped_after + 1) {
        Some(offset) if offset <= sql.chars().count() => {
            let line = sql.chars().take(offset).filter(|c| *c == '\n').count() + 1;
            format!(" at line {line}")
        }
        _ => String::new(),
    }
}

/// SQLSTATE with PostgreSQL's name for the condition, for the codes that statements meet.
fn describe(code: &str) -> String {
    let condition = match code {
        "08P01" => "protocol violation",
        "0A000" => "feature not supported",
        "21000" => "cardinality violation",
        "22001" => "string data right truncation",
        "22003" => "numeric value out of range",
        "22007" => "invalid datetime format",
        "22008" => "datetime field overflow",
        "22012" => "division by zero",
        "22021" => "character not in repertoire",
        "22023" => "invalid parameter value",
        "22P02" => "invalid text representation",
        "22P05" => "untranslatable character",
        "23502" => "not-null violation",
        "23503" => "foreign key violation",
        "23505" => "unique violation",
        "23514" => "check violation",
        "23P01" => "exclusion violation",
        "25006" => "read-only SQL transaction",
        "40001" => "serialization failure",
        "40P01" => "deadlock detected",
        "42601" => "syntax error",
        "42703" => "undefined column",
        "42883" => "undefined function",
        "42P01" => "undefined table",
        "55P03" => "lock not available",
        "P0001" => "raised by the database's own code",
        _ => return format!("SQLSTATE {code}"),
    };
    format!("{condition}, SQLSTATE {code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_lines_of_the_file() {
        let sql = "SELECT é,\n  nothing";
        assert_eq!(location(sql, 5 + 1, 5), " at line 1");
        assert_eq!(location(sql, 5 + 13, 5), " at line 2");
        assert_eq!(location(sql, 3, 5), "");
        assert_eq!(location(sql, 500, 5), "");
    }
}
