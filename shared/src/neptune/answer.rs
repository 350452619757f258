//! Neptune's JSON as rows, and rows as the query's result.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Language, Statement};
use crate::error::{Error, ErrorKind};
use crate::json::Object;
use crate::query::{Answer, Metrics, Mode, ResultKind, Rows};
use crate::query::{has_violations, not_one};

/// <https://docs.aws.amazon.com/neptune/latest/userguide/access-graph-opencypher-queries.html>
#[derive(Deserialize)]
struct CypherResults<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

/// <https://www.w3.org/TR/sparql11-results-json/>
#[derive(Deserialize)]
struct SparqlResults<'a> {
    #[serde(borrow, default)]
    results: Option<Bindings<'a>>,
    boolean: Option<bool>,
}

#[derive(Deserialize)]
struct Bindings<'a> {
    #[serde(borrow)]
    bindings: Vec<Object<'a>>,
}

/// The result of a statement that Neptune ran. A check's number of violations goes into `violations`.
pub(crate) fn answer(
    statement: &Statement,
    body: &[u8],
    violations: &mut Option<u64>,
) -> Result<Answer, Error> {
    let query = &statement.query;
    let mut rows = Rows::default();
    let mut count = 0;
    let shown = match query.result {
        ResultKind::Check { show, .. } => show as u64,
        _ => u64::MAX,
    };
    let mut push = |row: &str| {
        count += 1;
        if count > shown { Ok(()) } else { rows.push(&query.name, row) }
    };
    let unreadable = || {
        Error::new(ErrorKind::QueryFailed, format!("query {} has an unreadable answer", query.name))
            .because("it is not the JSON that Neptune documents")
            .remedy("Use SELECT or ASK in SPARQL, and check that NEPTUNE_HOST is a Neptune cluster")
    };
    let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
    match (statement.language, query.mode) {
        (Language::Cypher, _) => {
            let parsed: CypherResults<'_> = serde_json::from_str(text).map_err(|_| unreadable())?;
            parsed.results.iter().try_for_each(|row| push(row.get()))?;
        }
        // An update answers with its statistics.
        (Language::Sparql, Mode::Write) => {}
        (Language::Sparql, Mode::Read) => {
            let parsed: SparqlResults<'_> = serde_json::from_str(text).map_err(|_| unreadable())?;
            match (parsed.results, parsed.boolean) {
                (Some(results), _) => {
                    for binding in &results.bindings {
                        push(&row(binding).ok_or_else(unreadable)?)?;
                    }
                }
                (None, Some(boolean)) => push(&format!("{{\"boolean\":{boolean}}}"))?,
                (None, None) => return Err(unreadable()),
            }
        }
    }
    match &query.result {
        ResultKind::One => {
            let none = rows.is_empty();
            rows.into_one().map(Answer::One).ok_or_else(|| not_one(query, none))
        }
        ResultKind::Check { fail, .. } => {
            *violations = Some(count);
            if *fail && count > 0 {
                return Err(has_violations(query, count));
            }
            Ok(Answer::Check { violations: count, rows })
        }
        ResultKind::Metric(options) => {
            Metrics::from_rows(query, options, &rows).map(Answer::Metrics)
        }
        _ => Ok(Answer::Rows(rows)),
    }
}

/// A binding as a plain object: numbers and booleans as such, everything else as text.
fn row(binding: &Object<'_>) -> Option<String> {
    let mut row = String::from("{");
    for (name, term) in binding.members() {
        let term = Object::parse(term.get())?;
        let value = term.get("value")?.get();
        if row.len() > 1 {
            row.push(',');
        }
        row.push_str(&serde_json::to_string(name).ok()?);
        row.push(':');
        row.push_str(&plain(&term, value)?);
    }
    row.push('}');
    Some(row)
}

/// XML Schema's types of numbers: <https://www.w3.org/TR/xmlschema11-2/#built-in-datatypes>
const NUMBERS: [&str; 16] = [
    "integer",
    "decimal",
    "double",
    "float",
    "long",
    "int",
    "short",
    "byte",
    "nonNegativeInteger",
    "positiveInteger",
    "nonPositiveInteger",
    "negativeInteger",
    "unsignedLong",
    "unsignedInt",
    "unsignedShort",
    "unsignedByte",
];

fn plain(term: &Object<'_>, value: &str) -> Option<String> {
    let datatype = term.text("datatype").unwrap_or_default();
    let local = datatype.strip_prefix("http://www.w3.org/2001/XMLSchema#").unwrap_or_default();
    let is_number = NUMBERS.contains(&local);
    if is_number || local == "boolean" {
        let text: String = serde_json::from_str(value).ok()?;
        let json = if is_number { number(text.trim()) } else { boolean(text.trim()) };
        if json.is_some() {
            return json;
        }
    }
    Some(value.to_owned())
}

fn boolean(text: &str) -> Option<String> {
    match text {
        "true" | "1" => Some("true".into()),
        "false" | "0" => Some("false".into()),
        _ => None,
    }
}

