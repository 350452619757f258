//! What RDS Proxy does differently from a database
//! (<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-pinning.html>).
//!
//! Statements of the extended protocol pin a session when they run, not when they are prepared; a
//! statement that is prepared under a name pins nothing by itself
//! (<https://aws.amazon.com/blogs/database/amazon-rds-proxy-multiplexing-support-for-postgresql-extended-query-protocol/>).

use crate::gate::sql::Token;

/// A longer statement pins its session.
pub(super) const LONGEST_UNPINNED: usize = 16 * 1024;
/// Why it does.
pub(super) const TOO_LONG: &str = "a statement longer than 16 KB";

/// Statements that change a session's state begin so.
const PINNING_STARTS: [&str; 9] =
    ["SET", "RESET", "DISCARD", "PREPARE", "DEALLOCATE", "EXECUTE", "LISTEN", "LOAD", "DECLARE"];
/// Functions that change a session's state.
const PINNING_FUNCTIONS: [&str; 3] = ["set_config", "nextval", "setval"];
/// Functions of locks that the session holds, and not the transaction, begin so.
const PINNING_LOCKS: [&str; 2] = ["pg_advisory_", "pg_try_advisory_"];
const TEMPORARY: [&str; 2] = ["TEMP", "TEMPORARY"];
/// The schema of temporary objects.
const TEMPORARY_SCHEMA: &str = "pg_temp";

