//! SQL as words and signs, without comments and without the insides of strings: enough to see which
//! statements a text holds, by the rules of [PostgreSQL] and of [MySQL], and where their words are.
//!
//! [PostgreSQL]: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
//! [MySQL]: https://dev.mysql.com/doc/refman/8.4/en/language-structure.html

use std::ops::Range;

/// Whose rules a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Comments nest, strings may stand in dollars, and double quotes hold names.
    Postgres,
    /// `#` begins a comment, `/*! … */` is none, and backquotes hold names.
    Mysql {
        /// Whether a backslash escapes in a string, as it does without NO_BACKSLASH_ESCAPES.
        escapes: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A keyword, or a name without quotes.
    Word,
    /// A quoted name.
    Name,
    /// A string, a number or a parameter.
    Literal,
    /// Any other character.
    Sign,
}

/// One piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    kind: Kind,
    /// Without its quotes.
    text: &'a [u8],
    from: usize,
    to: usize,
}

impl<'a> Token<'a> {
    /// Whether it is this keyword.
    pub(super) fn is(self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Whether it is one of these keywords.
    pub(super) fn is_any(self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    pub(super) fn is_sign(self, sign: u8) -> bool {
        self.kind == Kind::Sign && self.text == [sign]
    }

    pub(super) fn is_literal(self) -> bool {
        self.kind == Kind::Literal
    }

    /// The name of an object as PostgreSQL reads it: without quotes, in lower case. A keyword is one, too.
    pub(super) fn name(self) -> Option<String> {
        let name = String::from_utf8_lossy(self.text);
        match self.kind {
            Kind::Word => Some(name.to_ascii_lowercase()),
            Kind::Name => Some(name.into_owned()),
            Kind::Literal | Kind::Sign => None,
        }
    }

    /// Whether it names this object, whose name is in lower case.
    pub(super) fn names(self, object: &str) -> bool {
        self.name().is_some_and(|name| name == object)
    }

    /// The text without its quotes.
    pub(super) fn text(self) -> &'a [u8] {
        self.text
    }

    /// Where it stands, with its quotes.
    pub(super) fn place(self) -> Range<usize> {
        self.from..self.to
    }
}

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

/// Everything but blanks and comments.
pub(super) fn tokens(text: &[u8], dialect: Dialect) -> impl Iterator<Item = Token<'_>> {
    Scanner { text, at: 0, dialect }
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

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    dialect: Dialect,
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let from = self.at;
        let first = *self.rest().first()?;
        let is_mysql = self.is_mysql();
        let escapes = matches!(self.dialect, Dialect::Mysql { escapes: true });
        let (kind, text) = match first {
            b'\'' => (Kind::Literal, self.quoted(b'\'', escapes)),
            b'"' if is_mysql => (Kind::Literal, self.quoted(b'"', escapes)),
            b'`' if is_mysql => (Kind::Name, self.quoted(b'`', false)),
            b'"' => (Kind::Name, self.quoted(b'"', false)),
            b'$' if !is_mysql => (Kind::Literal, self.dollar()),
            b'0'..=b'9' => {
                (Kind::Literal, self.take_while(|byte| is_in_word(byte) || byte == b'.'))
            }
            byte if is_in_word(byte) => {
                let word = self.take_while(is_in_word);
                let is_escaped = word.eq_ignore_ascii_case(b"E") && !is_mysql;
                let is_prefix = ["E", "B", "X", "N"]
                    .iter()
                    .any(|prefix| word.eq_ignore_ascii_case(prefix.as_bytes()));
                if is_prefix && self.rest().starts_with(b"'") {
                    (Kind::Literal, self.quoted(b'\'', escapes || is_escaped))
                } else {
                    (Kind::Word, word)
                }
            }
            _ => (Kind::Sign, self.take(1)),
        };
        Some(Token { kind, text, from, to: self.at })
    }
}

impl<'a> Scanner<'a> {
    fn is_mysql(&self) -> bool {
        self.dialect != Dialect::Postgres
    }

