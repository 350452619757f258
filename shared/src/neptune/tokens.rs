//! The parts of a statement that matter here: words, and parameters `$name`, outside strings, quoted
//! names, IRIs and comments.

use std::ops::Range;

use super::Language;

/// A part of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    pub(super) place: Range<usize>,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a name, but not a property, a label, a variable or a prefixed name.
    Word,
    /// `$name`, without the `$`.
    Parameter,
}

/// The words and parameters of a statement, in order.
pub(super) fn tokens(text: &str, language: Language) -> Vec<Token<'_>> {
    let bytes = text.as_bytes();
    let sparql = language == Language::Sparql;
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let byte = bytes[at];
        at += match byte {
            b'"' | b'\'' if sparql && bytes[at..].starts_with(&[byte; 3]) => {
                3 + quoted(&bytes[at + 3..], &[byte; 3])
            }
            b'"' | b'\'' => 1 + quoted(&bytes[at + 1..], &[byte]),
            b'`' if !sparql => 1 + quoted(&bytes[at + 1..], b"`"),
            b'<' if sparql => iri(&bytes[at..]),
            b'#' if sparql => rest.find('\n').unwrap_or(rest.len()),
            b'/' if !sparql && rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            b'/' if !sparql && rest.starts_with("/*") => {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            }
            b'$' => {
                let length = name(&bytes[at + 1..]);
                if length > 0 {
                    let place = at..at + 1 + length;
                    let text = &text[at + 1..place.end];
                    found.push(Token { kind: Kind::Parameter, text, place });
                }
                1 + length
            }
            _ if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 => {
                let place = at..at + name(&bytes[at..]);
                if at == 0 || !matches!(bytes[at - 1], b'.' | b':' | b'?') {
                    let text = &text[place.clone()];
                    found.push(Token { kind: Kind::Word, text, place: place.clone() });
                }
                place.len()
            }
            _ => 1,
        };
    }
    found
}

/// The length of a name: whole characters, as all bytes of a longer one count.
fn name(bytes: &[u8]) -> usize {
    let inside = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'_' || **b >= 0x80;
    bytes.iter().take_while(inside).count()
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

/// The length of an IRI, or of the operator `<`.
fn iri(bytes: &[u8]) -> usize {
    let inside = |b: &&u8| **b > b' ' && !b"<>\"{}|^`\\".contains(b);
    let length = bytes[1..].iter().take_while(inside).count() + 1;
    if bytes.get(length) == Some(&b'>') { length + 1 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(text: &str, language: Language) -> Vec<&str> {
        let parameters = tokens(text, language).into_iter().filter(|t| t.kind == Kind::Parameter);
        parameters.map(|token| token.text).collect()
    }

    #[test]
    fn parameters_in_strings_comments_and_iris_are_none() {
        let sparql =
            "SELECT * { <urn:$a> ?p \"$b\" . # $c '\n ?s ?q '''x'$d''', $e FILTER(?n < $f) }";
        assert_eq!(parameters(sparql, Language::Sparql), ["e", "f"]);
        let cypher = "MATCH (n {a: '$a\\'', `$b`: \"$c\"}) // $d\n/* $e */ RETURN $f";
        assert_eq!(parameters(cypher, Language::Cypher), ["f"]);
    }

    #[test]
    fn broken_statements_end() {
        for text in ["\"", "'''", "'\\", "`", "/*", "<", "$", "é$é", "\\", "\"\\"] {
            for language in [Language::Cypher, Language::Sparql] {
                let _ = tokens(text, language);
            }
        }
    }
}
