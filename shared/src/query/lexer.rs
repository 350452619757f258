//! The part of PostgreSQL's lexical rules that finds comments and where each token ends.
//!
//! <https://www.postgresql.org/docs/current/sql-syntax-lexical.html>. The rules are those of
//! `standard_conforming_strings = on`, PostgreSQL's default since 9.1.

/// No comment begins with it.
const NO_STOP: &str = "\0";

/// Where the first token begins that is neither white space nor a comment. Stops before a comment
/// that begins with `stop`.
pub(super) fn skip_comments(text: &str, stop: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let step = match comment(rest) {
            Some(_) if rest.starts_with(stop) => return at,
            Some(length) => length,
            None => match rest.chars().next() {
                Some(c) if is_space(c) => c.len_utf8(),
                _ => return at,
            },
        };
        at += step;
    }
}

/// The tokens of a text and their places, without white space and comments.
fn placed_tokens(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += skip_comments(&text[at..], NO_STOP);
        let length = token(&text[at..]);
        let found = (at, &text[at..at + length]);
        at += length;
        (length > 0).then_some(found)
    })
}

/// The place of the `;` that is the last token, if it is one.
pub(super) fn last_semicolon(text: &str) -> Option<usize> {
    placed_tokens(text).last().filter(|(_, token)| *token == ";").map(|(at, _)| at)
}

/// The place of the first `)` that closes no parenthesis.
#[cfg(feature = "postgres")]
pub(crate) fn extra_parenthesis(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    let extra = placed_tokens(text).find(|(_, token)| match *token {
        ")" if open == 0 => true,
        ")" => {
            open -= 1;
            false
        }
        token => {
            open += usize::from(token == "(");
            false
        }
    });
    extra.map(|(at, _)| at)
}

/// The tokens of a text, without white space and comments. A string that is written in several parts is
/// several tokens.
#[cfg(feature = "postgres")]
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = &rest[skip_comments(rest, NO_STOP)..];
        let first = rest.chars().next()?;
        let length = match first {
            '0'..='9' => rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '.'),
            '$' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                rest[1..].find(|c: char| !c.is_ascii_digit()).map(|end| end + 1)
            }
            ':' if rest.starts_with("::") => Some(2),
            c if is_operator(c) => Some(operator(rest)),
            _ => Some(token(rest)),
        };
        let (token, after) = rest.split_at(length.unwrap_or(rest.len()));
        rest = after;
        Some(token)
    })
}

/// The length of the operator that a text begins with: it ends before a comment, and a sign at its end
/// belongs to what follows, unless the operator has a character that standard SQL's have not.
#[cfg(feature = "postgres")]
fn operator(text: &str) -> usize {
    let end = text.find(|c: char| !is_operator(c)).unwrap_or(text.len());
    let comment = ["--", "/*"].into_iter().filter_map(|start| text[..end].find(start)).min();
    let mut operator = &text[..comment.unwrap_or(end)];
    if !operator.contains(['~', '!', '@', '#', '%', '^', '&', '|', '`', '?']) {
        while operator.len() > 1 && operator.ends_with(['+', '-']) {
            operator = &operator[..operator.len() - 1];
        }
    }
    operator.len()
}

#[cfg(feature = "postgres")]
fn is_operator(c: char) -> bool {
    "+-*/<>=~!@#%^&|`?".contains(c)
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c' | '\x0b')
}

fn begins_identifier(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn continues_identifier(c: char) -> bool {
    begins_identifier(c) || c.is_ascii_digit()
}

/// The length of the comment that a text begins with. An open one goes to the end.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("--") {
        return Some(text.find(['\n', '\r']).unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    Some(text.len())
}

/// The length of the token that a text begins with: a string, an identifier, or one character.
fn token(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    match first {
        '\'' | '"' => quoted(text, first),
        '$' => dollar_quoted(text),
        'e' | 'E' if text[1..].starts_with('\'') => escape_string(text),
        c if begins_identifier(c) => {
            text.find(|c: char| !continues_identifier(c) && c != '$').unwrap_or(text.len())
        }
        c => c.len_utf8(),
    }
}

/// A quotation mark inside is written twice, which reads as two strings side by side.
fn quoted(text: &str, mark: char) -> usize {
    text[1..].find(mark).map_or(text.len(), |end| end + 2)
}

/// `E'…'`, where a backslash takes the next character with it. After a line break, `'…'` goes on in
/// the same way.
fn escape_string(text: &str) -> usize {
    let mut at = 2;
    loop {
        let Some(c) = text[at..].chars().next() else { return text.len() };
        at += c.len_utf8();
        match c {
            '\\' => at += text[at..].chars().next().map_or(0, char::len_utf8),
            '\'' if text[at..].starts_with('\'') => at += 1,
            '\'' => match continuation(&text[at..]) {
                Some(length) => at += length,
                None => return at,
            },
            _ => {}
        }
    }
}

/// White space with a line break, and comments of one line, up to and with the next quotation mark.
fn continuation(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let next = rest.chars().next()?;
        at += match next {
            '\'' if text[..at].contains(['\n', '\r']) => return Some(at + 1),
            '-' if rest.starts_with("--") => comment(rest)?,
            c if is_space(c) => 1,
            _ => return None,
        };
    }
}

