//! ArcadeDB's answers in Neptune's form
//! (<https://docs.aws.amazon.com/neptune/latest/userguide/access-graph-opencypher-queries.html>).

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::columns::only_column;
use super::engines::Answer;
use super::identity::Rewritten;
use super::refusal::Refusal;

/// Ids that the user gave, by ArcadeDB's record id.
pub(super) type OwnIds = BTreeMap<String, Value>;

/// The rows of ArcadeDB's answer.
pub(super) fn rows(answer: &Answer) -> Result<Vec<Value>, Refusal> {
    let internal = |why: &str| {
        Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalFailureException",
            "The request processing has failed.",
            why,
        )
    };
    let mut body: Value = serde_json::from_slice(&answer.body)
        .map_err(|_| internal("the engine's answer is not JSON"))?;
    if answer.status != StatusCode::OK {
        return Err(refused(&body));
    }
    match body.get_mut("result").map(Value::take) {
        Some(Value::Array(rows)) => Ok(rows),
        _ => Err(internal("the engine's answer has no result")),
    }
}

/// The record ids of all nodes at the ends of relationships in some values.
pub(super) fn ends(values: &[Value]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut left: Vec<&Value> = values.iter().collect();
    while let Some(value) = left.pop() {
        match value {
            Value::Array(values) => left.extend(values),
            Value::Object(object) => {
                let ends = ["@out", "@in"].map(|name| object.get(name).and_then(Value::as_str));
                found.extend(ends.into_iter().flatten());
                left.extend(object.values());
            }
            _ => {}
        }
    }
    found
}

/// Rows in Neptune's form, as the body of an answer.
pub(super) fn answer(
    statement: &str,
    rewritten: &Rewritten,
    rows: &[Value],
    ids: &OwnIds,
) -> String {
    let rows = rows.iter().map(|row| match row {
        Value::Object(object) if !object.contains_key("@rid") => {
            let columns = object.iter();
            Value::Object(columns.map(|(k, v)| (rewritten.column(k), convert(v, ids))).collect())
        }
        other => json!({ only_column(statement): convert(other, ids) }),
    });
    json!({ "results": rows.collect::<Vec<_>>() }).to_string()
}

/// A value in Neptune's form: nodes, relationships and paths have their own.
fn convert(value: &Value, ids: &OwnIds) -> Value {
    match value {
        Value::Array(values) => Value::Array(values.iter().map(|v| convert(v, ids)).collect()),
        Value::Object(object) if object.contains_key("@rid") => entity(object, ids),
        Value::Object(object) if object.get("_type") == Some(&json!("path")) => path(object, ids),
        Value::Object(object) => {
            Value::Object(object.iter().map(|(k, v)| (k.clone(), convert(v, ids))).collect())
        }
        other => other.clone(),
    }
}

fn entity(object: &Map<String, Value>, ids: &OwnIds) -> Value {
    let properties: Map<String, Value> = object
        .iter()
        .filter(|(name, _)| !name.starts_with('@') && *name != "~id")
        .map(|(name, value)| (name.clone(), convert(value, ids)))
        .collect();
    // Neptune's ids are set by the user; ArcadeDB keeps such a one as a property.
    let id = object.get("~id").or(object.get("@rid"));
    let kind = object.get("@type");
    let end = |name: &str| {
        let record = object.get(name)?;
        Some(record.as_str().and_then(|record| ids.get(record)).unwrap_or(record))
    };
    match (end("@out"), end("@in")) {
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

fn path(object: &Map<String, Value>, ids: &OwnIds) -> Value {
    let list = |name: &str| object.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut relationships = list("relationships").into_iter();
    let mut steps = Vec::new();
    for node in list("nodes") {
        steps.push(convert(&node, ids));
        steps.extend(relationships.next().map(|relationship| convert(&relationship, ids)));
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
