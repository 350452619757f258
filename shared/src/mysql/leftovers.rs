//! State that a statement may leave in its session, and its release before the answer: a frozen sandbox
//! would hold a lock for as long as it sleeps.
//!
//! A SET that undoes it travels in the packet that ends the transaction. Only a statement that may leave
//! anything else costs a round trip more, for `COM_RESET_CONNECTION`.

use super::built_in::is_built_in;
use super::lexer::{Kind, Token, readings, tokens};
use super::statement::without_parentheses;
use crate::query::{Mode, Query};

/// Statements that leave only what their words show.
const PLAIN: [&str; 13] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE", "SHOW",
    "EXPLAIN", "DESCRIBE", "DESC", "ANALYZE",
];
/// Words before a name with a parenthesis behind it that is no function: `INSERT INTO t (a)`.
const BEFORE_NAMES: [&str; 8] =
    ["INTO", "INSERT", "REPLACE", "IGNORE", "LOW_PRIORITY", "AS", "WITH", "RECURSIVE"];

/// The state that a statement may leave in its session.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Leftovers {
    /// Assignments of a SET that undo it.
    assignments: Vec<String>,
    /// Whether only a reset undoes the rest.
    pub(super) reset: bool,
    /// Whether a reset does not undo everything: the session serves no other statement.
    pub(super) last: bool,
    /// Whether the statement reads FOUND_ROWS(), which nothing but a SELECT changes.
    pub(super) found_rows: bool,
}

impl Leftovers {
    pub(super) fn of(query: &Query) -> Self {
        let mut left = Self::default();
        match readings(&query.sql) {
            Some(readings) => readings.for_each(|reading| left.add(&tokens(&query.sql, reading))),
            None => (left.reset, left.last) = (true, true),
        }
        if query.mode == Mode::Write {
            left.assign("last_insert_id = 0".to_owned());
        }
        // Their values must not meet another statement.
        for index in 0..query.params.len() {
            left.assign(format!("@rds_iam_{index} = NULL"));
        }
        left
    }

    /// Adds what the statement leaves if a server reads it so.
    fn add(&mut self, tokens: &[Token<'_>]) {
        let has = |name: &str| tokens.iter().any(|token| token.is(name));
        let verbs = without_parentheses(tokens);
        self.found_rows |= has("FOUND_ROWS");
        self.reset |= !verbs.first().is_none_or(|verb| verb.is_one_of(&PLAIN))
            || calls_unknown_function(tokens)
            || keeps_value_of_sequence(tokens);
        // A reset keeps the role.
        let sets = verbs.first().is_some_and(|verb| verb.is("SET"));
        self.last |= sets && !verbs.get(1).is_some_and(|word| word.is("STATEMENT"))
            || tokens.windows(2).any(|pair| pair[0].is("SET") && pair[1].is("ROLE"));
        for token in tokens.iter().filter(|token| token.kind == Kind::Variable) {
            self.unset(token.text);
        }
        if has("GET_LOCK") {
            self.assign("@rds_iam_sql = RELEASE_ALL_LOCKS()".to_owned());
        }
        if has("LAST_INSERT_ID") {
            self.assign("last_insert_id = 0".to_owned());
        }
    }

    fn assign(&mut self, assignment: String) {
        if !self.assignments.contains(&assignment) {
            self.assignments.push(assignment);
        }
    }

    fn unset(&mut self, variable: &str) {
        if !is_simple(variable) {
            self.reset = true;
            return;
        }
        self.assign(format!("{variable} = NULL"));
    }

    /// The assignments of a SET that releases what can be released so.
    pub(super) fn assignments(&self) -> &[String] {
        if self.reset { &[] } else { &self.assignments }
    }
}

/// Whether the name of a variable can be written again as it stands.
fn is_simple(variable: &str) -> bool {
    let name = &variable[1..];
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'$' | b'.');
    match name.as_bytes() {
        [] => false,
        [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] | [b'`', inner @ .., b'`'] => {
            inner.iter().all(|byte| plain(*byte) || matches!(byte, b' ' | b'-' | b'%'))
        }
        bytes => bytes.iter().all(|byte| plain(*byte)),
    }
}