/// `$tag$…$tag$`, or a lone `$`: a parameter's digits are separate tokens.
fn dollar_quoted(text: &str) -> usize {
    let tag = text[1..].find('$').map(|end| &text[..end + 2]);
    let Some(tag) = tag.filter(|tag| is_tag(&tag[1..tag.len() - 1])) else { return 1 };
    text[tag.len()..].find(tag).map_or(text.len(), |end| end + 2 * tag.len())
}

fn is_tag(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(continues_identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_skipped_up_to_a_token() {
        let skip = |text: &'static str| &text[skip_comments(text, "/*+++")..];
        assert_eq!(skip(" -- a\n/* b /* c */ */ SELECT 1"), "SELECT 1");
        assert_eq!(skip("/* licence */\n/*+++ x +++*/"), "/*+++ x +++*/");
        assert_eq!(skip("-- only"), "");
        assert_eq!(skip("/* open"), "");
        assert_eq!(skip("- 1"), "- 1");
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn tokens_end_where_postgresql_ends_them() {
        for (text, expected) in [
            ("copy/**/t--x\nTO", &["copy", "t", "TO"][..]),
            ("COPY(SELECT 1)", &["COPY", "(", "SELECT", "1", ")"]),
            ("a.ctid=-1", &["a", ".", "ctid", "=", "-", "1"]),
            ("a<=$12::int", &["a", "<=", "$12", "::", "int"]),
            ("a=/* b */'c;'", &["a", "=", "'c;'"]),
            ("days=>1.5e3", &["days", "=>", "1.5e3"]),
            ("$$ copy $$ $a", &["$$ copy $$", "$", "a"]),
            ("\"Copy\"@-1", &["\"Copy\"", "@-", "1"]),
        ] {
            assert_eq!(tokens(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }

    #[test]
    fn the_last_semicolon_is_found() {
        for text in [
            "SELECT 1;",
            "SELECT 1 ; \n",
            "SELECT $$;$$;",
            "SELECT $a$ $b$ ; $a$;",
            "SELECT E'\\'; ';",
            "SELECT E'a'\n-- x\n 'b\\';' ;",
            "SELECT \"a;\";",
            "SELECT a$b$c;",
            "SELECT $1;",
            "SELECT 'it''s; ' ;",
            "SELECT é;",
            "SELECT e.x FROM e;",
        ] {
            assert_eq!(last_semicolon(text), text.rfind(';'), "{text}");
        }
        for text in ["SELECT ';' ; -- done;", "SELECT ';' ;/* ; */", "SELECT ';' ;\n--;\n/*;/*;*/"]
        {
            assert_eq!(last_semicolon(text), Some(11), "{text}");
        }
    }

    #[cfg(feature = "postgres")]
    #[test]
    fn comments_and_strings_are_told_from_words() {
        let text = "SELECT/* a */ pg_catalog . \"set_config\"('x''y', $1) -- b\n, U&\"f\"(E'\\'(')";
        let found: Vec<&str> = tokens(text).collect();
        let expected = [
            "SELECT",
            "pg_catalog",
            ".",
            "\"set_config\"",
            "(",
            "'x'",
            "'y'",
            ",",
            "$1",
            ")",
            ",",
            "U",
            "&",
            "\"f\"",
            "(",
            "E'\\'('",
            ")",
        ];
        assert_eq!(found, expected);
        assert_eq!(tokens(" /* only */ ").count(), 0);
    }

    #[test]
    fn a_semicolon_inside_something_is_not_the_last_token() {
        for text in [
            "SELECT ';'",
            "SELECT 1 -- ;",
            "SELECT 1 /* ; */",
            "SELECT $x$ ;$x$",
            "SELECT 1; SELECT 2",
            "SELECT E'\\';'",
            "SELECT E'a'\n'\\';'",
            "SELECT \"x;",
            "",
        ] {
            assert_eq!(last_semicolon(text), None, "{text}");
        }
    }
}
