//! The words of SQL, as far as the gate reads it: outside strings and comments. What is in a comment that
//! MariaDB may run, `/*! … */`, counts as words.

use std::ops::Range;

/// A part of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    kind: Kind,
    /// Without the quotes.
    text: &'a [u8],
    pub(super) place: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    Quoted,
    Mark,
}

impl Token<'_> {
    /// Whether this is that keyword, in any case.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.is(word)
    }

    /// Whether this is that text in any case, as a word or between quotes.
    pub(super) fn is(&self, text: &str) -> bool {
        self.text.eq_ignore_ascii_case(text.as_bytes())
    }

    pub(super) fn is_quoted(&self, text: &str) -> bool {
        self.kind == Kind::Quoted && self.is(text)
    }

    fn ends_statement(&self) -> bool {
        self.kind == Kind::Mark && self.text == b";"
    }
}

/// The first word of each statement, in capitals.
pub(super) fn first_words(sql: &[u8]) -> Vec<String> {
    let tokens = tokens(sql);
    let statements = tokens.split(Token::ends_statement);
    let firsts = statements.filter_map(|statement| statement.first());
    firsts.map(|first| String::from_utf8_lossy(first.text).to_ascii_uppercase()).collect()
}

/// Everything but white space and comments.
pub(super) fn tokens(sql: &[u8]) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < sql.len() {
        let rest = &sql[at..];
        let (kind, length) = match rest {
            [quote @ (b'\'' | b'"' | b'`'), ..] => (Some(Kind::Quoted), quoted(rest, *quote)),
            [b'#', ..] => (None, up_to(rest, b"\n")),
            [b'-', b'-'] => (None, 2),
            [b'-', b'-', blank, ..] if *blank <= b' ' => (None, up_to(rest, b"\n")),
            [b'/', b'*', b'!', ..] => (None, 3 + version(&rest[3..])),
            [b'/', b'*', b'M', b'!', ..] => (None, 4 + version(&rest[4..])),
            [b'/', b'*', ..] => (None, 2 + up_to(&rest[2..], b"*/")),
            // The end of a comment that may run.
            [b'*', b'/', ..] => (None, 2),
            [blank, ..] if blank.is_ascii_whitespace() || *blank == 0 => (None, 1),
            [letter, ..] if is_name(*letter) => {
                (Some(Kind::Word), rest.iter().take_while(|byte| is_name(**byte)).count())
            }
            _ => (Some(Kind::Mark), 1),
        };
        let place = at..at + length;
        at += length;
        if let Some(kind) = kind {
            let text = match (kind, &sql[place.clone()]) {
                (Kind::Quoted, [_, inner @ .., _]) => inner,
                (_, text) => text,
            };
            tokens.push(Token { kind, text, place });
        }
    }
    tokens
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

/// The length of a quoted text, which may end without its quote.
fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' if quote != b'`' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

fn up_to(text: &[u8], end: &[u8]) -> usize {
    let found = text.windows(end.len()).position(|window| window == end);
    found.map_or(text.len(), |at| at + end.len())
}

fn version(text: &[u8]) -> usize {
    text.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_have_first_words() {
        for (sql, expected) in [
            ("select 1; COMMIT", "SELECT COMMIT"),
            ("/* a */ COMMIT; -- b\n# c ;\n", "COMMIT"),
            ("SET @a = 'x; ROLLBACK', @b = \"it\\\"s;\"; `a`", "SET A"),
            ("/*!50000 COMMIT */", "COMMIT"),
            ("", ""),
            (";;", ""),
            ("SELECT 'open ; COMMIT", "SELECT"),
        ] {
            assert_eq!(first_words(sql.as_bytes()).join(" "), expected.trim(), "{sql}");
        }
    }
}
