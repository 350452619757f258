//! MySQL's lexical rules, as far as they decide which words of a text are SQL.
//!
//! <https://dev.mysql.com/doc/refman/8.4/en/lexical-structure.html>. A comment `/*! … */` is SQL on one
//! server and a comment on another, by its version; so is `/*M! … */`. Where a string with a backslash ends
//! depends on `sql_mode`: NO_BACKSLASH_ESCAPES, and ANSI_QUOTES for double quotes. A [`Reading`] says which
//! comments run, and what a backslash is; who must be certain asks all of them.

/// A part of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    /// As it is written.
    pub(super) text: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, or a name without quotes.
    Word,
    /// A name that cannot be a keyword: in backquotes, or behind a period.
    Name,
    /// `@name`, with the `@`.
    Variable,
    /// A string, a number, or a system variable.
    Value,
    /// Any other character.
    Mark,
}

impl Token<'_> {
    /// Whether this is that keyword, which is given in capitals.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(keyword)
    }

    pub(super) fn is_one_of(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }

    pub(super) fn is_mark(&self, mark: &str) -> bool {
        self.kind == Kind::Mark && self.text == mark
    }
}

/// How many comments of a text some server may run; strings that look like one count too.
fn executable_comments(text: &str) -> usize {
    text.matches("/*!").count() + text.matches("/*M!").count()
}

/// Each executable comment doubles the readings of a text.
const MOST_EXECUTABLE_COMMENTS: usize = 8;

/// One way to read a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    /// The comment with index n runs if bit n is set.
    running: u32,
    /// A backslash is a character like any other: in single quotes, and in double quotes.
    plain_backslash: [bool; 2],
}

/// All ways in which servers may read a text; `None` if there are too many.
pub(super) fn readings(text: &str) -> Option<impl Iterator<Item = Reading>> {
    let comments = executable_comments(text);
    let backslashes = if text.contains('\\') { 4 } else { 1 };
    let of = move |running: u32| {
        (0..backslashes)
            .map(move |n| Reading { running, plain_backslash: [n & 1 != 0, n & 2 != 0] })
    };
    (comments <= MOST_EXECUTABLE_COMMENTS).then(|| (0..1_u32 << comments).flat_map(of))
}

/// The tokens of a text.
pub(super) fn tokens(text: &str, reading: Reading) -> Vec<Token<'_>> {
    let mut lexer =
        Lexer { text, at: 0, reading, comments: 0, inside: false, period_ends: usize::MAX };
    std::iter::from_fn(|| lexer.next()).collect()
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    reading: Reading,
    /// The number of executable comments so far.
    comments: u32,
    /// Whether the text here is in an executable comment that runs.
    inside: bool,
    /// Where the last period ended that is a token of its own.
    period_ends: usize,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let rest = &self.text[self.at..];
        let first = *rest.as_bytes().first()?;
        let after_period = self.period_ends == self.at;
        let (kind, length) = match first {
            b'\'' | b'"' => (Kind::Value, self.quoted(rest, first)),
            b'`' => (Kind::Name, self.quoted(rest, first)),
            b'@' => self.variable(rest),
            // NULL, whatever comes next: `\NINTO` is `\N INTO`.
            b'\\' if rest.as_bytes().get(1) == Some(&b'N') => (Kind::Value, 2),
            b'.' if number_follows(rest) && !self.ends_name() => {
                (Kind::Value, 1 + digits(&rest[1..]))
            }
            b'0'..=b'9' if !after_period => number(rest),
            _ if is_name(first) => {
                let kind = if after_period { Kind::Name } else { Kind::Word };
                (kind, name(rest))
            }
            _ => (Kind::Mark, rest.chars().next().map_or(1, char::len_utf8)),
        };
        self.at += length;
        if (kind, first) == (Kind::Mark, b'.') {
            self.period_ends = self.at;
        }
        Some(Token { kind, text: &rest[..length] })
    }

    /// The length of a string or of a quoted name. A quotation mark inside is written twice.
    fn quoted(&self, text: &str, mark: u8) -> usize {
        let [single, double] = self.reading.plain_backslash;
        let escapes = mark == b'\'' && !single || mark == b'"' && !double;
        let bytes = text.as_bytes();
        let mut at = 1;
        while at < bytes.len() {
            match bytes[at] {
                b'\\' if escapes => at += 2,
                byte if byte == mark && bytes.get(at + 1) == Some(&mark) => at += 2,
                byte if byte == mark => return at + 1,
                _ => at += 1,
            }
        }
        bytes.len()
    }

    /// `@name`, `@'name'`, or the system variable `@@name`.
    fn variable(&self, text: &str) -> (Kind, usize) {
        let rest = &text[1..];
        let plain =
            |text: &str| text.bytes().take_while(|byte| is_name(*byte) || *byte == b'.').count();
        match rest.as_bytes().first() {
            Some(b'@') => (Kind::Value, 2 + plain(&rest[1..])),
            Some(mark @ (b'\'' | b'"' | b'`')) => (Kind::Variable, 1 + self.quoted(rest, *mark)),
            _ => (Kind::Variable, 1 + plain(rest)),
        }
    }

    /// Whether a name without quotes ends here.
    fn ends_name(&self) -> bool {
        self.at > 0 && is_name(self.text.as_bytes()[self.at - 1])
    }

    /// Skips white space, comments, and the ends of comments that run.
    fn skip_blanks(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let bytes = rest.as_bytes();
            self.at += match bytes {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, ..] => 1,
                [b'#', ..] => line(rest),
                // Without a blank, the second minus is a sign.
                [b'-', b'-'] => 2,
                [b'-', b'-', next, ..] if *next <= b' ' || *next == 0x7f => line(rest),
                [b'*', b'/', ..] if self.inside => {
                    self.inside = false;
                    2
                }
                [b'/', b'*', b'!', ..] => self.executable(rest, 3),
                [b'/', b'*', b'M', b'!', ..] => self.executable(rest, 4),
                [b'/', b'*', ..] => comment(rest, false),
                _ => return,
            };
        }
    }

    /// The length of an executable comment's start if it runs, or else of all of it.
    fn executable(&mut self, rest: &str, start: usize) -> usize {
        let runs =
            1_u32.checked_shl(self.comments).is_some_and(|bit| self.reading.running & bit != 0);
        self.comments += 1;
        if !runs {
            return comment(rest, true);
        }
        self.inside = true;
        // The version has five digits or six.
        let version = digits(&rest[start..]).min(6);
        if version >= 5 { start + version } else { start }
    }
}