    fn rest(&self) -> &'a [u8] {
        &self.text[self.at..]
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let rest = self.rest();
        let taken = &rest[..length.min(rest.len())];
        self.at += taken.len();
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        self.take(rest.iter().position(|byte| !wanted(*byte)).unwrap_or(rest.len()))
    }

    /// Skips blanks and comments.
    fn skip_blanks(&mut self) {
        let is_mysql = self.is_mysql();
        let is_blank =
            |byte: u8| byte.is_ascii_whitespace() || byte == 0xb || is_mysql && byte == 0;
        loop {
            self.take_while(is_blank);
            match self.rest() {
                // In MySQL, a blank must follow: 1--1 is 2.
                [b'-', b'-', next @ ..] if !is_mysql || next.first().is_none_or(|b| *b <= b' ') => {
                    self.skip_line();
                }
                [b'#', ..] if is_mysql => self.skip_line(),
                // The server runs what such a comment holds; a version may stand first.
                [b'/', b'*', b'!', version @ ..] | [b'/', b'*', b'M', b'!', version @ ..]
                    if is_mysql =>
                {
                    let digits = version.iter().take(6).take_while(|byte| byte.is_ascii_digit());
                    self.at = self.text.len() - version.len() + digits.count();
                }
                [b'*', b'/', ..] if is_mysql => self.at += 2,
                [b'/', b'*', ..] => self.skip_comment(),
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        let is_mysql = self.is_mysql();
        self.take_while(|byte| byte != b'\n' && (is_mysql || byte != b'\r'));
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.rest() {
                [b'/', b'*', ..] => {
                    depth = if self.is_mysql() { 1 } else { depth + 1 };
                    self.at += 2;
                }
                [b'*', b'/', ..] => {
                    depth -= 1;
                    self.at += 2;
                }
                _ => self.at += 1,
            }
            if depth == 0 || self.rest().is_empty() {
                return;
            }
        }
    }

    /// What stands between two quotes. A doubled quote does not end it, and with `escapes`, neither does
    /// one behind a backslash.
    fn quoted(&mut self, quote: u8, escapes: bool) -> &'a [u8] {
        self.at += 1;
        let rest = self.rest();
        let mut at = 0;
        while let Some(byte) = rest.get(at) {
            if escapes && *byte == b'\\' || *byte == quote && rest.get(at + 1) == Some(&quote) {
                at += 1;
            } else if *byte == quote {
                self.at += at + 1;
                return &rest[..at];
            }
            at += 1;
        }
        self.at = self.text.len();
        rest
    }

    /// A string in dollars, such as `$$ … $$` and `$tag$ … $tag$`; or a parameter.
    fn dollar(&mut self) -> &'a [u8] {
        let rest = self.rest();
        let tag = rest[1..].iter().position(|byte| !is_in_word(*byte) || *byte == b'$');
        let tag = tag.map(|length| &rest[..length + 1]).filter(|tag| {
            rest[tag.len()..].starts_with(b"$") && !tag.get(1).is_some_and(u8::is_ascii_digit)
        });
        match tag {
            Some(tag) => {
                let end = &rest[..tag.len() + 1];
                let inside = &rest[end.len()..];
                let found = inside.windows(end.len()).position(|window| window == end);
                self.take(found.map_or(rest.len(), |at| at + 2 * end.len()))
            }
            None => {
                self.at += 1;
                self.take_while(is_in_word)
            }
        }
    }
}

fn is_in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    use Dialect::Postgres;

    const MYSQL: Dialect = Dialect::Mysql { escapes: true };

    fn words(text: &str, dialect: Dialect) -> Vec<String> {
        let word = |token: &Token<'_>| {
            let text = String::from_utf8_lossy(token.text);
            match token.kind {
                Kind::Name => format!("\"{text}\""),
                Kind::Literal => "?".to_owned(),
                Kind::Word | Kind::Sign => text.into_owned(),
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
            assert_eq!(words(text, Postgres), expected, "{text}");
        }
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
            tokens(sql, MYSQL).map(|token| (token.text, &sql[token.place()])).collect();
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
        assert_eq!(words(&format!("{rule}; SELECT 3"), Postgres).len(), 2);
        let body = "BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END";
        for head in ["CREATE FUNCTION f() RETURNS int", "create or replace procedure p()"] {
            assert_eq!(words(&format!("{head} {body}; COMMIT"), Postgres).len(), 2, "{head}");
        }
        assert_eq!(words("BEGIN; SELECT CASE WHEN true THEN 1 END; END", Postgres).len(), 3);
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