/// A number as JSON writes it, with the same digits. XML Schema writes some otherwise: `+1`, `01`, `.5`.
/// None for `NaN` and `INF`, which JSON does not have.
fn number(text: &str) -> Option<String> {
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) =
        unsigned.split_at(unsigned.find(['e', 'E']).unwrap_or(unsigned.len()));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = match whole.trim_start_matches('0') {
        "" if whole.is_empty() && fraction.is_empty() => return None,
        "" => "0",
        digits => digits,
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let json = format!("{sign}{whole}{point}{fraction}{exponent}");
    serde_json::from_str::<serde_json::Number>(&json).is_ok().then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(language: Language, text: &str, body: &str) -> Result<String, Error> {
        let statement = Statement::parse("q", language, text).unwrap();
        let answer = answer(&statement, body.as_bytes(), &mut None)?;
        Ok(serde_json::to_string(&answer).unwrap())
    }

    #[test]
    fn cyphers_rows_pass_through() {
        let body =
            r#"{"results": [{"n":1.10,"p":{"~id":"a"}},{"n":12345678901234567890123,"p":null}]}"#;
        let rows = run(Language::Cypher, "RETURN 1", body).unwrap();
        assert_eq!(rows, r#"[{"n":1.10,"p":{"~id":"a"}},{"n":12345678901234567890123,"p":null}]"#);
        let error = run(Language::Cypher, "RETURN 1", "{\"a\":\"s3cret\"}").unwrap_err();
        assert!(error.kind() == ErrorKind::QueryFailed && !error.to_string().contains("s3cret"));
    }

    #[test]
    fn bindings_become_plain_rows() {
        let xsd = "http://www.w3.org/2001/XMLSchema#";
        let body = format!(
            r#"{{"head":{{}},"results":{{"bindings":[{{"s":{{"type":"uri","value":"urn:\"a"}},
            "n":{{"type":"literal","datatype":"{xsd}decimal","value":"1.10"}},
            "x":{{"type":"literal","datatype":"{xsd}double","value":"NaN"}},
            "b":{{"type":"literal","datatype":"{xsd}boolean","value":"true"}}}}]}}}}"#
        );
        let rows = run(Language::Sparql, "SELECT *", &body).unwrap();
        assert_eq!(rows, r#"[{"s":"urn:\"a","n":1.10,"x":"NaN","b":true}]"#);
        let ask = run(Language::Sparql, "ASK {}", r#"{"head":{},"boolean":true}"#).unwrap();
        assert_eq!(ask, r#"[{"boolean":true}]"#);
    }

    #[test]
    fn every_number_and_boolean_of_xml_schema_is_one_of_json() {
        for (datatype, value, json) in [
            ("integer", "12345678901234567890123", "12345678901234567890123"),
            ("nonNegativeInteger", "7", "7"),
            ("positiveInteger", "+7", "7"),
            ("nonPositiveInteger", "-0", "-0"),
            ("negativeInteger", "-007", "-7"),
            ("unsignedLong", "18446744073709551615", "18446744073709551615"),
            ("unsignedInt", "4294967295", "4294967295"),
            ("unsignedShort", "00", "0"),
            ("unsignedByte", " 255 ", "255"),
            ("long", "-1", "-1"),
            ("int", "1", "1"),
            ("short", "1", "1"),
            ("byte", "1", "1"),
            ("decimal", ".50", "0.50"),
            ("decimal", "-5.", "-5"),
            ("double", "1.0E+05", "1.0E+05"),
            ("float", "-INF", "\"-INF\""),
            ("double", "NaN", "\"NaN\""),
            ("integer", "", "\"\""),
            ("integer", "1,2", "\"1,2\""),
            ("integer", "--1", "\"--1\""),
            ("decimal", ".", "\".\""),
            ("boolean", "true", "true"),
            ("boolean", "1", "true"),
            ("boolean", "0", "false"),
            ("boolean", "yes", "\"yes\""),
            ("date", "2026", "\"2026\""),
            ("string", "1", "\"1\""),
        ] {
            let body = format!(
                r#"{{"results":{{"bindings":[{{"x":{{"type":"literal",
                "datatype":"http://www.w3.org/2001/XMLSchema#{datatype}","value":"{value}"}}}}]}}}}"#
            );
            let rows = run(Language::Sparql, "SELECT *", &body).unwrap();
            assert_eq!(rows, format!("[{{\"x\":{json}}}]"), "{datatype} {value}");
        }
    }

    #[test]
    fn a_check_counts_all_and_shows_the_first() {
        let rows: Vec<String> = (0..25).map(|n| format!("{{\"n\":{n}}}")).collect();
        let body = format!("{{\"results\":[{}]}}", rows.join(","));
        let text = "/*+++\nresult = \"check\"\nshow = 7\n+++*/\nMATCH (n) RETURN n";
        let statement = Statement::parse("q", Language::Cypher, text).unwrap();
        let mut violations = None;
        match answer(&statement, body.as_bytes(), &mut violations).unwrap() {
            Answer::Check { violations: 25, rows } => assert_eq!(rows.len(), 7),
            other => panic!("{other:?}"),
        }
        assert_eq!(violations, Some(25));
    }
}