/// The reason why a statement pins its client to one database connection, or `None`.
pub(super) fn pins(statement: &[Token<'_>]) -> Option<&'static str> {
    let first = statement.first()?;
    if first.is("PREPARE") && statement.get(1).is_some_and(|second| second.is("TRANSACTION")) {
        return None;
    }
    let start = PINNING_STARTS.into_iter().find(|start| first.is(start));
    start
        .or_else(|| creates_temporary(statement).then_some("CREATE TEMPORARY"))
        .or_else(|| (0..statement.len()).find_map(|at| pinning_call(statement, at)))
}

/// Whether it creates a temporary table, view or sequence: `CREATE … TEMP …`, `CREATE … pg_temp.…`, or
/// `SELECT … INTO TEMP …`, behind EXPLAIN too.
fn creates_temporary(statement: &[Token<'_>]) -> bool {
    let creates = statement.iter().position(|token| token.is("CREATE"));
    if let Some(at) = creates.filter(|at| *at == 0 || statement[0].is("EXPLAIN")) {
        // The kind of object ends the part where TEMP is a keyword, and its name follows.
        let head = statement[at..].iter().take_while(|token| !token.is_any(&["AS", "ON"]));
        let head: Vec<_> = head.copied().take_while(|token| *token != Token::Sign('(')).collect();
        let kind = head.iter().position(|token| token.is_any(&["TABLE", "VIEW", "SEQUENCE"]));
        return head[..kind.unwrap_or(0)].iter().any(|token| token.is_any(&TEMPORARY))
            || head.windows(2).any(names_temporary_schema);
    }
    (0..statement.len()).any(|at| selects_into_temporary(statement, at))
}

fn names_temporary_schema(pair: &[Token<'_>]) -> bool {
    pair[0].names(TEMPORARY_SCHEMA) && pair[1] == Token::Sign('.')
}

/// Whether `INTO TEMP name` begins here. A table may be named temp: `INSERT INTO temp`, `INTO temp FROM`.
fn selects_into_temporary(statement: &[Token<'_>], at: usize) -> bool {
    let inserts = at > 0 && statement[at - 1].is_any(&["INSERT", "MERGE"]);
    if !statement[at].is("INTO") || inserts {
        return false;
    }
    let mut rest = &statement[at + 1..];
    if rest.len() > 1 && names_temporary_schema(&rest[..2]) {
        return true;
    }
    if rest.first().is_some_and(|word| word.is_any(&["LOCAL", "GLOBAL"])) {
        rest = &rest[1..];
    }
    let ends =
        ["FROM", "WHERE", "GROUP", "HAVING", "ORDER", "LIMIT", "UNION", "OFFSET", "FETCH", "FOR"];
    matches!(rest, [temp, name @ (Token::Word(_) | Token::Name(_)), ..]
        if temp.is_any(&TEMPORARY) && !name.is_any(&ends))
}

/// The reason, if a call of a function that changes the session's state begins here.
fn pinning_call(statement: &[Token<'_>], at: usize) -> Option<&'static str> {
    if statement.get(at + 1) != Some(&Token::Sign('(')) {
        return None;
    }
    // A function of another schema is the user's own.
    let is_qualified = at > 1 && statement[at - 1] == Token::Sign('.');
    if is_qualified && !statement[at - 2].names("pg_catalog") {
        return None;
    }
    let function = statement[at];
    let named = PINNING_FUNCTIONS.into_iter().find(|name| function.names(name));
    named.or_else(|| holds_lock(function).then_some("a session's advisory lock"))
}

/// Whether it is a function of advisory locks, other than those that end with the transaction.
fn holds_lock(function: Token<'_>) -> bool {
    let (Token::Word(name) | Token::Name(name)) = function else { return false };
    let name = name.to_ascii_lowercase();
    let kind = PINNING_LOCKS.into_iter().find_map(|prefix| name.strip_prefix(prefix));
    kind.is_some_and(|kind| !kind.starts_with("xact_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::sql::{Dialect, statements};

    fn pinned(text: &str) -> Option<&'static str> {
        statements(text, Dialect::Postgres).iter().find_map(|statement| pins(statement))
    }

    #[test]
    fn statements_that_change_a_sessions_state_pin_it() {
        for (text, why) in [
            ("BEGIN READ ONLY; SET LOCAL statement_timeout = 1", "SET"),
            ("/*+++ result = \"affected\" +++*/ SET TimeZone TO 'UTC'", "SET"),
            ("-- one\nreset all", "RESET"),
            ("/* a /* b */ */ LISTEN c", "LISTEN"),
            ("PREPARE p AS SELECT 1", "PREPARE"),
            ("EXECUTE p", "EXECUTE"),
            ("DEALLOCATE ALL", "DEALLOCATE"),
            ("DISCARD ALL", "DISCARD"),
            ("LOAD 'auto_explain'", "LOAD"),
            ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "DECLARE"),
            ("create temp table t (n int)", "CREATE TEMPORARY"),
            ("CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS t (n int)", "CREATE TEMPORARY"),
            ("CREATE OR REPLACE TEMP RECURSIVE VIEW v (n) AS SELECT 1", "CREATE TEMPORARY"),
            ("CREATE/**/TEMP SEQUENCE s", "CREATE TEMPORARY"),
            ("CREATE TABLE pg_temp.t (n int)", "CREATE TEMPORARY"),
            ("CREATE TABLE IF NOT EXISTS \"pg_temp\" . t AS SELECT 1", "CREATE TEMPORARY"),
            ("CREATE VIEW PG_TEMP.v AS SELECT 1", "CREATE TEMPORARY"),
            ("EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "CREATE TEMPORARY"),
            ("SELECT 1 AS n INTO TEMP t", "CREATE TEMPORARY"),
            ("SELECT n INTO LOCAL TEMPORARY TABLE t FROM x", "CREATE TEMPORARY"),
            ("WITH x AS (SELECT 1) SELECT * INTO pg_temp.t FROM x", "CREATE TEMPORARY"),
            ("SELECT nextval('s')", "nextval"),
            ("SELECT pg_catalog . SETVAL ('s', 1)", "setval"),
            ("/* c */ SELECT set_config('TimeZone', 'UTC', false)", "set_config"),
            ("SELECT \"set_config\"('a', 'b', true)", "set_config"),
            ("SELECT pg_advisory_lock(1)", "a session's advisory lock"),
            ("SELECT pg_try_advisory_lock_shared(1)", "a session's advisory lock"),
            ("SELECT pg_advisory_unlock_all()", "a session's advisory lock"),
        ] {
            assert_eq!(pinned(text), Some(why), "{text}");
        }
    }

    #[test]
    fn words_in_strings_comments_and_names_do_not() {
        for text in [
            "BEGIN READ ONLY",
            "COMMIT",
            "PREPARE TRANSACTION 'p'",
            "SELECT * FROM settings",
            "UPDATE t SET n = 1",
            "SELECT 'SET a; LISTEN b; nextval(1)'",
            "SELECT $$; SET a = 1$$",
            "SELECT 1 -- ; SET a = 1",
            "SELECT /* nextval('s') */ 1",
            "SELECT 1 AS \"set_config\"",
            "SELECT nextval FROM t",
            "SELECT mine.nextval('s')",
            "SELECT pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
            "INSERT INTO temp VALUES (1)",
            "MERGE INTO temp USING x ON true WHEN MATCHED THEN DO NOTHING",
            "SELECT 1 AS n INTO temp",
            "SELECT n INTO temp FROM x",
            "SELECT n INTO t FROM x",
            "CREATE TABLE temp (n int)",
            "CREATE TABLE t (temp int, set int)",
            "CREATE INDEX ON temp (n)",
            "CREATE VIEW v AS SELECT * FROM pg_temp.t",
            "SELECT * FROM pg_temp.t",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SET a = 1'",
        ] {
            assert_eq!(pinned(text), None, "{text}");
        }
    }
}
