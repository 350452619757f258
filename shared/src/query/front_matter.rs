//! A query file's front matter: TOML between `/*+++` and `+++*/`, at the very start.
//!
//! Checked strictly, so that a misspelt key is an error and not a surprise.

use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

const START: &str = "/*+++";
const END: &str = "+++*/";

/// Whether a statement may change the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It runs in a read-only transaction.
    #[default]
    Read,
    /// It may write.
    Write,
}

/// What a query answers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultKind {
    /// Its rows, each as a JSON object.
    #[default]
    Rows,
    /// The number of rows that it affected; the statement runs unwrapped.
    Affected,
}

/// How a JSON array or object is written for PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// An array literal, `{1,2}`.
    Array,
    /// JSON text.
    Json,
}

/// One parameter of a query.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name in the event.
    pub name: String,
    /// What stands in for it when the event has none, as JSON.
    pub default: Option<Box<RawValue>>,
    /// Whether the event must have it. One that is not required and has no default is NULL.
    pub required: bool,
    /// How an array or object is written.
    pub param_type: Option<ParamType>,
}

impl PartialEq for Param {
    fn eq(&self, other: &Self) -> bool {
        let text = |p: &Self| p.default.as_ref().map(|value| value.get().to_owned());
        (&self.name, text(self), self.required, self.param_type)
            == (&other.name, text(other), other.required, other.param_type)
    }
}

#[derive(Debug, Default)]
pub(super) struct FrontMatter {
    pub(super) description: Option<String>,
    pub(super) params: Vec<Param>,
    pub(super) mode: Mode,
    pub(super) result: ResultKind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFrontMatter {
    description: Option<String>,
    #[serde(default)]
    params: Vec<RawParam>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    result: ResultKind,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParam {
    name: String,
    default: Option<toml::Value>,
    required: Option<bool>,
    #[serde(rename = "type")]
    param_type: Option<ParamType>,
}

/// The front matter of a file; without any, the defaults. Errors are phrases with the line.
pub(super) fn parse(text: &str) -> Result<FrontMatter, String> {
    let Some((before, toml_text)) = split(text)? else {
        return Ok(FrontMatter::default());
    };
    let line_of = |offset: usize| text[..before + offset].matches('\n').count() + 1;
    if let Some(offset) = toml_text.find("/*").or(toml_text.find("*/")) {
        return Err(format!("line {}: front matter may not hold /* or */", line_of(offset)));
    }
    let raw: RawFrontMatter = toml::from_str(toml_text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(span.start));
        format!("line {line}: {}", error.message())
    })?;
    let mut params: Vec<Param> = Vec::with_capacity(raw.params.len());
    for param in raw.params {
        if params.iter().any(|earlier| earlier.name == param.name) {
            return Err(format!("the parameter {} is declared twice", param.name));
        }
        params.push(Param::from_raw(param)?);
    }
    Ok(FrontMatter { description: raw.description, params, mode: raw.mode, result: raw.result })
}

/// The file's text after the front matter.
pub(super) fn body(text: &str) -> &str {
    match split(text) {
        Ok(Some((before, front))) => &text[before + front.len() + END.len()..],
        _ => text,
    }
}

/// Where the TOML starts, and the TOML.
fn split(text: &str) -> Result<Option<(usize, &str)>, String> {
    let before = text.len() - text.trim_start().len();
    let Some(rest) = text[before..].strip_prefix(START) else {
        return Ok(None);
    };
    let end = rest.find(END).ok_or_else(|| format!("line 1: {START} is never closed by {END}"))?;
    Ok(Some((before + START.len(), &rest[..end])))
}

impl Param {
    fn from_raw(raw: RawParam) -> Result<Self, String> {
        let RawParam { name, default, required, param_type } = raw;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(legal) {
            return Err("a parameter's name has letters, digits and _ only".into());
        }
        if required == Some(true) && default.is_some() {
            return Err(format!("the parameter {name} is required and has a default: keep one"));
        }
        let required = required.unwrap_or(default.is_none());
        let default = default
            .map(|value| match value {
                toml::Value::Datetime(datetime) => to_raw_value(&datetime.to_string()),
                other => to_raw_value(&other),
            })
            .transpose()
            .map_err(|_| format!("the default of parameter {name} has no JSON form"))?;
        Ok(Self { name, default, required, param_type })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(toml: &str) -> String {
        parse(&format!("/*+++\n{toml}\n+++*/\nSELECT 1")).unwrap_err()
    }

    #[test]
    fn all_keys_are_read() {
        let front = parse(
            "\n/*+++\ndescription = \"d\"\nmode = \"write\"\nresult = \"affected\"\n\
             params = [{ name = \"a\", default = 1.50 }, { name = \"b\", type = \"array\" }, \
             { name = \"c\", required = false }, { name = \"d\", default = 2026-11-23 }]\n+++*/ SELECT",
        )
        .unwrap();
        assert_eq!(front.description.as_deref(), Some("d"));
        assert_eq!((front.mode, front.result), (Mode::Write, ResultKind::Affected));
        let default = |i: usize| front.params[i].default.as_ref().map(|v| v.get());
        assert_eq!(default(0), Some("1.5"));
        assert_eq!(default(3), Some("\"2026-11-23\""));
        assert!(!front.params[0].required && front.params[1].required && !front.params[2].required);
        assert_eq!(front.params[1].param_type, Some(ParamType::Array));
    }

    #[test]
    fn none_means_the_defaults() {
        let front = parse("-- plain\nSELECT 1").unwrap();
        assert_eq!((front.mode, front.result), (Mode::Read, ResultKind::Rows));
        assert_eq!(body("SELECT 1"), "SELECT 1");
        assert_eq!(body("/*+++\n+++*/x"), "x");
    }

    #[test]
    fn mistakes_name_the_line() {
        let unknown = error("description = \"d\"\nparam = []");
        assert!(unknown.contains("line 3") && unknown.contains("params"), "{unknown}");
        assert!(error("mode = \"writes\"").contains("line 2"));
        assert!(error("mode = ").contains("line 2"));
        assert!(error("description = \"*/\"").contains("/* or */"));
        assert!(parse("/*+++\nSELECT 1").unwrap_err().contains("never closed"));
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(error("params = [{ name = \"a\" }, { name = \"a\" }]").contains("twice"));
        assert!(
            error("params = [{ name = \"a\", required = true, default = 1 }]").contains("keep one")
        );
        assert!(error("params = [{ name = \"a b\" }]").contains("letters"));
    }
}