/// Whether a name before a parenthesis may be a stored function, which may leave anything.
fn calls_unknown_function(tokens: &[Token<'_>]) -> bool {
    tokens.windows(2).enumerate().any(|(at, pair)| {
        let named = match pair[0].kind {
            Kind::Word => !is_built_in(pair[0].text),
            Kind::Name => true,
            _ => false,
        };
        named && pair[1].is_mark("(") && !follows_word_for_names(&tokens[..at])
    })
}

/// Whether a name that comes next, qualified or not, is that of a table or of its columns.
fn follows_word_for_names(before: &[Token<'_>]) -> bool {
    match before {
        [more @ .., _, period] if period.is_mark(".") => follows_word_for_names(more),
        [.., last] => last.is_one_of(&BEFORE_NAMES) || last.is_mark(")"),
        [] => false,
    }
}

/// `NEXT VALUE FOR s` and `PREVIOUS VALUE FOR s` of MariaDB; its functions are unknown ones here.
fn keeps_value_of_sequence(tokens: &[Token<'_>]) -> bool {
    tokens.windows(2).any(|pair| pair[0].is("VALUE") && pair[1].is("FOR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(mode: &str, sql: &str) -> Leftovers {
        let front =
            format!("/*+++\nmode = \"{mode}\"\nparams = [{{ name = \"a\" }}]\n+++*/\n{sql}");
        Leftovers::of(&Query::parse("q", &front).unwrap())
    }

    #[test]
    fn plain_statements_cost_no_round_trip() {
        for sql in [
            "SELECT COUNT(*), IF (a, 1, 2), ST_X(p) FROM t WHERE a IN (?) AND (b)",
            "WITH a (x) AS (SELECT 1) SELECT MAX(x) OVER (PARTITION BY x) FROM a JOIN b USING (x)",
            "SELECT * FROM (SELECT 1) t (a), JSON_TABLE(?, '$' COLUMNS (a INT PATH '$')) AS j (a)",
            "SELECT 'f(1)', @@sql_mode -- f()\n, CAST(a AS DECIMAL(1, 2)) FROM t USE INDEX (i)",
            "(VALUES (1), ROW(2))",
            "SHOW TABLES",
        ] {
            let left = left("read", sql);
            assert_eq!((left.reset, left.last), (false, false), "{sql}");
            assert_eq!(left.assignments(), ["@rds_iam_0 = NULL"], "{sql}");
        }
        for sql in [
            "INSERT INTO orders (a) VALUES (?) ON DUPLICATE KEY UPDATE a = VALUES(a)",
            "INSERT IGNORE INTO `db`.`orders` (`a`) SELECT UPPER(a) FROM t",
            "REPLACE db.t (a) VALUES (?)",
            "UPDATE t SET a = REPLACE(a, 'x', 'y') WHERE b = ?",
            "INSERT INTO t (a) VALUES (?) AS new (b) ON DUPLICATE KEY UPDATE a = new.b",
        ] {
            let left = left("write", sql);
            assert!(!left.reset, "{sql}");
            assert_eq!(left.assignments(), ["last_insert_id = 0", "@rds_iam_0 = NULL"], "{sql}");
        }
    }

    #[test]
    fn words_show_what_is_left() {
        for (sql, assignments) in [
            ("SELECT @a := @a + 1, @`b c`, @'d'", "@a = NULL, @`b c` = NULL, @'d' = NULL"),
            ("SELECT GET_LOCK('a', 1)", "@rds_iam_sql = RELEASE_ALL_LOCKS()"),
            ("SELECT LAST_INSERT_ID(5)", "last_insert_id = 0"),
            ("SELECT 1 /*! , @a := 1 */", "@a = NULL"),
            ("SELECT '\\', @a := 1 -- '", "@a = NULL"),
        ] {
            let left = left("read", sql);
            let expected = format!("{assignments}, @rds_iam_0 = NULL");
            assert_eq!(left.assignments().join(", "), expected, "{sql}");
        }
        assert!(left("read", "SELECT FOUND_ROWS()").found_rows);
    }

    #[test]
    fn what_cannot_be_seen_through_needs_a_reset() {
        for sql in [
            "SELECT my_function(1)",
            "SELECT my_function (1)",
            "SELECT db.abs(1), `abs`(1)",
            "SELECT NEXTVAL(s)",
            "SELECT NEXT VALUE FOR s",
            "SELECT @'it''s' := 1",
            "CALL p()",
            "/* x */ CREATE TEMPORARY TABLE t (a int)",
            "LOCK TABLES t WRITE",
            "USE other",
            "SELECT HIGH_PRIORITY own(1)",
            "SELECT nvl(a, 1) FROM t",
            "SELECT @größe := 5",
            "/*!99999 SELECT 1; */ DO own()",
            "/*! CALL p() */ -- x\n SELECT 1",
        ] {
            let left = left("write", sql);
            assert!(left.reset && left.assignments().is_empty() && !left.last, "{sql}");
        }
        assert!(left("write", "SET ROLE r").last);
        assert!(left("write", "BEGIN NOT ATOMIC SET ROLE r; END").last);
        assert!(left("write", "/*!99999 SELECT 1; */ SET time_zone = 'UTC'").last);
        assert!(!left("write", "SET STATEMENT max_statement_time = 1 FOR SELECT 1").last);
    }
}
