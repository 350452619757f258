//! Statements that pin a session of RDS Proxy, by their tags and texts
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

/// The tags of statements that change a session's state begin with these words.
const PINNING_TAGS: [&str; 8] =
    ["SET", "RESET", "DISCARD", "PREPARE", "DEALLOCATE", "LISTEN", "LOAD", "DECLARE"];
const EXECUTE: &str = "EXECUTE";
/// Functions that change a session's state.
const PINNING_FUNCTIONS: [&str; 3] = ["set_config", "nextval", "setval"];
/// Functions of locks that the session holds, and not the transaction, begin so.
const PINNING_LOCKS: [&str; 2] = ["pg_advisory_", "pg_try_advisory_"];
/// Statements that run no query, and so call nothing: a name before parentheses is a table's or function's.
const CALLING_NOTHING: [&str; 9] =
    ["DROP", "GRANT", "REVOKE", "COMMENT", "ANALYZE", "ANALYSE", "VACUUM", "SECURITY", "REINDEX"];
const CREATES_TEMPORARY: &str = "CREATE TEMPORARY";
const TEMPORARY: [&str; 2] = ["TEMP", "TEMPORARY"];
/// The schema of temporary objects.
const TEMPORARY_SCHEMA: &str = "pg_temp";

/// Why the statement pins its client to one database connection that PostgreSQL has run under this tag, as far
/// as the tag tells.
pub(super) fn pins_by_tag(tag: &[u8]) -> Option<&'static str> {
    let tag = tag.strip_suffix(&[0]).unwrap_or(tag);
    let first = tag.split(|byte| *byte == b' ').next()?;
    let pinning = PINNING_TAGS.into_iter().find(|word| word.as_bytes() == first);
    pinning.filter(|_| tag != b"PREPARE TRANSACTION")
}

/// The same, as far as the text tells: what has a tag of its own is left to that.
pub(super) fn pins(statement: &[Token<'_>]) -> Option<&'static str> {
    let (&first, rest) = statement.split_first()?;
    if first.is("EXPLAIN") {
        let explained = explained(rest);
        // It runs a cursor's query, and declares none.
        let is_cursor = explained.first().is_some_and(|word| word.is("DECLARE"));
        return if is_cursor { calls(explained) } else { pins(explained) };
    }
    if first.is(EXECUTE) {
        return Some(EXECUTE);
    }
    if first.is("CREATE") {
        return creation(rest);
    }
    if first.is_any(&CALLING_NOTHING) {
        return None;
    }
    if first.is("COPY") && !rest.first().is_some_and(|next| next.is_sign(b'(')) {
        // A table's, whose rows a condition may choose.
        let condition = rest.iter().position(|word| word.is("WHERE"));
        return condition.and_then(|at| calls(&rest[at..]));
    }
    let into_temporary = (0..statement.len()).any(|at| selects_into_temporary(statement, at));
    if into_temporary { Some(CREATES_TEMPORARY) } else { calls(statement) }
}

/// The statement behind EXPLAIN and its options.
fn explained<'a, 'b>(mut rest: &'a [Token<'b>]) -> &'a [Token<'b>] {
    if rest.first().is_some_and(|next| next.is_sign(b'(')) && !is_query_in_parentheses(rest) {
        rest = &rest[closing(rest)..];
    }
    while let Some((next, behind)) = rest.split_first()
        && next.is_any(&["ANALYZE", "ANALYSE", "VERBOSE"])
    {
        rest = behind;
    }
    rest
}