/// The length of a comment up to the end of its line.
fn line(text: &str) -> usize {
    text.find('\n').map_or(text.len(), |end| end + 1)
}

/// The length of a comment, which ends at the first `*/`. In an executable comment that does not run,
/// a comment may be inside.
fn comment(text: &str, nested: bool) -> usize {
    let bytes = text.as_bytes();
    let mut at = 2;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'*', b'/', ..] => return at + 2,
            [b'/', b'*', ..] if nested => at += comment(&text[at..], false),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// A number, or a name that begins with digits. A keyword can follow a number without a blank: `1.5INTO`.
fn number(text: &str) -> (Kind, usize) {
    let whole = digits(text);
    let rest = &text[whole..];
    let fraction = rest.strip_prefix('.').map_or(0, |after| 1 + digits(after));
    let exponent = exponent(&rest[fraction..]);
    match fraction + exponent {
        0 if rest.bytes().next().is_some_and(is_name) => (Kind::Word, name(text)),
        more => (Kind::Value, whole + more),
    }
}

fn exponent(text: &str) -> usize {
    let sign = match text.as_bytes() {
        [b'e' | b'E', b'+' | b'-', ..] => 2,
        [b'e' | b'E', ..] => 1,
        _ => return 0,
    };
    match digits(&text[sign..]) {
        0 => 0,
        length => sign + length,
    }
}

fn number_follows(text: &str) -> bool {
    text.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Whether a byte is of a name without quotes: every byte of a character beyond ASCII is.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

fn name(text: &str) -> usize {
    text.bytes().take_while(|byte| is_name(*byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, running: u32) -> String {
        let reading = Reading { running, ..Reading::default() };
        let words = tokens(text, reading).into_iter().filter(|token| token.kind == Kind::Word);
        words.map(|token| token.text).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_sql_has_words() {
        for (text, expected) in [
            ("SELECT 'it\\'s DROP', \"a \\\" b\", 'a''b' -- x\nFROM t # y", "SELECT FROM t"),
            ("SELECT `a``DROP`, t.into, t . into, db.`x`", "SELECT t t into db"),
            ("SELECT 1--1 AS n", "SELECT AS n"),
            ("/* a /* b */ SELECT 1", "SELECT"),
            ("/*+++ mode */ SELECT /*+ MAX_EXECUTION_TIME(1) */ é$1", "SELECT é$1"),
            ("-- a\rDROP\nSELECT", "SELECT"),
            ("SELECT 1.INTO", "SELECT INTO"),
            ("SELECT \\NINTO, \\N", "SELECT INTO"),
            ("SELECT .5INTO, 1e5INTO, 1.5e-3INTO, 5INTO, t.5INTO", "SELECT INTO INTO INTO 5INTO t"),
            ("SELECT @into, @'a into', @@session.into, @`x y`", "SELECT"),
            ("SELECT 'open DROP", "SELECT"),
            ("SELECT `open DROP", "SELECT"),
            ("/* open DROP", ""),
            ("--", ""),
        ] {
            assert_eq!(words(text, 0), expected, "{text}");
        }
    }

    #[test]
    fn executable_comments_run_or_do_not() {
        let text = "/*!50704 SELECT */ /*M!100101DROP*/ x /*! a /* b */ c */ d";
        assert_eq!(executable_comments(text), 3);
        assert_eq!(words(text, 0b111), "SELECT DROP x a c d");
        assert_eq!(words(text, 0b010), "DROP x d");
        assert_eq!(words(text, 0), "x d");
        // A comment that does not run has no strings.
        let text = "/*!99999 '*/ DROP -- '*/";
        assert_eq!((words(text, 0), words(text, 1)), ("DROP".into(), String::new()));
        assert_eq!(words("/*!123 x */", 1), "x");
        assert_eq!(words("/*m! x */ y", 1), "y");
    }

    #[test]
    fn broken_texts_end() {
        for text in
            ["'", "\"\\", "`", "@", "@@", "@'", "/*", "/*!", "/*M!", "*/", "1.", ".", "é'é", "\\"]
        {
            for reading in readings(text).unwrap() {
                let _ = tokens(text, reading);
            }
        }
    }
}
