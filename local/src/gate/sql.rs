//! SQL as words and signs, without comments and without the insides of strings: enough to see which
//! statements a text holds, by the rules of [PostgreSQL] and of [MySQL].
//!
//! [PostgreSQL]: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
//! [MySQL]: https://dev.mysql.com/doc/refman/8.4/en/language-structure.html

/// Whose rules a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Comments nest, strings may stand in dollars, and double quotes hold names.
    Postgres,
    /// `#` begins a comment, `/*! … */` is none, backslashes escape, and backquotes hold names.
    Mysql,
}

/// One piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, or a name without quotes.
    Word(&'a str),
    /// A quoted name, without its quotes.
    Name(&'a str),
    /// A string, a number or a parameter.
    Literal,
    /// Any other character.
    Sign(char),
}

impl Token<'_> {
    /// Whether it is this keyword.
    pub(super) fn is(self, keyword: &str) -> bool {
        matches!(self, Self::Word(word) if word.eq_ignore_ascii_case(keyword))
    }

    /// Whether it is one of these keywords.
    pub(super) fn is_any(self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    /// Whether it names this object, whose name is in lower case.
    pub(super) fn names(self, object: &str) -> bool {
        match self {
            Self::Name(name) => name == object,
            word => word.is(object),
        }
    }
}

/// The statements of a text, in order. A statement of nothing but comments is none.
pub(super) fn statements(text: &str, dialect: Dialect) -> Vec<Vec<Token<'_>>> {
    let mut statements = Vec::new();
    let mut statement = Vec::new();
    let mut depth = Depth::default();
    for token in (Scanner { text, at: 0, dialect }) {
        if token == Token::Sign(';') && depth.is_outside() {
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
/// written as `BEGIN ATOMIC … END`.
#[derive(Default)]
struct Depth {
    parentheses: usize,
    blocks: usize,
}

impl Depth {
    fn is_outside(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn enter(&mut self, token: Token<'_>, before: &[Token<'_>]) {
        let is_routine = || {
            before.first().is_some_and(|first| first.is("CREATE"))
                && before.iter().take(4).any(|word| word.is_any(&["FUNCTION", "PROCEDURE"]))
        };
        match token {
            Token::Sign('(') => self.parentheses += 1,
            Token::Sign(')') => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word(_) if token.is_any(&["BEGIN", "CASE"]) && is_routine() => self.blocks += 1,
            Token::Word(_) if token.is("END") => self.blocks = self.blocks.saturating_sub(1),
            _ => {}
        }
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    dialect: Dialect,
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let first = self.rest().chars().next()?;
        let is_mysql = self.dialect == Dialect::Mysql;
        Some(match first {
            '\'' => self.string('\'', is_mysql),
            '"' if is_mysql => self.string('"', true),
            '`' if is_mysql => Token::Name(self.quoted('`', false)),
            '"' => Token::Name(self.quoted('"', false)),
            '$' if !is_mysql => self.dollar(),
            '0'..='9' => {
                self.take_while(|c| is_in_word(c) || c == '.');
                Token::Literal
            }
            c if is_in_word(c) => {
                let word = self.take_while(is_in_word);
                let escapes = word.eq_ignore_ascii_case("E");
                let is_prefix =
                    escapes || ["B", "X", "N"].iter().any(|p| word.eq_ignore_ascii_case(p));
                if is_prefix && self.rest().starts_with('\'') {
                    self.string('\'', escapes || is_mysql)
                } else {
                    Token::Word(word)
                }
            }
            other => {
                self.at += other.len_utf8();
                Token::Sign(other)
            }
        })
    }
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(|c| !wanted(c)).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    /// Skips blanks and comments.
    fn skip_blanks(&mut self) {
        let is_mysql = self.dialect == Dialect::Mysql;
        loop {
            self.take_while(|c| c.is_ascii_whitespace() || c == '\u{b}');
            let rest = self.rest();
            // In MySQL, a blank must follow: 1--1 is 2.
            let dashes = rest.strip_prefix("--").filter(|rest| {
                !is_mysql || rest.chars().next().is_none_or(|c| c.is_ascii_whitespace())
            });
            if dashes.is_some() || is_mysql && rest.starts_with('#') {
                self.take_while(|c| c != '\n' && (is_mysql || c != '\r'));
            } else if is_mysql && (rest.starts_with("/*!") || rest.starts_with("/*M!")) {
                // The server runs what such a comment holds; a version may stand first.
                self.at += rest.find('!').unwrap_or_default() + 1;
                self.take_while(|c| c.is_ascii_digit());
            } else if is_mysql && rest.starts_with("*/") {
                self.at += 2;
            } else if rest.starts_with("/*") {
                self.skip_comment();
            } else {
                return;
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth = if self.dialect == Dialect::Postgres { depth + 1 } else { 1 };
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
            } else {
                self.at += rest.chars().next().map_or(0, char::len_utf8);
            }
            if depth == 0 || self.rest().is_empty() {
                return;
            }
        }
    }

    fn string(&mut self, quote: char, escapes: bool) -> Token<'a> {
        self.quoted(quote, escapes);
        Token::Literal
    }

    /// What stands between two quotes. A doubled quote does not end it, and with `escapes`, neither does
    /// one behind a backslash.
    fn quoted(&mut self, quote: char, escapes: bool) -> &'a str {
        self.at += 1;
        let rest = self.rest();
        let mut inside = rest.char_indices().peekable();
        while let Some((at, c)) = inside.next() {
            if escapes && c == '\\' {
                inside.next();
            } else if c == quote && inside.next_if(|(_, next)| *next == quote).is_none() {
                self.at += at + 1;
                return &rest[..at];
            }
        }
        self.at = self.text.len();
        rest
    }

    /// A string in dollars, such as `$$ … $$` and `$tag$ … $tag$`; or a parameter.
    fn dollar(&mut self) -> Token<'a> {
        let rest = self.rest();
        let tag = rest[1..].find(|c| !is_in_word(c) || c == '$').map(|length| &rest[..length + 1]);
        let tag = tag.filter(|tag| {
            rest[tag.len()..].starts_with('$')
                && !tag[1..].starts_with(|c: char| c.is_ascii_digit())
        });
        match tag {
            Some(tag) => {
                let end = &rest[..tag.len() + 1];
                let inside = &rest[end.len()..];
                self.at += inside.find(end).map_or(rest.len(), |at| at + 2 * end.len());
            }
            None => {
                self.at += 1;
                self.take_while(is_in_word);
            }
        }
        Token::Literal
    }
}

fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    use Dialect::{Mysql, Postgres};

    fn words(text: &str, dialect: Dialect) -> Vec<String> {
        let word = |token: &Token<'_>| match token {
            Token::Word(word) => (*word).to_owned(),
            Token::Name(name) => format!("\"{name}\""),
            Token::Literal => "?".to_owned(),
            Token::Sign(sign) => sign.to_string(),
        };
        let statement = |tokens: &Vec<_>| tokens.iter().map(word).collect::<Vec<_>>().join(" ");
        statements(text, dialect).iter().map(statement).collect()
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
        ] {
            assert_eq!(words(text, Mysql), expected, "{text}");
        }
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
    }
}