fn is_query_in_parentheses(rest: &[Token<'_>]) -> bool {
    let word = rest.iter().find(|token| !token.is_sign(b'('));
    word.is_some_and(|word| word.is_any(&["SELECT", "WITH", "VALUES", "TABLE"]))
}

/// Where the tokens behind the parentheses begin that open with the first.
fn closing(tokens: &[Token<'_>]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_sign(b'(') {
            depth += 1;
        } else if token.is_sign(b')') {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// The part of a CREATE that pins, looked for behind that word: a temporary table, view or sequence (`TEMP`, or the schema
/// `pg_temp`), and the query that fills a table. Others define a query, and run none.
fn creation(rest: &[Token<'_>]) -> Option<&'static str> {
    let mut head = rest;
    if let [or, replace, behind @ ..] = head
        && or.is("OR")
        && replace.is("REPLACE")
    {
        head = behind;
    }
    if head.first().is_some_and(|word| word.is_any(&["LOCAL", "GLOBAL"])) {
        head = &head[1..];
    }
    let ends = |token: &Token<'_>| token.is_any(&["AS", "ON"]) || token.is_sign(b'(');
    let name = &head[..head.iter().position(ends).unwrap_or(head.len())];
    let is_temporary = matches!(head, [temp, kind, ..]
        if temp.is_any(&TEMPORARY) && kind.is_any(&["TABLE", "VIEW", "SEQUENCE", "RECURSIVE"]));
    if is_temporary || name.windows(2).any(names_temporary_schema) {
        return Some(CREATES_TEMPORARY);
    }
    let fills = head.first().is_some_and(|kind| kind.is("MATERIALIZED"))
        || head.iter().take(2).any(|kind| kind.is("TABLE"));
    let mut at = 0;
    while fills && at < head.len() {
        if head[at].is("AS") {
            return pins(&head[at + 1..]);
        }
        at += closing(&head[at..]);
    }
    None
}

fn names_temporary_schema(pair: &[Token<'_>]) -> bool {
    pair[0].names(TEMPORARY_SCHEMA) && pair[1].is_sign(b'.')
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
    matches!(rest, [temp, name, ..]
        if temp.is_any(&TEMPORARY) && name.name().is_some() && !name.is_any(&ends))
}

/// The reason, if a statement calls a function that changes the session's state.
fn calls(statement: &[Token<'_>]) -> Option<&'static str> {
    (0..statement.len()).find_map(|at| pinning_call(statement, at))
}

/// The reason, if a call of a function that changes the session's state begins here.
fn pinning_call(statement: &[Token<'_>], at: usize) -> Option<&'static str> {
    let arguments = statement.get(at + 1..)?;
    if !arguments.first()?.is_sign(b'(') || declares(&statement[..at], arguments) {
        return None;
    }
    // A function of another schema is the user's own.
    let is_qualified = at > 1 && statement[at - 1].is_sign(b'.');
    if is_qualified && !statement[at - 2].names("pg_catalog") {
        return None;
    }
    let function = statement[at].name()?;
    let named = PINNING_FUNCTIONS.into_iter().find(|name| function == *name);
    named.or_else(|| holds_lock(&function).then_some("a session's advisory lock"))
}

/// Whether a name between these tokens is not that of a function that is called, but of a table, with its
/// columns, of a query of WITH, or of a function that is changed: `INSERT INTO name (a)`,
/// `FROM t AS name (a)`, `WITH name (a) AS (…)`, `ALTER FUNCTION name (int)`.
fn declares(before: &[Token<'_>], columns: &[Token<'_>]) -> bool {
    const TABLES: [&str; 4] = ["INTO", "AS", "TABLE", "REFERENCES"];
    const ROUTINES: [&str; 4] = ["FUNCTION", "PROCEDURE", "ROUTINE", "AGGREGATE"];
    let is_declared =
        before.last().is_some_and(|word| word.is_any(&TABLES) || word.is_any(&ROUTINES));
    let behind = &columns[closing(columns)..];
    let is_query = matches!(behind, [is, next, ..] if is.is("AS")
        && (next.is_sign(b'(') || next.is_any(&["MATERIALIZED", "NOT"])));
    is_declared || is_query
}

/// Whether it is a function of advisory locks, other than those that end with the transaction.
fn holds_lock(function: &str) -> bool {
    let kind = PINNING_LOCKS.into_iter().find_map(|prefix| function.strip_prefix(prefix));
    kind.is_some_and(|kind| !kind.starts_with("xact_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::sql::{Dialect, statements};

    fn pinned(text: &str) -> Option<&'static str> {
        let dialect = Dialect::Postgres { escapes: false };
        statements(text.as_bytes(), dialect).iter().find_map(|statement| pins(statement))
    }

    #[test]
    fn tags_tell_what_changes_a_sessions_state() {
        for (tag, why) in [
            ("SET", Some("SET")),
            ("SET CONSTRAINTS", Some("SET")),
            ("RESET", Some("RESET")),
            ("LISTEN", Some("LISTEN")),
            ("PREPARE", Some("PREPARE")),
            ("PREPARE TRANSACTION", None),
            ("DEALLOCATE ALL", Some("DEALLOCATE")),
            ("DISCARD ALL", Some("DISCARD")),
            ("LOAD", Some("LOAD")),
            ("DECLARE CURSOR", Some("DECLARE")),
            ("SELECT 1", None),
            ("BEGIN", None),
            ("", None),
        ] {
            assert_eq!(pins_by_tag(format!("{tag}\0").as_bytes()), why, "{tag}");
        }
    }

    #[test]
    fn statements_that_change_a_sessions_state_pin_it() {
        for (text, why) in [
            ("EXECUTE p", "EXECUTE"),
            ("/* a /* b */ */ execute p", "EXECUTE"),
            ("create temp table t (n int)", "CREATE TEMPORARY"),
            ("CREATE LOCAL TEMPORARY TABLE IF NOT EXISTS t (n int)", "CREATE TEMPORARY"),
            ("CREATE OR REPLACE TEMP RECURSIVE VIEW v (n) AS SELECT 1", "CREATE TEMPORARY"),
            ("CREATE/**/TEMP SEQUENCE s", "CREATE TEMPORARY"),
            ("CREATE TABLE pg_temp.t (n int)", "CREATE TEMPORARY"),
            ("CREATE TABLE IF NOT EXISTS \"pg_temp\" . t AS SELECT 1", "CREATE TEMPORARY"),
            ("CREATE VIEW PG_TEMP.v AS SELECT 1", "CREATE TEMPORARY"),
            ("EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1", "CREATE TEMPORARY"),
            ("EXPLAIN (ANALYZE, VERBOSE) CREATE TEMP TABLE t AS SELECT 1", "CREATE TEMPORARY"),
            ("CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int RETURN 1", "CREATE TEMPORARY"),
            ("EXPLAIN ANALYZE EXECUTE p", "EXECUTE"),
            ("explain (analyze) execute p(1)", "EXECUTE"),
            ("CREATE TABLE t AS EXECUTE p", "EXECUTE"),
            (
                "CREATE TABLE IF NOT EXISTS t (a, b) WITH (fillfactor = 70) AS EXECUTE p(1)",
                "EXECUTE",
            ),
            ("EXPLAIN ANALYZE CREATE TABLE t AS EXECUTE p", "EXECUTE"),
            ("CREATE UNLOGGED TABLE t AS SELECT nextval('s')", "nextval"),
            ("CREATE MATERIALIZED VIEW v AS SELECT setval('s', 1)", "setval"),
            ("EXPLAIN (SELECT nextval('s'))", "nextval"),
            ("EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT nextval('s')", "nextval"),
            ("COPY (SELECT set_config('a.b', 'c', false)) TO STDOUT", "set_config"),
            ("COPY t (n) FROM STDIN WHERE n < nextval('s')", "nextval"),
            ("COPY (WITH x AS (SELECT 1) SELECT NEXTVAL('s') FROM x) TO STDOUT", "nextval"),
            ("WITH x (n) AS (SELECT nextval('s')) SELECT * FROM x", "nextval"),
            ("INSERT INTO t (a) VALUES (nextval('s'))", "nextval"),
            ("SELECT * FROM a JOIN b ON setval('s', a.n) = b.n", "setval"),
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
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT nextval('s'); END",
            "create table setval (n int)",
            "CREATE TABLE IF NOT EXISTS nextval(n int DEFAULT nextval('s'))",
            "CREATE VIEW set_config(n) AS SELECT 1",
            "CREATE VIEW v AS SELECT nextval('s') FROM (TABLE t) x",
            "CREATE FUNCTION f() RETURNS TABLE (n int) BEGIN ATOMIC SELECT 1 AS n, setval('s', 1); END",
            "CREATE INDEX ON nextval (n)",
            "CREATE TABLE t (n int REFERENCES setval (n))",
            "INSERT INTO nextval (n) VALUES (1)",
            "INSERT INTO t AS setval (n) VALUES (1)",
            "with nextval(n) as (select 1) select n from nextval",
            "WITH RECURSIVE x AS (SELECT 1), nextval (n) AS NOT MATERIALIZED (SELECT 1) TABLE x",
            "SELECT * FROM t AS setval (n)",
            "CREATE PUBLICATION temp FOR TABLE t",
            "CREATE SCHEMA temp CREATE TABLE t (n int)",
            "CREATE PUBLICATION temp FOR TABLE nextval (n)",
            "COPY setval (n) FROM STDIN",
            "COPY setval (n) FROM STDIN (FORCE_NULL (n)) WHERE n > 1",
            "ALTER FUNCTION setval(int) STABLE",
            "ALTER TABLE t ADD FOREIGN KEY (n) REFERENCES nextval (n)",
            "COPY t (\"set\", temp) TO STDOUT",
            "COPY (SELECT 1 AS set, 2 AS listen, 'nextval(1)', temp FROM t) TO STDOUT",
            "EXPLAIN ANALYZE DECLARE c CURSOR FOR SELECT 1",
            "EXPLAIN (FORMAT text) SELECT execute FROM t",
            "GRANT EXECUTE ON FUNCTION nextval(regclass) TO a",
            "COMMENT ON FUNCTION setval(regclass, bigint) IS 'x'",
            "ANALYZE setval (n)",
        ] {
            assert_eq!(pinned(text), None, "{text}");
        }
    }
}
