//! What PostgreSQL's refusal of a statement means, without any value in it.
//!
//! The server's message is passed on only where it can hold nothing but names and SQL text of the
//! query file: parse-time errors of class 42, and a few operational classes. Its DETAIL, the text of
//! a `RAISE`, and messages such as `invalid input syntax for type integer: "…"` never are.
//! Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use tokio_postgres::error::{DbError, ErrorPosition};

use crate::error::{Error, ErrorKind};
use crate::query::Query;

/// What a SQLSTATE means for the caller.
struct Meaning {
    /// A code, or the beginning of one.
    code: &'static str,
    kind: ErrorKind,
    /// Goes after "query NAME".
    what: &'static str,
    why: Why,
    remedy: &'static str,
}

/// What the error gives as its reason.
enum Why {
    /// PostgreSQL's name for the condition.
    Condition,
    /// The server's message, where it is the server's own.
    Message,
    /// The same, for a refusal that names an object of the catalogue and nothing else.
    Privilege,
    /// The server's message and the line of the query file, for errors of parsing.
    Located,
    /// The time-out that applied.
    TimedOut,
    /// The condition, and the names of constraint, table and column.
    Names,
}

const LOOK_IN_THE_LOG: &str =
    "Look up the SQLSTATE in PostgreSQL's manual, and the values in the server's own log";
const TRY_LATER: &str = "Try again when the database has recovered";
const NOT_VALID: &str = "A query file holds one statement and no semicolon: a SELECT, VALUES, TABLE or WITH, or with mode = \"write\" an INSERT, UPDATE or DELETE … RETURNING; anything else needs result = \"affected\"";

/// The first row whose code begins the server's. The last row takes everything else.
const MEANINGS: [Meaning; 15] = {
    use ErrorKind::*;
    use Why::*;
    const fn row(
        code: &'static str,
        kind: ErrorKind,
        what: &'static str,
        why: Why,
        remedy: &'static str,
    ) -> Meaning {
        Meaning { code, kind, what, why, remedy }
    }
    [
        row(
            "57014",
            QueryTimeout,
            "timed out",
            TimedOut,
            "Make it faster (look at EXPLAIN), or give the function a longer Timeout",
        ),
        row(
            "55P03",
            QueryTimeout,
            "got no lock in time",
            Condition,
            "Look in pg_locks for the session that holds it",
        ),
        row(
            "25006",
            QueryDenied,
            "tried to write in a read-only transaction",
            Condition,
            "A query that writes needs mode = \"write\" and a function that allows writes; a standby takes no writes",
        ),
        row(
            "42501",
            QueryDenied,
            "is not permitted",
            Privilege,
            "GRANT the right to the database user, or use a user that has it",
        ),
        row(
            "08P01",
            QueryInvalid,
            "has other parameters than its front matter declares",
            Condition,
            "Declare one entry in params for each of $1…$n, in that order",
        ),
        row(
            "42P18",
            QueryInvalid,
            "is not valid",
            Condition,
            "Use each parameter that params declares, and cast one whose type the statement does not give: $1::text",
        ),
        row("53", DatabaseUnavailable, "could not run", Message, TRY_LATER),
        row("57P01", DatabaseUnavailable, "could not run", Message, TRY_LATER),
        row("57P02", DatabaseUnavailable, "could not run", Message, TRY_LATER),
        row("57P03", DatabaseUnavailable, "could not run", Message, TRY_LATER),
        row("42", QueryInvalid, "is not valid", Located, NOT_VALID),
        row("0A000", QueryInvalid, "is not valid", Located, NOT_VALID),
        row(
            "40001",
            QueryFailed,
            "failed",
            Names,
            "Another transaction was in its way: run it again",
        ),
        row(
            "40P01",
            QueryFailed,
            "failed",
            Names,
            "Another transaction was in its way: run it again",
        ),
        row("", QueryFailed, "failed", Names, LOOK_IN_THE_LOG),
    ]
};

