//! openCypher between Neptune and ArcadeDB: what a statement may do, and answers in Neptune's form
//! (<https://docs.aws.amazon.com/neptune/latest/userguide/access-graph-opencypher-queries.html>).

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::engines::Answer;
use super::refusal::Refusal;

/// What a statement may do besides reading, in any query language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) writes: bool,
    pub(super) deletes: bool,
}

/// openCypher's clauses that change data. The engine itself refuses a write where the words tell of none.
pub(super) fn cypher_effects(statement: &str) -> Effects {
    let words = words(statement, Language::Cypher);
    Effects {
        writes: has(&words, &["CREATE", "MERGE", "SET"]),
        deletes: has(&words, &["DELETE", "REMOVE"]),
    }
}

/// SPARQL's operations that change data.
pub(super) fn sparql_effects(update: &str) -> Effects {
    let words = words(update, Language::Sparql);
    Effects {
        writes: has(&words, &["INSERT", "LOAD", "CREATE", "ADD", "COPY", "MOVE"]),
        deletes: has(&words, &["DELETE", "CLEAR", "DROP", "COPY", "MOVE"]),
    }
}

fn has(words: &[&str], known: &[&str]) -> bool {
    words.iter().any(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known)))
}

/// A query language's rules for what is not a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    Cypher,
    Sparql,
}

/// The words outside strings, quoted names, IRIs and comments, less properties, labels, parameters and
/// variables.
fn words(statement: &str, language: Language) -> Vec<&str> {
    let bytes = statement.as_bytes();
    let sparql = language == Language::Sparql;
    let mut words = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &statement[at..];
        let line = || rest.find('\n').unwrap_or(rest.len());
        match bytes[at] {
            quote @ (b'"' | b'\'') if sparql && bytes[at..].starts_with(&[quote; 3]) => {
                at += 3 + quoted(&bytes[at + 3..], &[quote; 3]);
            }
            b'`' if sparql => at += 1,
            quote @ (b'"' | b'\'' | b'`') => at += 1 + quoted(&bytes[at + 1..], &[quote]),
            b'<' if sparql => at += iri(&bytes[at..]),
            b'#' if sparql => at += line(),
            b'/' if !sparql && rest.starts_with("//") => at += line(),
            b'/' if !sparql && rest.starts_with("/*") => {
                at += rest.find("*/").map_or(rest.len(), |end| end + 2);
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_' || *b >= 0x80;
                let length = bytes[at..].iter().take_while(|b| word(b)).count();
                if at == 0 || !matches!(bytes[at - 1], b'.' | b':' | b'$' | b'?') {
                    words.push(&statement[at..at + length]);
                }
                at += length;
            }
            _ => at += rest.chars().next().map_or(1, char::len_utf8),
        }
    }
    words
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

/// The name of the only column of `… RETURN p` or `RETURN p AS q`: ArcadeDB leaves it out.
fn only_column(statement: &str) -> String {
    let words = words(statement, Language::Cypher);
    let from = words.iter().rposition(|word| word.eq_ignore_ascii_case("RETURN"));
    let mut after = words[from.map_or(words.len(), |at| at + 1)..].iter();
    let first = after.find(|word| !word.eq_ignore_ascii_case("DISTINCT"));
    let renamed = after.next().is_some_and(|word| word.eq_ignore_ascii_case("AS"));
    let name = if renamed { after.next() } else { first };
    name.map_or_else(|| "result".to_owned(), |name| (*name).to_owned())
}

/// ArcadeDB's answer in Neptune's form.
pub(super) fn answer(statement: &str, answer: &Answer) -> Result<String, Refusal> {
    let internal = |why: &str| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalFailureException",
            "The request processing has failed.",
            why,
        )
    };
    let body: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| internal("the engine's answer is not JSON"))?;
    if answer.status != StatusCode::OK {
        return Err(refused(&body));
    }
    let Some(Value::Array(rows)) = body.get("result") else {
        return Err(internal("the engine's answer has no result"));
    };
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| match row {
            Value::Object(object) if !object.contains_key("@rid") => {
                Value::Object(object.iter().map(|(k, v)| (k.clone(), convert(v))).collect())
            }
            other => json!({ only_column(statement): convert(other) }),
        })
        .collect();
    Ok(json!({ "results": rows }).to_string())
}

