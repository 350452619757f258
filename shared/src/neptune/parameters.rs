//! A statement with its values, as a request's body.
//!
//! openCypher's parameters are a JSON object beside the statement, whose values keep the digits that the
//! event wrote. SPARQL over HTTP has no parameters: each `$name` of the file is replaced by one RDF term,
//! a literal whose every special character is escaped, so that no value can end it. Behind LIMIT and
//! OFFSET it is replaced by digits, because no literal may stand there.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use super::tokens::{Kind, Token, tokens};
use super::{Language, Statement};
use crate::error::Error;
use crate::query::{Mode, ParamType, pick, unusable};

const XSD: &str = "http://www.w3.org/2001/XMLSchema#";

/// Values by the parameter's name.
pub(crate) type Values = BTreeMap<String, Box<RawValue>>;

/// The body of a request that runs a statement: a form. `id` names the query for its cancellation.
pub(super) fn form(statement: &Statement, values: &Values, id: &str) -> Result<String, Error> {
    let mut form = String::new();
    match statement.language {
        Language::Cypher => {
            // Neptune assigns openCypher's ids itself, and shows the beginning of running queries.
            push(&mut form, "query", &format!("/* {id} */ {}", statement.query.sql));
            push(&mut form, "parameters", &json(statement, values)?);
        }
        Language::Sparql => {
            let name = if statement.query.mode == Mode::Write { "update" } else { "query" };
            push(&mut form, name, &with_terms(statement, values)?);
            push(&mut form, "queryId", id);
        }
    }
    Ok(form)
}

fn push(form: &mut String, name: &str, value: &str) {
    if !form.is_empty() {
        form.push('&');
    }
    form.push_str(name);
    form.push('=');
    form.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
}

fn json(statement: &Statement, values: &Values) -> Result<String, Error> {
    let mut text = String::from("{");
    for (param, value) in pick(&statement.query, values)? {
        if text.len() > 1 {
            text.push(',');
        }
        // Names are letters, digits and _ only.
        text.push_str(&format!("\"{}\":", param.name));
        let value = value.as_deref().map_or("null", RawValue::get);
        match param.param_type {
            Some(ParamType::Array) if !value.trim_start().starts_with('[') => {
                return Err(unusable(&statement.query, &param.name, "an array is expected"));
            }
            // JSON text is one string to the database.
            Some(ParamType::Json) => {
                let quoted = serde_json::to_string(value);
                text.push_str(&quoted.map_err(|_| {
                    unusable(&statement.query, &param.name, "it is not valid Unicode")
                })?);
            }
            Some(ParamType::Text) => {
                text.push_str(
                    &as_text(value).map_err(|why| unusable(&statement.query, &param.name, why))?,
                );
            }
            _ => text.push_str(value),
        }
    }
    text.push('}');
    Ok(text)
}

/// A JSON value as a JSON string; null stays.
fn as_text(json: &str) -> Result<String, &'static str> {
    match json.trim().as_bytes().first() {
        Some(b'n' | b'"') => Ok(json.to_owned()),
        Some(b'[' | b'{') => Err("it is an array or an object, and its type is \"text\""),
        // A number or a boolean has nothing to escape.
        _ => Ok(format!("\"{}\"", json.trim())),
    }
}

fn with_terms(statement: &Statement, values: &Values) -> Result<String, Error> {
    let query = &statement.query;
    let values: BTreeMap<&str, _> = pick(query, values)?
        .into_iter()
        .map(|(param, value)| (param.name.as_str(), (param.param_type, value)))
        .collect();
    let mut text = String::with_capacity(query.sql.len());
    let mut from = 0;
    let tokens = tokens(&query.sql, Language::Sparql);
    for (index, token) in tokens.iter().enumerate() {
        if token.kind == Kind::Parameter
            && let Some((declared, value)) = values.get(token.text)
        {
            let counts = index.checked_sub(1).is_some_and(|before| takes_count(&tokens[before]));
            let term = match value {
                None => Err(NO_NULL),
                Some(value) if counts => count(value),
                Some(value) => term(value, *declared),
            };
            text.push_str(&query.sql[from..token.place.start]);
            text.push_str(&term.map_err(|why| unusable(query, token.text, why))?);
            from = token.place.end;
        }
    }
    text.push_str(&query.sql[from..]);
    Ok(text)
}

const NO_NULL: &str = "SPARQL has no null: give a value or a default";

/// Whether a number without quotes and type follows, and no other term
/// (<https://www.w3.org/TR/sparql11-query/#rLimitOffsetClauses>).
fn takes_count(token: &Token<'_>) -> bool {
    let words = ["LIMIT", "OFFSET"];
    token.kind == Kind::Word && words.iter().any(|word| token.text.eq_ignore_ascii_case(word))
}

/// A value of LIMIT or OFFSET.
fn count(value: &RawValue) -> Result<String, &'static str> {
    let json = value.get().trim();
    match json.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(json.to_owned()),
        false => Err("LIMIT and OFFSET take a whole number of 0 or more"),
    }
}

/// A value as an RDF literal.
fn term(value: &RawValue, declared: Option<ParamType>) -> Result<String, &'static str> {
    let json = value.get().trim();
    match (json.as_bytes().first(), declared) {
        (Some(b'n'), _) => Err(NO_NULL),
        (_, Some(ParamType::Array)) => Err("SPARQL has no arrays"),
        (_, Some(ParamType::Json)) => literal(json, None),
        (Some(b'"'), None | Some(ParamType::Text | ParamType::Date)) => {
            let text: String = serde_json::from_str(json).map_err(|_| "it is not valid Unicode")?;
            literal(&text, None)
        }
        (Some(b'[' | b'{'), _) => {
            Err("it is an array or an object, and the front matter gives it no type = \"json\"")
        }
        (_, Some(ParamType::Text)) => literal(json, None),
        (Some(b't' | b'f'), None) => literal(json, Some("boolean")),
        _ if json.contains(['e', 'E']) => literal(json, Some("double")),
        _ if json.contains('.') => literal(json, Some("decimal")),
        _ => literal(json, Some("integer")),
    }
}