/// The error of a statement. `wrapped_after` is the length, in characters, of the text in front of
/// the file's own.
pub(super) fn statement_error(
    query: &Query,
    error: &tokio_postgres::Error,
    wrapped_after: usize,
) -> Error {
    let Some(db) = error.as_db_error() else { return connection_broke(query) };
    let code = db.code().code();
    if let Some(parameter) = parameter_of(query, db) {
        return bad_parameter(query, parameter, code);
    }
    let Some(meaning) = MEANINGS.iter().find(|meaning| code.starts_with(meaning.code)) else {
        return connection_broke(query);
    };
    let why = match meaning.why {
        Why::Condition => condition(code),
        Why::Message => own_words(db).map_or_else(|| condition(code), str::to_owned),
        Why::Privilege => own_words(db)
            .filter(|_| names_an_object(db))
            .map_or_else(|| condition(code), str::to_owned),
        Why::Located => located(query, db, wrapped_after),
        Why::TimedOut => timed_out(query),
        Why::Names => names(db),
    };
    let error = Error::new(meaning.kind, format!("query {} {}", query.name, meaning.what))
        .because(why)
        .remedy(meaning.remedy);
    if matches!(code, "40001" | "40P01") { error.transient() } else { error }
}

fn connection_broke(query: &Query) -> Error {
    Error::new(
        ErrorKind::NetworkUnreachable,
        format!("the connection broke while query {} ran", query.name),
    )
    .because("the database closed it, or the network did")
    .remedy("Run it again; if it happens often, look for restarts and failovers of the database")
}

fn bad_parameter(query: &Query, parameter: &str, code: &str) -> Error {
    Error::new(
        ErrorKind::QueryBadParameter,
        format!("query {} refuses parameter {parameter}", query.name),
    )
    .because(format!(
        "its value is not valid for the type that the statement gives it ({})",
        condition(code)
    ))
    .remedy("Send a value of that type, or cast the parameter in the SQL")
}

/// The server's message, if it is the server's own. The text of a `RAISE`, or of an error inside a
/// function, can hold values: PL/pgSQL adds a context to both.
pub(super) fn own_words(db: &DbError) -> Option<&str> {
    (db.where_().is_none() && !is_raised(db)).then(|| db.message())
}

/// Whether the database's own code raised it: then every field of it is that code's to fill in.
pub(super) fn is_raised(db: &DbError) -> bool {
    let languages = ["plperl", "plpy", "pltcl", "plv8"];
    db.routine() == Some("exec_stmt_raise")
        || db.file().is_some_and(|file| languages.iter().any(|language| file.starts_with(language)))
}

/// Whether a refused privilege is one on an object, which the message names. Other messages of the same
/// SQLSTATE repeat a function's argument: `permission denied to set role "…"`.
pub(super) fn names_an_object(db: &DbError) -> bool {
    let routine = db.routine().unwrap_or_default();
    routine.starts_with("aclcheck_error") || routine == "ExecWithCheckOptions"
}

fn located(query: &Query, db: &DbError, wrapped_after: usize) -> String {
    let code = db.code().code();
    match (db.position(), own_words(db)) {
        (Some(ErrorPosition::Original(position)), Some(message)) => {
            let at = location(&query.sql, *position as usize, wrapped_after);
            format!("{message} ({code}){at}")
        }
        _ => condition(code),
    }
}

fn timed_out(query: &Query) -> String {
    match query.timeout {
        Some(timeout) => format!(
            "it ran longer than its timeout of {} s, or than the time left in this invocation",
            timeout.as_secs_f64()
        ),
        None => "it ran longer than the time left in this invocation".into(),
    }
}

fn names(db: &DbError) -> String {
    let condition = condition(db.code().code());
    if is_raised(db) {
        return condition;
    }
    let mut names = vec![condition];
    for (what, given) in
        [("constraint", db.constraint()), ("table", db.table()), ("column", db.column())]
    {
        names.extend(given.map(|value| format!("{what} {value}")));
    }
    names.join(", ")
}

/// The error of a write that a read-only server refused.
pub(super) fn takes_no_writes(query: &Query) -> Error {
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
pub(super) fn condition(code: &str) -> String {
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
        "42501" => "insufficient privilege",
        "42601" => "syntax error",
        "42703" => "undefined column",
        "42883" => "undefined function",
        "42P01" => "undefined table",
        "42P18" => "parameter of unclear type",
        "53100" => "disk full",
        "53200" => "out of memory",
        "53300" => "too many connections",
        "53400" => "configuration limit exceeded",
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