/// A value in Neptune's form: nodes, relationships and paths have their own.
fn convert(value: &Value) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.iter().map(convert).collect()),
        Value::Object(object) if object.contains_key("@rid") => entity(object),
        Value::Object(object) if object.get("_type") == Some(&json!("path")) => path(object),
        Value::Object(object) => {
            Value::Object(object.iter().map(|(k, v)| (k.clone(), convert(v))).collect())
        }
        other => other.clone(),
    }
}

fn entity(object: &Map<String, Value>) -> Value {
    let properties: Map<String, Value> = object
        .iter()
        .filter(|(name, _)| !name.starts_with('@') && *name != "~id")
        .map(|(name, value)| (name.clone(), convert(value)))
        .collect();
    // Neptune's ids are set by the user; ArcadeDB keeps such a one as a property.
    let id = object.get("~id").or(object.get("@rid"));
    let kind = object.get("@type");
    match (object.get("@out"), object.get("@in")) {
        (Some(start), Some(end)) if object.get("@cat") == Some(&json!("e")) => json!({
            "~id": id, "~entityType": "relationship", "~start": start, "~end": end,
            "~type": kind, "~properties": properties,
        }),
        _ => json!({
            "~id": id, "~entityType": "node",
            "~labels": kind.and_then(Value::as_str).map(|labels| labels.split('~').collect::<Vec<_>>()),
            "~properties": properties,
        }),
    }
}

fn path(object: &Map<String, Value>) -> Value {
    let list = |name: &str| object.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut relationships = list("relationships").into_iter();
    let mut steps = Vec::new();
    for node in list("nodes") {
        steps.push(convert(&node));
        steps.extend(relationships.next().map(|relationship| convert(&relationship)));
    }
    Value::Array(steps)
}

/// ArcadeDB's error under Neptune's code.
fn refused(body: &Value) -> Refusal {
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let exception = text("exception").rsplit('.').next().unwrap_or_default();
    let (status, code) = match exception {
        "QueryNotIdempotentException" => {
            return Refusal::denied(
                "The query changes data, and was taken for a read",
                "the engine found a write that the words of the query do not show",
            );
        }
        "CommandParsingException" | "CommandSemanticException" => {
            (StatusCode::BAD_REQUEST, "MalformedQueryException")
        }
        "CommandParameterMissingException" => {
            (StatusCode::BAD_REQUEST, "MissingParameterException")
        }
        "DuplicatedKeyException" | "ValidationException" => {
            (StatusCode::BAD_REQUEST, "ConstraintViolationException")
        }
        "TimeoutException" => (StatusCode::INTERNAL_SERVER_ERROR, "TimeLimitExceededException"),
        "ConcurrentModificationException" | "NeedRetryException" => {
            (StatusCode::INTERNAL_SERVER_ERROR, "ConcurrentModificationException")
        }
        _ => (StatusCode::INTERNAL_SERVER_ERROR, "FailureByQueryException"),
    };
    let detail = if text("detail").is_empty() { text("error") } else { text("detail") };
    Refusal::query(status, code, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_what_a_statement_does() {
        let of = |text| {
            let Effects { writes, deletes } = cypher_effects(text);
            (writes, deletes)
        };
        assert_eq!(of("MATCH (n) RETURN n.delete, n:Set, $create"), (false, false));
        assert_eq!(of("MATCH (n {a: 'DELETE \\' SET'}) // MERGE\n RETURN `SET`"), (false, false));
        assert_eq!(of("match (n) set n.a = 1"), (true, false));
        assert_eq!(of("MATCH (n) /* ' */ DETACH DELETE n"), (false, true));
        assert_eq!(of("MATCH (n) REMOVE n.a SET n.b = 1"), (true, true));
        let update = sparql_effects("DELETE { ?s ?p 'INSERT' } WHERE { ?s ?p ?o }");
        assert_eq!(update, Effects { writes: false, deletes: true });
        for hidden in [
            "PREFIX : <http://a//b#c> DELETE WHERE { ?s ?p ?o }",
            "INSERT DATA { :a :b \"\"\"x\"y\"\"\" }; DELETE WHERE { ?s ?p ?o }",
            "INSERT { ?s ?p 1 } WHERE { FILTER(?a < 3) }; # '\nDELETE WHERE { ?s ?p ?o }",
        ] {
            assert!(sparql_effects(hidden).deletes, "{hidden}");
        }
    }

    #[test]
    fn the_only_column_has_a_name() {
        assert_eq!(only_column("MATCH (p) RETURN p"), "p");
        assert_eq!(only_column("MATCH (p) RETURN DISTINCT p AS q ORDER BY q.x"), "q");
    }
}
