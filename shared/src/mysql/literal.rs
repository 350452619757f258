//! Parameters as literals of a SET statement, which no value can leave.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, ErrorKind};
use crate::query::{Kind, Parameters, Query, Value};

/// MySQL's most digits of a DECIMAL. A longer number would lose some, so it is written as text.
const MOST_DIGITS: usize = 65;

/// Text as a literal, hardly longer than the text: what fits into `max_allowed_packet` still does. The
/// server's `sql_mode` decides what a backslash in a string means, so text with one is in Base64.
pub(super) fn text(text: &str) -> String {
    if text.contains('\\') {
        return format!("CONVERT(FROM_BASE64('{}') USING utf8mb4)", STANDARD.encode(text));
    }
    format!("_utf8mb4'{}'", text.replace('\'', "''"))
}

/// The bytes of a text as a literal, in hexadecimal.
pub(super) fn bytes(text: &str) -> String {
    let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{hex}'")
}

/// One literal for each parameter, in order.
pub(super) fn literals(query: &Query, parameters: &Parameters) -> Result<Vec<String>, Error> {
    let values = parameters.values().zip(&query.params);
    values
        .map(|(value, param)| match value {
            // Of a bare NULL's type, what the statement makes of it would be binary.
            None => Ok("CAST(NULL AS CHAR)".to_owned()),
            Some(value) => literal(value).ok_or_else(|| {
                let what = format!("parameter {} of query {} cannot be used", param.name, query.name);
                Error::new(ErrorKind::QueryBadParameter, what)
                    .because("its type is array, and MySQL has none")
                    .remedy("Declare it as type = \"json\", and take it apart with JSON_TABLE or JSON_CONTAINS")
            }),
        })
        .collect()
}

fn literal(value: &Value) -> Option<String> {
    let digits = value.text.bytes().filter(u8::is_ascii_digit).count();
    match value.kind {
        // JSON's grammar of numbers is part of MySQL's.
        Kind::Number if digits <= MOST_DIGITS => Some(value.text.clone()),
        Kind::Number | Kind::Text => Some(text(&value.text)),
        Kind::Boolean => Some(if value.text == "true" { "TRUE" } else { "FALSE" }.to_owned()),
        Kind::Array => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn values_stay_inside_their_literals() {
        let front = "/*+++ params = [{ name = \"a\" }] +++*/ SELECT ?";
        let query = Query::parse("q", front).unwrap();
        let written = |json: &str| {
            let raw = serde_json::value::RawValue::from_string(json.to_owned()).unwrap();
            let values = BTreeMap::from([("a".to_owned(), raw)]);
            let parameters = Parameters::bind(&query, &values).unwrap();
            literals(&query, &parameters).unwrap().remove(0)
        };
        assert_eq!(written("12345678901234567890.10"), "12345678901234567890.10");
        assert_eq!(written("-1.5e3"), "-1.5e3");
        assert_eq!(written("true"), "TRUE");
        assert_eq!(written("null"), "CAST(NULL AS CHAR)");
        assert_eq!(written("\"'; --\""), "_utf8mb4'''; --'");
        assert_eq!(written("\"\""), "_utf8mb4''");
        assert_eq!(written(r#""\\'""#), "CONVERT(FROM_BASE64('XCc=') USING utf8mb4)");
        assert_eq!(written(&"9".repeat(66)), format!("_utf8mb4'{}'", "9".repeat(66)));
    }
}
