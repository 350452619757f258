//! The statements of a text of SQL, as far as the gate reads it: enough to see what each does.

mod token;

pub(super) use token::{Dialect, Token, tokens};

/// The statements of a text, in order. A statement of nothing but comments is none.
pub(super) fn statements(text: &[u8], dialect: Dialect) -> Vec<Vec<Token<'_>>> {
    let mut statements = Vec::new();
    let mut statement = Vec::new();
    let mut depth = Depth::default();
    for token in tokens(text, dialect) {
        if token.is_sign(b';') && depth.is_outside() {
            statements.push(std::mem::take(&mut statement));
            depth = Depth::default();
        } else {
            depth.enter(token, &statement);
            statement.push(token);
        }
    }
    statements.push(statement);
    statements.retain(|statement| !statement.is_empty());
    statements
}

/// Where a semicolon does not end its statement: in parentheses, and in the body of a routine that is
/// written as `BEGIN ATOMIC … END`, or in MySQL as `BEGIN … END`.
#[derive(Default)]
struct Depth {
    parentheses: usize,
    blocks: usize,
    /// The token before is the END of a block.
    has_ended: bool,
}

impl Depth {
    fn is_outside(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn enter(&mut self, token: Token<'_>, before: &[Token<'_>]) {
        const ROUTINES: [&str; 4] = ["FUNCTION", "PROCEDURE", "TRIGGER", "EVENT"];
        let is_routine = || {
            before.first().is_some_and(|first| first.is("CREATE"))
                && before.iter().take(12).any(|word| word.is_any(&ROUTINES))
        };
        // MariaDB's BEGIN NOT ATOMIC is a statement that holds others.
        let is_compound = || {
            token.is("ATOMIC")
                && matches!(before, [begin, not] if begin.is("BEGIN") && not.is("NOT"))
        };
        let has_ended = std::mem::take(&mut self.has_ended);
        if token.is_sign(b'(') {
            self.parentheses += 1;
        } else if token.is_sign(b')') {
            self.parentheses = self.parentheses.saturating_sub(1);
        } else if token.is("END") && self.blocks > 0 {
            (self.blocks, self.has_ended) = (self.blocks - 1, true);
        } else if has_ended && token.is_any(&["IF", "LOOP", "WHILE", "REPEAT", "FOR"]) {
            // The end of what has not been counted.
            self.blocks += 1;
        } else if !has_ended
            && token.is_any(&["BEGIN", "CASE"])
            && (self.blocks > 0 || is_routine())
            || is_compound()
        {
            self.blocks += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POSTGRES: Dialect = Dialect::Postgres { escapes: false };
    const MYSQL: Dialect = Dialect::Mysql { escapes: true };

    fn words(text: &str, dialect: Dialect) -> Vec<String> {
        let word = |token: &Token<'_>| {
            let inside = String::from_utf8_lossy(token.text());
            let is_quoted = token.place().len() > inside.len();
            match (token.is_literal(), is_quoted) {
                (true, _) => "?".to_owned(),
                (false, true) => format!("\"{inside}\""),
                (false, false) => inside.into_owned(),
            }
        };
        let statement = |tokens: &Vec<_>| tokens.iter().map(word).collect::<Vec<_>>().join(" ");
        statements(text.as_bytes(), dialect).iter().map(statement).collect()
    }

    #[test]
    fn comments_and_strings_hide_what_they_hold() {
        for (text, expected) in [
            ("", vec![]),
            (" ;; -- SET\n /* SET /* SET */ ; */", vec![]),
            ("/*+++ a = 1 +++*/ SET\u{b}x = '1;2'", vec!["SET x = ?"]),
            ("SELECT 'it''s; SET' ; COMMIT", vec!["SELECT ?", "COMMIT"]),
            (r"SELECT e'\'; SET', E'\\', 'x\'; END", vec!["SELECT ? , ? , ?", "END"]),
            ("SELECT $$;'$$, $a$ $$ ; $b$ $a$, $1;x", vec!["SELECT ? , ? , ?", "x"]),
            ("a$b$c \"SET;\"\"x\" é", vec!["a$b$c \"SET;\"\"x\" é"]),
            ("1e5.2::x", vec!["? : : x"]),
            ("'open", vec!["?"]),
            ("$x$ open", vec!["?"]),
            ("$", vec!["?"]),
            ("/* open", vec![]),
            ("\"open", vec!["\"open\""]),
        ] {
            assert_eq!(words(text, POSTGRES), expected, "{text}");
        }
        let escapes = Dialect::Postgres { escapes: true };
        assert_eq!(
            words(r#"SELECT 'a\'; SET', $$\$$, "b\", n'\''; END"#, escapes),
            [r#"SELECT ? , ? , "b\" , ?"#, "END"]
        );
    }

    #[test]
    fn mysql_has_other_comments_strings_and_names() {
        for (text, expected) in [
            ("# SET\n-- x\n/* a /* b */ COMMIT", vec!["COMMIT"]),
            ("SELECT 1--1", vec!["SELECT ? - - ?"]),
            (r#"SELECT "it\"; x", 'a\'; b' ; END"#, vec!["SELECT ? , ?", "END"]),
            ("SELECT `a;b`, $$ FROM t", vec!["SELECT \"a;b\" , $$ FROM t"]),
            ("/*!50003 COMMIT */; /*M! END */ /*+ SET */", vec!["COMMIT", "END"]),
            (r"SELECT 'a\'; x', e'\'; y'", vec!["SELECT ? , ?"]),
            ("SELECT \0 1", vec!["SELECT ?"]),
        ] {
            assert_eq!(words(text, MYSQL), expected, "{text}");
        }
        let standard = Dialect::Mysql { escapes: false };
        assert_eq!(
            words(r"SELECT 'a\'; SELECT 'b\', n'\'", standard),
            ["SELECT ?", "SELECT ? , ?"]
        );
    }

    #[test]
    fn a_token_knows_its_place() {
        let sql = b"a /* \xff */ 'it''s' `b` \"c\" x'00'";
        let all: Vec<_> =
            tokens(sql, MYSQL).map(|token| (token.text(), &sql[token.place()])).collect();
        let expected: [(&[u8], &[u8]); 5] = [
            (b"a", b"a"),
            (b"it''s", b"'it''s'"),
            (b"b", b"`b`"),
            (b"c", b"\"c\""),
            (b"00", b"x'00'"),
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_semicolon_inside_a_statement_does_not_end_it() {
        let rule = "CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2)";
        assert_eq!(words(&format!("{rule}; SELECT 3"), POSTGRES).len(), 2);
        let body = "BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        for head in ["CREATE FUNCTION f() RETURNS int", "create or replace procedure p()"] {
            assert_eq!(words(&format!("{head} {body}; COMMIT"), POSTGRES).len(), 2, "{head}");
        }
        assert_eq!(words("BEGIN; SELECT CASE WHEN true THEN 1 END; END", POSTGRES).len(), 3);
        let body = "BEGIN IF a THEN SET b = 1; END IF; CASE a WHEN 1 THEN BEGIN END; END CASE; \
                    WHILE a DO COMMIT; END WHILE; END";
        for head in [
            "CREATE DEFINER = `a`@`%` PROCEDURE p()",
            "CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW",
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO",
        ] {
            assert_eq!(words(&format!("{head} {body}; COMMIT"), MYSQL).len(), 2, "{head}");
        }
        let compound = body.replacen("BEGIN", "BEGIN NOT ATOMIC", 1);
        assert_eq!(words(&format!("{compound}; COMMIT"), MYSQL).len(), 2);
    }
}
