//! JSON values to PostgreSQL's text form.
//!
//! Parameters are bound as text with no declared type, so PostgreSQL infers the type from the
//! statement and its own input functions check the value. Numbers keep the digits that the event
//! wrote.

use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::{RawValue, to_raw_value};

use super::dates::date_at;
use super::declared::{Param, ParamType};

/// Whether a parameter's default can be written as its type says.
pub(super) fn check_default(param: &Param) -> Result<(), String> {
    let Some(default) = &param.default else { return Ok(()) };
    dated(default, param.param_type, Some(UNIX_EPOCH))
        .and_then(|value| to_text(&value, param.param_type))
        .map(|_| ())
        .map_err(|why| format!("the default of parameter {} cannot be used: {why}", param.name))
}

/// The value, with the date in the place of a placeholder.
pub(super) fn dated(
    value: &RawValue,
    declared: Option<ParamType>,
    time: Option<SystemTime>,
) -> Result<Cow<'_, RawValue>, &'static str> {
    if declared != Some(ParamType::Date) || value.get().trim() == "null" {
        return Ok(Cow::Borrowed(value));
    }
    let text: String = serde_json::from_str(value.get())
        .map_err(|_| "its type is \"date\", and it is not text")?;
    let Some(inside) = text.strip_prefix('{') else { return Ok(Cow::Borrowed(value)) };
    let time = time
        .ok_or("its date counts from the run, which is not a time such as 2026-11-24T06:00:00Z")?;
    let date = inside.strip_suffix('}').and_then(|name| date_at(name, time));
    let date = date.ok_or("its braces hold none of {date}, {date-1d} and {date-1d+09:00}")?;
    to_raw_value(&date).map(Cow::Owned).map_err(|_| "it has no JSON form")
}

/// A value in PostgreSQL's text form; `None` is NULL. Fails with the reason as a phrase.
pub(super) fn to_text(
    raw: &RawValue,
    declared: Option<ParamType>,
) -> Result<Option<String>, &'static str> {
    let json = raw.get().trim();
    let text = match (json.as_bytes().first(), declared) {
        (Some(b'n'), _) => return Ok(None),
        (_, Some(ParamType::Json)) => json.to_owned(),
        (Some(b'['), Some(ParamType::Array)) => {
            let mut literal = String::new();
            array_literal(raw, &mut literal)?;
            literal
        }
        (_, Some(ParamType::Array)) => return Err("an array is expected"),
        (Some(b'"'), None | Some(ParamType::Text | ParamType::Date)) => string(raw)?,
        (Some(b'['), None | Some(ParamType::Text)) => {
            return Err(
                "it is an array, and the front matter gives it no type = \"array\" or \"json\"",
            );
        }
        (Some(b'{'), None | Some(ParamType::Text)) => {
            return Err("it is an object, and the front matter gives it no type = \"json\"");
        }
        // A number or a boolean, with the very digits that the event wrote.
        _ => json.to_owned(),
    };
    if text.contains('\0') {
        return Err("it holds a NUL character, which the database's text does not take");
    }
    Ok(Some(text))
}

fn string(raw: &RawValue) -> Result<String, &'static str> {
    serde_json::from_str(raw.get()).map_err(|_| "it is not valid Unicode")
}

/// `{1,NULL,"a \"b\""}`: <https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO>.
fn array_literal(raw: &RawValue, out: &mut String) -> Result<(), &'static str> {
    let elements: Vec<&RawValue> =
        serde_json::from_str(raw.get()).map_err(|_| "it is not a valid array")?;
    out.push('{');
    for (i, element) in elements.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        match element.get().as_bytes().first() {
            Some(b'[') => array_literal(element, out)?,
            Some(b'n') => out.push_str("NULL"),
            Some(b'"') => quote(&string(element)?, out),
            Some(b'{') => quote(element.get(), out),
            _ => out.push_str(element.get()),
        }
    }
    out.push('}');
    Ok(())
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::super::given::raw;
    use super::*;

    fn text(json: &str, declared: Option<ParamType>) -> Result<Option<String>, &'static str> {
        to_text(&raw(json), declared)
    }

    #[test]
    fn scalars_keep_their_form() {
        for (json, expected) in [
            ("null", None),
            ("true", Some("true")),
            (
                "12345678901234567890.123456789012345678901",
                Some("12345678901234567890.123456789012345678901"),
            ),
            ("1e-7", Some("1e-7")),
            (r#""a \"b\" \u00e9""#, Some("a \"b\" é")),
            (r#""""#, Some("")),
        ] {
            assert_eq!(text(json, None).unwrap().as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn arrays_and_objects_need_a_declared_type() {
        assert!(text("[1]", None).unwrap_err().contains("type = \"array\""));
        assert!(text("{}", None).unwrap_err().contains("type = \"json\""));
        let array = |json| text(json, Some(ParamType::Array)).unwrap().unwrap();
        assert_eq!(array(r#"[1,null,"a,\"b\\",[true]]"#), r#"{1,NULL,"a,\"b\\",{true}}"#);
        assert_eq!(array("[]"), "{}");
        assert!(text("1", Some(ParamType::Array)).is_err());
        for (given, written) in [("0", "0"), ("true", "true"), ("\"a\"", "a")] {
            assert_eq!(text(given, Some(ParamType::Text)).unwrap().unwrap(), written);
        }
        assert!(text("[1]", Some(ParamType::Text)).is_err());
        assert_eq!(text(r#"{"a":[1]}"#, Some(ParamType::Json)).unwrap().unwrap(), r#"{"a":[1]}"#);
    }

    #[test]
    fn values_that_postgresql_cannot_hold_are_refused() {
        assert!(text(r#""a\u0000b""#, None).unwrap_err().contains("NUL"));
        assert!(text(r#"["a\u0000b"]"#, Some(ParamType::Array)).unwrap_err().contains("NUL"));
        assert!(text(r#""\ud800""#, None).unwrap_err().contains("Unicode"));
    }
}
