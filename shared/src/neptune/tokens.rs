//! The parts of a statement that matter here: words, parameters `$name`, and the marks between them,
//! without comments.

use std::ops::Range;

use super::Language;

/// A part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) place: Range<usize>,
}

/// The kind of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword, a number or a name without quotes.
    Word,
    /// `$name`, without the `$`.
    Parameter,
    /// A part that is never a keyword: a string, a quoted name, an IRI, a variable `?name`, a prefixed
    /// name `ex:name` or a language tag.
    Operand,
    /// One character of punctuation.
    Mark,
}

/// The parts of a statement, in order.
pub(super) fn tokens(text: &str, language: Language) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (kind, length) = match language {
            Language::Cypher => cypher_part(rest),
            Language::Sparql => sparql_part(rest),
        };
        if let Some(kind) = kind {
            let place = at..at + length;
            let skipped = usize::from(kind == Kind::Parameter);
            let text = &text[at + skipped..place.end];
            found.push(Token { kind, text, place });
        }
        at += length;
    }
    found
}

/// The kind and length of the first part of an openCypher text; no kind for blanks and comments.
fn cypher_part(rest: &str) -> (Option<Kind>, usize) {
    let bytes = rest.as_bytes();
    match bytes[0] {
        quote @ (b'"' | b'\'' | b'`') => (Some(Kind::Operand), 1 + quoted(&bytes[1..], &[quote])),
        b'/' if rest.starts_with("//") => (None, line(rest)),
        b'/' if rest.starts_with("/*") => (None, rest.find("*/").map_or(rest.len(), |end| end + 2)),
        _ => common_part(rest),
    }
}

/// The same of a SPARQL text.
fn sparql_part(rest: &str) -> (Option<Kind>, usize) {
    let bytes = rest.as_bytes();
    match bytes[0] {
        quote @ (b'"' | b'\'') if bytes.starts_with(&[quote; 3]) => {
            (Some(Kind::Operand), 3 + quoted(&bytes[3..], &[quote; 3]))
        }
        quote @ (b'"' | b'\'') => (Some(Kind::Operand), 1 + quoted(&bytes[1..], &[quote])),
        b'#' => (None, line(rest)),
        b'<' => match iri(bytes) {
            Some(length) => (Some(Kind::Operand), length),
            None => (Some(Kind::Mark), 1),
        },
        b'?' if name(&rest[1..]) > 0 => (Some(Kind::Operand), 1 + name(&rest[1..])),
        b'@' => (Some(Kind::Operand), 1 + local_name(&rest[1..])),
        b':' => (Some(Kind::Operand), 1 + local_name(&rest[1..])),
        _ => match name(rest) {
            prefix if prefix > 0 && rest[prefix..].starts_with(':') => {
                (Some(Kind::Operand), prefix + 1 + local_name(&rest[prefix + 1..]))
            }
            _ => common_part(rest),
        },
    }
}

/// The tokens of both languages: parameters, words, marks and blanks.
fn common_part(rest: &str) -> (Option<Kind>, usize) {
    let length = name(rest);
    if length > 0 {
        return (Some(Kind::Word), length);
    }
    let first = rest.chars().next().unwrap_or(' ');
    if first == '$' && name(&rest[1..]) > 0 {
        return (Some(Kind::Parameter), 1 + name(&rest[1..]));
    }
    let blank = first.is_whitespace() || first.is_control();
    ((!blank).then_some(Kind::Mark), first.len_utf8())
}

/// The length of a comment that ends with its line.
fn line(rest: &str) -> usize {
    rest.find('\n').unwrap_or(rest.len())
}

/// The length of a name at the start of a text. Every character beyond ASCII counts, except blanks.
fn name(text: &str) -> usize {
    let inside =
        |c: char| c.is_ascii_alphanumeric() || c == '_' || (!c.is_ascii() && !c.is_whitespace());
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

/// The length of the part of a prefixed name behind its colon
/// (<https://www.w3.org/TR/sparql11-query/#rPN_LOCAL>). A dot at its end ends the triple.
fn local_name(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    loop {
        length += match bytes.get(length) {
            Some(b'-' | b'.' | b':' | b'%') => 1,
            Some(b'\\') if bytes.get(length + 1).is_some_and(u8::is_ascii) => 2,
            _ => match name(&text[length..]) {
                0 => break,
                letters => letters,
            },
        };
    }
    text[..length].trim_end_matches('.').len()
}

/// The length of a quoted text with its closing quote.
fn quoted(bytes: &[u8], close: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if close != b"`" => at += 2,
            _ if bytes[at..].starts_with(close) => return at + close.len(),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The length of an IRI; none for the operator `<`.
fn iri(bytes: &[u8]) -> Option<usize> {
    let inside = |b: &&u8| **b > b' ' && !b"<>\"{}|^`\\".contains(b);
    let length = bytes[1..].iter().take_while(inside).count() + 1;
    (bytes.get(length) == Some(&b'>')).then_some(length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_kind(wanted: Kind, text: &str, language: Language) -> Vec<&str> {
        let found = tokens(text, language).into_iter().filter(|token| token.kind == wanted);
        found.map(|token| token.text).collect()
    }

    #[test]
    fn parameters_in_strings_comments_and_iris_are_none() {
        let sparql =
            "SELECT * { <urn:$a> ?p \"$b\" . # $c '\n ?s ?q '''x'$d''', $e FILTER(?n < $f) }";
        assert_eq!(of_kind(Kind::Parameter, sparql, Language::Sparql), ["e", "f"]);
        let cypher = "MATCH (n {a: '$a\\'', `$b`: \"$c\"}) // $d\n/* $e */ RETURN $f";
        assert_eq!(of_kind(Kind::Parameter, cypher, Language::Cypher), ["f"]);
        let local = "SELECT * { ?s ex:\\$a ?o ; ex:b\\'c $d . ?s :e.f $g }";
        assert_eq!(of_kind(Kind::Parameter, local, Language::Sparql), ["d", "g"]);
    }

    #[test]
    fn names_with_prefixes_variables_and_tags_are_no_words() {
        let sparql = "ASK { ?limit ex:rate-limit.offset \"a\"@en-limit . _:limit :limit 5. }";
        assert_eq!(of_kind(Kind::Word, sparql, Language::Sparql), ["ASK", "5"]);
        let cypher = "MATCH (`SET`)\u{a0}SET/* CREATE */n.é_1 = 'DELETE'";
        let words = ["MATCH", "SET", "n", "é_1"];
        assert_eq!(of_kind(Kind::Word, cypher, Language::Cypher), words);
    }

    #[test]
    fn broken_statements_end() {
        for text in [
            "\"", "'''", "'\\", "`", "/*", "<", "$", "é$é", "\\", "\"\\", "?", "@", ":", "a:\\",
            "a:\\é",
        ] {
            for language in [Language::Cypher, Language::Sparql] {
                let _ = tokens(text, language);
            }
        }
    }
}
