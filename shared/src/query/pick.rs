//! The value of each parameter of a query, from an event, from a message, or by default; and the errors of values
//! that are missing, unknown or unusable.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::value::RawValue;

use super::text::dated;
use super::{Param, Query};
use crate::error::{Error, ErrorKind};

/// A parameter of a query, and its value; `None` is one that is optional and has none.
pub(crate) type Picked<'a> = (&'a Param, Option<Cow<'a, RawValue>>);

/// Each parameter of a query with its value, from an event or by default. Dates count from now.
///
/// # Errors
/// [`QueryBadParameter`](ErrorKind::QueryBadParameter) if a value is missing or unknown, or is no date.
#[cfg(feature = "neptune")]
pub(crate) fn pick<'a>(
    query: &'a Query,
    values: &'a BTreeMap<String, Box<RawValue>>,
) -> Result<Vec<Picked<'a>>, Error> {
    pick_at(query, values, Some(super::dates::now()), not_in_event)
}

pub(super) fn not_in_event() -> String {
    "it has no default, and the event gives no value".to_owned()
}

/// Why a message gives no value: the place where its text stops to be JSON, and nothing of the text.
pub(super) fn not_in_message(text: &str) -> String {
    let why = match serde_json::from_str::<&RawValue>(text) {
        Ok(json) if json.get().starts_with('{') => "the message gives no value".to_owned(),
        Ok(json) if json.get().starts_with('"') => {
            "the message is a JSON string, not an object: is it JSON that was encoded twice?"
                .to_owned()
        }
        Ok(_) => "the message is JSON, but not an object".to_owned(),
        Err(_) if text.trim().is_empty() => "the message is empty".to_owned(),
        Err(error) => {
            format!("the message is not JSON (line {}, column {})", error.line(), error.column())
        }
    };
    format!("it has no default, and {why}")
}

pub(super) fn pick_at<'a>(
    query: &'a Query,
    values: &'a BTreeMap<String, Box<RawValue>>,
    time: Option<SystemTime>,
    missing: impl Fn() -> String,
) -> Result<Vec<Picked<'a>>, Error> {
    if let Some(unknown) =
        values.keys().find(|name| query.params.iter().all(|param| param.name != **name))
    {
        // What is not a plausible name might be a value in the wrong place.
        let plausible = unknown.len() <= 63
            && unknown.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let name = if plausible { format!(" {unknown}") } else { String::new() };
        return Err(refuse(
            query,
            format!("unknown parameter{name}"),
            "the query's front matter does not declare it",
        ));
    }
    let mut picked = Vec::with_capacity(query.params.len());
    for param in &query.params {
        let value = values.get(&param.name).or(param.default.as_ref());
        if value.is_none() && param.required {
            return Err(refuse(query, format!("parameter {} is missing", param.name), &missing()));
        }
        let value = value.map(|value| dated(value, param.param_type, time)).transpose();
        picked.push((param, value.map_err(|why| unusable(query, &param.name, why))?));
    }
    Ok(picked)
}

/// The error of a value that its parameter cannot take.
pub(crate) fn unusable(query: &Query, name: &str, why: &str) -> Error {
    refuse(query, format!("parameter {name} cannot be used"), why)
}

fn refuse(query: &Query, what: String, why: &str) -> Error {
    Error::new(ErrorKind::QueryBadParameter, what).because(why).remedy(format!(
        "Query {} takes {}",
        query.name,
        signature(query)
    ))
}

fn signature(query: &Query) -> String {
    if query.params.is_empty() {
        return "no parameters".into();
    }
    let names: Vec<String> = query
        .params
        .iter()
        .map(|p| if p.required { p.name.clone() } else { format!("{} (optional)", p.name) })
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::Parameters;
    use super::super::given::{query, values};
    use super::*;

    #[test]
    fn a_message_that_is_not_json_is_said_to_be_not_json() {
        let query = query("params = [{ name = \"total\" }, { name = \"note\", default = \"\" }]");
        for (text, told) in [
            ("", "the message is empty"),
            (" \n", "the message is empty"),
            ("s3cret", "not JSON (line 1, column 1)"),
            ("{\"total\": s3cret}", "not JSON (line 1, column 11)"),
            ("{\n\"total\": 1", "not JSON (line 2, column 10)"),
            ("{} s3cret", "not JSON (line 1, column 4)"),
            ("\"{\\\"total\\\": 1}\"", "encoded twice"),
            ("[1]", "not an object"),
            ("{\"s3cret\": 1}", "the message gives no value"),
        ] {
            let error = Parameters::bind_message(&query, &values(&[]), text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryBadParameter);
            let error = error.to_string();
            assert!(error.contains("parameter total is missing"), "{error}");
            assert!(error.contains(told) && !error.contains("s3cret"), "{text:?}: {error}");
        }
        assert!(Parameters::bind_message(&query, &values(&[("total", "1")]), "s3cret").is_ok());
    }

    #[test]
    fn a_date_stands_for_its_placeholder_where_the_type_says_so() {
        let query = query(
            "params = [{ name = \"day\", type = \"date\", default = \"{date-1d}\" }, { name = \"note\", required = false }]",
        );
        let time = crate::query::time_of("2026-11-28T02:00:00Z");
        let texts = |pairs: &[(&str, &str)], time| {
            let bound = Parameters::bind_at(&query, &values(pairs), time)?;
            Ok::<_, Error>(bound.texts().map(|text| text.map(str::to_owned)).collect::<Vec<_>>())
        };
        let day = |pairs: &[(&str, &str)]| texts(pairs, time).unwrap().remove(0);
        assert_eq!(day(&[]).as_deref(), Some("2026-11-27"));
        assert_eq!(day(&[("day", "\"{date+1d}\"")]).as_deref(), Some("2026-11-29"));
        // Another text is the server's to check, and NULL is NULL.
        assert_eq!(day(&[("day", "\"2026-01-01\"")]).as_deref(), Some("2026-01-01"));
        assert_eq!(day(&[("day", "null")]), None);
        // Without the type, it is a text like any other.
        let note = texts(&[("note", "\"{date-1d}\"")], time).unwrap().remove(1);
        assert_eq!(note.as_deref(), Some("{date-1d}"));
        for (wrong, why) in
            [("\"{s3cret}\"", "{date-1d}"), ("\"{date\"", "braces"), ("20261128", "not text")]
        {
            let error = texts(&[("day", wrong)], time).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryBadParameter);
            assert!(
                error.to_string().contains(why) && !error.to_string().contains("s3cret"),
                "{error}"
            );
        }
        let error = texts(&[], None).unwrap_err().to_string();
        assert!(error.contains("counts from the run"), "{error}");
        assert_eq!(
            texts(&[("day", "\"2026-01-01\"")], None).unwrap()[0].as_deref(),
            Some("2026-01-01")
        );
        let wrong = "/*+++\nparams = [{ name = \"d\", type = \"date\", default = \"{yesterday}\" }]\n+++*/ SELECT $1";
        let error = Query::parse("q", wrong).unwrap_err().to_string();
        assert!(error.contains("default of parameter d") && error.contains("{date-1d}"), "{error}");
    }
}
