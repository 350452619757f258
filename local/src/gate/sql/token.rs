//! SQL as words and signs, without comments and without the insides of strings, by the rules of [PostgreSQL]
//! and of [MySQL].
//!
//! [PostgreSQL]: https://www.postgresql.org/docs/current/sql-syntax-lexical.html
//! [MySQL]: https://dev.mysql.com/doc/refman/8.4/en/language-structure.html

use std::ops::Range;

/// Whose rules a text follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gate) enum Dialect {
    /// Comments nest, strings may stand in dollars, and double quotes hold names.
    Postgres {
        /// Whether a backslash escapes in a plain string, as it does without standard_conforming_strings.
        escapes: bool,
    },
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
pub(in crate::gate) struct Token<'a> {
    kind: Kind,
    /// Without its quotes.
    text: &'a [u8],
    from: usize,
    to: usize,
}

impl<'a> Token<'a> {
    /// Whether it is this keyword.
    pub(in crate::gate) fn is(self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword.as_bytes())
    }

    /// Whether it is one of these keywords.
    pub(in crate::gate) fn is_any(self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    pub(in crate::gate) fn is_sign(self, sign: u8) -> bool {
        self.kind == Kind::Sign && self.text == [sign]
    }

    pub(in crate::gate) fn is_literal(self) -> bool {
        self.kind == Kind::Literal
    }

    /// The name of an object as PostgreSQL reads it: without quotes, in lower case. A keyword is one, too.
    pub(in crate::gate) fn name(self) -> Option<String> {
        let name = String::from_utf8_lossy(self.text);
        match self.kind {
            Kind::Word => Some(name.to_ascii_lowercase()),
            Kind::Name => Some(name.into_owned()),
            Kind::Literal | Kind::Sign => None,
        }
    }

    /// Whether it names this object, whose name is in lower case.
    pub(in crate::gate) fn names(self, object: &str) -> bool {
        self.name().is_some_and(|name| name == object)
    }

    /// The text without its quotes.
    pub(in crate::gate) fn text(self) -> &'a [u8] {
        self.text
    }

    /// Where it stands, with its quotes.
    pub(in crate::gate) fn place(self) -> Range<usize> {
        self.from..self.to
    }
}

/// Everything but blanks and comments.
pub(in crate::gate) fn tokens(text: &[u8], dialect: Dialect) -> impl Iterator<Item = Token<'_>> {
    Scanner { text, at: 0, dialect }
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
        let (Dialect::Postgres { escapes } | Dialect::Mysql { escapes }) = self.dialect;
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
        matches!(self.dialect, Dialect::Mysql { .. })
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

    /// The text between two quotes. A doubled quote does not end it, and with `escapes`, neither does
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
