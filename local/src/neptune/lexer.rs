//! A statement in its parts, without comments: what the gate must know of openCypher and SPARQL.

use std::ops::Range;

/// A query language's rules for names, strings and comments.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    Cypher,
    Sparql,
}

/// A part of a statement.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) place: Range<usize>,
}

/// The kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, a number or a name without quotes.
    Word,
    /// A string, a quoted name, a parameter, a variable, an IRI or a prefixed name: never a keyword.
    Value,
    /// One character of punctuation.
    Mark,
}

impl Part<'_> {
    pub(super) fn is_word(&self, words: &[&str]) -> bool {
        self.kind == Kind::Word && words.iter().any(|word| self.text.eq_ignore_ascii_case(word))
    }

    pub(super) fn is_mark(&self, marks: &str) -> bool {
        self.kind == Kind::Mark && marks.contains(self.text)
    }
}

/// The parts of a statement, in order.
pub(super) fn parts(statement: &str, grammar: Grammar) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut start = 0;
    while start < statement.len() {
        let rest = &statement[start..];
        let (kind, length) = first(rest, grammar);
        let end = start + length;
        if let Some(kind) = kind {
            parts.push(Part { kind, text: &statement[start..end], place: start..end });
        }
        start = end;
    }
    parts
}

/// The kind of a text's first part, none for blanks and comments, and its length.
fn first(rest: &str, grammar: Grammar) -> (Option<Kind>, usize) {
    let sparql = grammar == Grammar::Sparql;
    let line = || rest.find('\n').unwrap_or(rest.len());
    let c = rest.chars().next().unwrap_or(' ');
    let behind = &rest[c.len_utf8()..];
    match c {
        '"' | '\'' if sparql && behind.starts_with(&[c, c][..]) && behind[1..].starts_with(c) => {
            (Some(Kind::Value), quoted(rest, 3))
        }
        '"' | '\'' => (Some(Kind::Value), quoted(rest, 1)),
        '`' if !sparql => (Some(Kind::Value), quoted(rest, 1)),
        '#' if sparql => (None, line()),
        '/' if !sparql && behind.starts_with('/') => (None, line()),
        '/' if !sparql && behind.starts_with('*') => {
            (None, rest.find("*/").map_or(rest.len(), |end| end + 2))
        }
        '<' if sparql && iri(behind).is_some() => {
            (Some(Kind::Value), 2 + iri(behind).unwrap_or_default())
        }
        ':' | '@' if sparql => (Some(Kind::Value), 1 + local_name(behind)),
        '?' if sparql && name(behind) > 0 => (Some(Kind::Value), 1 + name(behind)),
        '$' if name(behind) > 0 => (Some(Kind::Value), 1 + name(behind)),
        _ => match name(rest) {
            0 if c.is_whitespace() || c.is_control() => (None, c.len_utf8()),
            0 => (Some(Kind::Mark), c.len_utf8()),
            prefix if sparql && rest[prefix..].starts_with(':') => {
                (Some(Kind::Value), prefix + 1 + local_name(&rest[prefix + 1..]))
            }
            length => (Some(Kind::Word), length),
        },
    }
}

/// The length of a name at the start of a text.
fn name(text: &str) -> usize {
    let outside = |c: char| match c.is_ascii() {
        true => !c.is_ascii_alphanumeric() && c != '_',
        false => c.is_whitespace(),
    };
    text.find(outside).unwrap_or(text.len())
}

/// The length of the part of a prefixed name behind its colon. A dot at its end is not of it.
fn local_name(text: &str) -> usize {
    let mut escaped = false;
    let outside = |c: char| {
        let inside = escaped || "-._:%\\".contains(c) || name(c.encode_utf8(&mut [0; 4])) > 0;
        escaped = c == '\\' && !escaped;
        !inside
    };
    let end = text.find(outside).unwrap_or(text.len());
    text[..end].trim_end_matches('.').len()
}

/// The length of a quoted text with its quotes, of which there are so many on each side.
fn quoted(text: &str, quotes: usize) -> usize {
    let (open, inside) = text.split_at(quotes);
    let is_name = open.starts_with('`');
    let mut at = 0;
    while let Some(step) = inside[at..].chars().next() {
        if is_name && inside[at..].starts_with("``") {
            at += 2;
            continue;
        }
        if inside[at..].starts_with(open) {
            return quotes + at + quotes;
        }
        at += step.len_utf8();
        if !is_name && step == '\\' {
            at += inside[at..].chars().next().map_or(0, char::len_utf8);
        }
    }
    text.len()
}

/// The length of an IRI up to its end; none for the operator `<`.
fn iri(behind: &str) -> Option<usize> {
    let end = behind.find(|c: char| c <= ' ' || "<>\"{}|^`\\".contains(c))?;
    behind[end..].starts_with('>').then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(statement: &str, grammar: Grammar) -> Vec<&str> {
        let parts = parts(statement, grammar).into_iter();
        parts.filter(|part| part.kind == Kind::Word).map(|part| part.text).collect()
    }

    #[test]
    fn quotes_comments_and_prefixes_hide_words() {
        let cypher = "MATCH (n {a: 'b\\' c', `d e`: \"f\"}) // g\n/* ' */ RETURN $h, n.é\u{a0}AS x";
        let expected = ["MATCH", "n", "a", "RETURN", "n", "é", "AS", "x"];
        assert_eq!(words(cypher, Grammar::Cypher), expected);
        let sparql = "PREFIX ex: <urn:a#b> # c\nASK { ?d ex:e-f.g '''h'i''' ; :j\\'k \"l\"@m-n . FILTER(1 < 2) }";
        assert_eq!(words(sparql, Grammar::Sparql), ["PREFIX", "ASK", "FILTER", "1", "2"]);
    }

    #[test]
    fn broken_statements_end() {
        for text in
            ["\"", "'''", "''", "'\\", "`", "/*", "<", "$", "é$é", "\\", "?", "@", ":\\", "a:\\é"]
        {
            for grammar in [Grammar::Cypher, Grammar::Sparql] {
                let _ = parts(text, grammar);
            }
        }
    }
}
