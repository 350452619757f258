//! Explains PostgreSQL's refusals of a statement, without any value in them.
//!
//! The server's message is passed on only where it can hold nothing but names and SQL text of the
//! query file: parse-time errors of class 42, and a few operational classes. Its DETAIL, the text of
//! a `RAISE`, and messages such as `invalid input syntax for type integer: "…"` never are.
//! Codes: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use tokio_postgres::error::{DbError, ErrorPosition};

use super::sqlstates::{self, Why};
use crate::error::{Error, ErrorKind};
use crate::query::Query;

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
    let state = sqlstates::of(code);
    let why = match state.why {
        Why::Condition => condition(code),
        Why::Message => own_words(db).map_or_else(|| condition(code), str::to_owned),
        Why::Privilege => own_words(db)
            .filter(|_| names_an_object(db))
            .map_or_else(|| condition(code), str::to_owned),
        Why::Located => located(query, db, wrapped_after),
        Why::TimedOut => timed_out(query),
        Why::Names => names(db),
    };
    let error = Error::new(state.kind, format!("query {} {}", query.name, state.what))
        .because(why)
        .remedy(state.remedy);
    let error = match hint(db) {
        Some(hint) => error.also(&hint),
        None => error,
    };
    if matches!(code, "40001" | "40P01") { error.transient() } else { error }
}

/// The server's guess at the column or table that was meant. It holds nothing but names.
fn hint(db: &DbError) -> Option<String> {
    let is_guess = matches!(db.code().code(), "42703" | "42P01") && own_words(db).is_some();
    let hint = db.hint().filter(|_| is_guess)?.trim_end_matches('.');
    let mut letters = hint.chars();
    let first = letters.next()?.to_lowercase();
    Some(first.chain(letters).collect())
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
        // An internal position is in a text that an argument may have brought.
        (Some(ErrorPosition::Original(_)), Some(message)) => {
            let at = place(query, db, wrapped_after).map(|offset| location(&query.sql, offset));
            format!("{message} ({code}){}", at.unwrap_or_default())
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

/// The parameter that the server's context names, as in `unnamed portal parameter $2`.
fn parameter_of<'q>(query: &'q Query, db: &DbError) -> Option<&'q str> {
    let (_, rest) = db.where_()?.split_once("portal parameter $")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let index: usize = digits.parse().ok()?;
    query.params.get(index.checked_sub(1)?).map(|param| param.name.as_str())
}

/// The place of an error in the query file, in characters. The server counts them from 1, and the wrapping with
/// them.
pub(super) fn place(query: &Query, db: &DbError, wrapped_after: usize) -> Option<usize> {
    let Some(ErrorPosition::Original(position)) = db.position() else { return None };
    offset(&query.sql, *position as usize, wrapped_after)
}

fn offset(sql: &str, position: usize, wrapped_after: usize) -> Option<usize> {
    position.checked_sub(wrapped_after + 1).filter(|offset| *offset <= sql.chars().count())
}

/// A place as a line of the file.
fn location(sql: &str, offset: usize) -> String {
    format!(" at line {}", sql.chars().take(offset).filter(|c| *c == '\n').count() + 1)
}

/// SQLSTATE with PostgreSQL's name for the condition.
pub(super) fn condition(code: &str) -> String {
    match sqlstates::of(code) {
        state if state.code == code => format!("{}, SQLSTATE {code}", state.condition),
        _ => format!("SQLSTATE {code}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_become_lines_of_the_file() {
        let sql = "SELECT é,\n  nothing";
        assert_eq!(offset(sql, 5 + 1, 5).map(|at| location(sql, at)).unwrap(), " at line 1");
        assert_eq!(offset(sql, 5 + 13, 5).map(|at| location(sql, at)).unwrap(), " at line 2");
        assert_eq!(offset(sql, 3, 5), None);
        assert_eq!(offset(sql, 500, 5), None);
    }
}