/// <https://www.w3.org/TR/sparql11-query/#rSTRING_LITERAL2>
fn literal(text: &str, datatype: Option<&str>) -> Result<String, &'static str> {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\0' => return Err("it holds a NUL character, which RDF's text cannot"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('"');
    if let Some(datatype) = datatype {
        out.push_str(&format!("^^<{XSD}{datatype}>"));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(json: &str) -> Values {
        serde_json::from_str(json).unwrap()
    }

    fn sparql(json: &str) -> Result<String, Error> {
        let text = "#+++\n# params = [{ name = \"n\" }]\n#+++\nSELECT ?s { ?s ?p $n, \"$n\" }";
        let statement = Statement::parse("q", Language::Sparql, text).unwrap();
        let text = with_terms(&statement, &values(json))?;
        Ok(text.lines().last().unwrap().to_owned())
    }

    #[test]
    fn terms_are_literals_and_strings_stay_alone() {
        for (value, term) in [
            ("\"a\"", "\"a\""),
            ("\"a\\\"} DROP ALL #\"", "\"a\\\"} DROP ALL #\""),
            ("\"\\\\\"", "\"\\\\\""),
            ("\"\\n$n\"", "\"\\n$n\""),
            ("26", "\"26\"^^<http://www.w3.org/2001/XMLSchema#integer>"),
            ("-1.50", "\"-1.50\"^^<http://www.w3.org/2001/XMLSchema#decimal>"),
            ("1e3", "\"1e3\"^^<http://www.w3.org/2001/XMLSchema#double>"),
            ("true", "\"true\"^^<http://www.w3.org/2001/XMLSchema#boolean>"),
        ] {
            let text = sparql(&format!("{{\"n\":{value}}}")).unwrap();
            assert_eq!(text, format!("SELECT ?s {{ ?s ?p {term}, \"$n\" }}"));
        }
        let text =
            "#+++\n# params = [{ name = \"n\", type = \"text\" }]\n#+++\nSELECT ?s { ?s ?p $n }";
        let as_text = Statement::parse("q", Language::Sparql, text).unwrap();
        let text = with_terms(&as_text, &values("{\"n\":26}")).unwrap();
        assert_eq!(text.lines().last().unwrap(), "SELECT ?s { ?s ?p \"26\" }");
        for value in ["null", "[1]", "{}", "\"\\u0000\"", "\"\\ud800\""] {
            assert!(sparql(&format!("{{\"n\":{value}}}")).is_err(), "{value}");
        }
    }

    #[test]
    fn limit_and_offset_take_digits() {
        let text = "#+++\n# params = [{ name = \"n\" }, { name = \"m\", default = 0 }]\n#+++\n\
            SELECT ?s { ?s ?p $n ; ex:my-limit $n } limit # $n\n $n OFFSET $m";
        let statement = Statement::parse("q", Language::Sparql, text).unwrap();
        let text = with_terms(&statement, &values("{\"n\":2}")).unwrap();
        let two = "\"2\"^^<http://www.w3.org/2001/XMLSchema#integer>";
        let expected =
            format!("SELECT ?s {{ ?s ?p {two} ; ex:my-limit {two} }} limit # $n\n 2 OFFSET 0");
        assert!(text.ends_with(&expected), "{text}");
        for value in
            ["-1", "-0", "1.0", "1e3", "true", "\"2\"", "\"2 } DROP ALL #\"", "null", "[2]"]
        {
            let error = with_terms(&statement, &values(&format!("{{\"n\":1,\"m\":{value}}}")));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("LIMIT and OFFSET") || error.contains("null"), "{error}");
            assert!(!error.contains("DROP"), "{error}");
        }
    }

    #[test]
    fn cyphers_parameters_keep_their_digits() {
        let text = "/*+++\nparams = [{ name = \"a\" }, { name = \"b\", required = false }, { name = \"c\", type = \"json\" }]\n+++*/\nRETURN $a, $b, $c";
        let statement = Statement::parse("q", Language::Cypher, text).unwrap();
        let json = json(&statement, &values(r#"{"a":1.10,"c":{"x":"\""}}"#)).unwrap();
        assert_eq!(json, r#"{"a":1.10,"b":null,"c":"{\"x\":\"\\\"\"}"}"#);
        let text = "/*+++\nparams = [{ name = \"a\", type = \"text\" }]\n+++*/\nRETURN $a";
        let as_text = Statement::parse("q", Language::Cypher, text).unwrap();
        for (given, written) in
            [("0", "\"0\""), ("true", "\"true\""), ("\"a\"", "\"a\""), ("null", "null")]
        {
            let json = super::json(&as_text, &values(&format!("{{\"a\":{given}}}"))).unwrap();
            assert_eq!(json, format!("{{\"a\":{written}}}"));
        }
        assert!(super::json(&as_text, &values(r#"{"a":[1]}"#)).is_err());
        let form = form(&statement, &values(r#"{"a":"&query=x","c":1}"#), "id").unwrap();
        assert!(form.starts_with("query=%2F%2A%20id%20%2A%2F") && form.matches('&').count() == 1);
    }
}
