//! A query file's front matter: TOML between `/*+++` and `+++*/`, before the statement.
//!
//! It is checked strictly: a misspelt key is an error.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::to_raw_value;
use toml::Spanned;

use super::answer::{MOST_SHOWN, SHOWN_VIOLATIONS};
use super::declared::{Mode, Param, ParamType, ResultKind, Wrong};
use super::markers::{line_of, split};
use super::metrics::MetricOptions;
use super::repeat::{RawAdapt, RawChunks, RawRepeat, Repeat};
use super::source::Source;
use crate::emf::UNITS;

/// Lambda's longest time-out.
const LONGEST_TIMEOUT: f64 = 900.0;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawResult {
    #[default]
    Rows,
    One,
    Affected,
    Check,
    Metric,
}

#[derive(Debug, Default)]
pub(super) struct FrontMatter {
    pub(super) description: Option<String>,
    pub(super) params: Vec<Param>,
    pub(super) mode: Mode,
    pub(super) result: ResultKind,
    pub(super) timeout: Option<Duration>,
    pub(super) selectable: bool,
    pub(super) id: Option<Source>,
    pub(super) repeat: Option<Repeat>,
    pub(super) to: Option<String>,
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
    result: RawResult,
    timeout: Option<Spanned<f64>>,
    #[serde(default)]
    selectable: bool,
    id: Option<Spanned<String>>,
    repeat: Option<Spanned<RawRepeat>>,
    pause: Option<Spanned<f64>>,
    max_chunks: Option<Spanned<i64>>,
    adapt: Option<Spanned<RawAdapt>>,
    to: Option<String>,
    fail: Option<Spanned<bool>>,
    show: Option<Spanned<i64>>,
    namespace: Option<Spanned<String>>,
    unit: Option<Spanned<Unit>>,
    dimensions: Option<Spanned<Vec<String>>>,
}

/// One unit for all columns, or each column's own.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a unit, or a table of column = unit")]
enum Unit {
    All(String),
    ByColumn(BTreeMap<String, String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParam {
    name: Spanned<String>,
    default: Option<toml::Value>,
    required: Option<bool>,
    #[serde(rename = "type")]
    param_type: Option<ParamType>,
    from: Option<String>,
}

/// The front matter of a file; without any, the defaults. Errors are phrases with the line.
pub(super) fn parse(text: &str) -> Result<FrontMatter, String> {
    let Some((before, toml_text)) = split(text)? else {
        return Ok(FrontMatter::default());
    };
    let line_of = |offset: usize| line_of(text, before + offset);
    if let Some(offset) = toml_text.find("/*").or(toml_text.find("*/")) {
        return Err(format!("line {}: front matter may not hold /* or */", line_of(offset)));
    }
    let at = |offset: usize, why: String| format!("line {}: {why}", line_of(offset));
    let raw: RawFrontMatter = toml::from_str(toml_text)
        .map_err(|error| at(error.span().map_or(0, |span| span.start), explain(error.message())))?;
    let result = raw.result().map_err(|(offset, why)| at(offset, why))?;
    let timeout = raw.timeout().map_err(|(offset, why)| at(offset, why))?;
    let id = raw.id().map_err(|(offset, why)| at(offset, why))?;
    let mut params: Vec<Param> = Vec::with_capacity(raw.params.len());
    for param in raw.params {
        let offset = param.name.span().start;
        if params.iter().any(|earlier| earlier.name == *param.name.get_ref()) {
            let name = param.name.get_ref();
            return Err(at(offset, format!("the parameter {name} is declared twice")));
        }
        params.push(Param::from_raw(param).map_err(|why| at(offset, why))?);
    }
    let RawFrontMatter { repeat, pause, max_chunks, adapt, .. } = raw;
    let repeat = RawChunks { repeat, pause, max_chunks, adapt }
        .read(raw.mode, &result, &params)
        .map_err(|(offset, why)| at(offset, why))?;
    Ok(FrontMatter {
        description: raw.description,
        params,
        repeat,
        mode: raw.mode,
        result,
        timeout,
        selectable: raw.selectable,
        id,
        to: raw.to,
    })
}

/// The parser's message, with the key that was probably meant.
fn explain(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field").then(|| quoted.next()).flatten();
    let Some(unknown) = unknown else { return message.to_owned() };
    let known: Vec<&str> = quoted.collect();
    let nearest = known.iter().min_by_key(|key| strsim::damerau_levenshtein(key, unknown));
    match nearest {
        Some(key) if strsim::damerau_levenshtein(key, unknown) <= 3 => {
            format!("unknown key {unknown}; did you mean {key}?")
        }
        _ => format!("unknown key {unknown}; the keys are {}", known.join(", ")),
    }
}

impl RawFrontMatter {
    fn timeout(&self) -> Result<Option<Duration>, Wrong> {
        let Some(seconds) = &self.timeout else { return Ok(None) };
        let value = *seconds.get_ref();
        if !(0.001..=LONGEST_TIMEOUT).contains(&value) {
            let why = format!("timeout is in seconds, 0.001 to {LONGEST_TIMEOUT}");
            return Err((seconds.span().start, why));
        }
        Ok(Some(Duration::from_secs_f64(value)))
    }

    fn id(&self) -> Result<Option<Source>, Wrong> {
        let Some(id) = &self.id else { return Ok(None) };
        let offset = id.span().start;
        if self.mode != Mode::Write {
            return Err((offset, "id is for mode = \"write\" only: a read is not recorded".into()));
        }
        Source::parse(id.get_ref())
            .map(Some)
            .map_err(|why| (offset, why.replace("from is", "id is")))
    }

    fn result(&self) -> Result<ResultKind, Wrong> {
        let belongs = |key: &str, offset: Option<usize>, to: RawResult, name: &str| match offset {
            Some(offset) if self.result != to => {
                Err((offset, format!("{key} is for result = \"{name}\" only")))
            }
            _ => Ok(()),
        };
        fn start<T>(value: &Option<Spanned<T>>) -> Option<usize> {
            value.as_ref().map(|value| value.span().start)
        }
        belongs("fail", start(&self.fail), RawResult::Check, "check")?;
        belongs("show", start(&self.show), RawResult::Check, "check")?;
        belongs("namespace", start(&self.namespace), RawResult::Metric, "metric")?;
        belongs("unit", start(&self.unit), RawResult::Metric, "metric")?;
        belongs("dimensions", start(&self.dimensions), RawResult::Metric, "metric")?;
        Ok(match self.result {
            RawResult::Rows => ResultKind::Rows,
            RawResult::One => ResultKind::One,
            RawResult::Affected => ResultKind::Affected,
            RawResult::Check => self.check()?,
            RawResult::Metric => ResultKind::Metric(self.metric_options()?),
        })
    }

    fn check(&self) -> Result<ResultKind, Wrong> {
        let fail = self.fail.as_ref().is_some_and(|fail| *fail.get_ref());
        let Some(show) = &self.show else {
            return Ok(ResultKind::Check { fail, show: SHOWN_VIOLATIONS });
        };
        let wrong = |why: &str| Err((show.span().start, why.to_owned()));
        if fail {
            return wrong(
                "show is for a check without fail: the message of an error shows no rows",
            );
        }
        match usize::try_from(*show.get_ref()) {
            Ok(rows) if *show.get_ref() <= MOST_SHOWN => Ok(ResultKind::Check { fail, show: rows }),
            _ => wrong("show is a number of rows, 0 to 100"),
        }
    }

    fn metric_options(&self) -> Result<MetricOptions, Wrong> {
        let mut options = MetricOptions::default();
        if let Some(namespace) = &self.namespace {
            let name = namespace.get_ref();
            let legal = |c: char| c.is_ascii_alphanumeric() || ".-_/#: ".contains(c);
            if name.trim().is_empty()
                || name.len() > 255
                || !name.chars().all(legal)
                || name.starts_with("AWS/")
            {
                let why = "a namespace has up to 255 letters, digits, spaces and . - _ / # : only, and does not begin with AWS/";
                return Err((namespace.span().start, why.to_owned()));
            }
            options.namespace.clone_from(name);
        }
        if let Some(unit) = &self.unit {
            let offset = unit.span().start;
            match unit.get_ref() {
                Unit::All(all) => options.unit.clone_from(all),
                Unit::ByColumn(units) => options.units = units.clone().into_iter().collect(),
            }
            let used = options.units.iter().map(|(_, unit)| unit).chain([&options.unit]);
            if let Some(unknown) = used.into_iter().find(|unit| !UNITS.contains(&unit.as_str())) {
                let nearest =
                    UNITS.iter().min_by_key(|unit| strsim::damerau_levenshtein(unit, unknown));
                let nearest = nearest.copied().unwrap_or_default();
                return Err((
                    offset,
                    format!("CloudWatch has no unit {unknown}; did you mean {nearest}?"),
                ));
            }
        }
        options.dimensions = self.dimensions.as_ref().map(|names| names.get_ref().clone());
        Ok(options)
    }
}

impl Param {
    fn from_raw(raw: RawParam) -> Result<Self, String> {
        let RawParam { name, default, required, param_type, from } = raw;
        let name = name.into_inner();
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
        let from = from
            .map(|text| Source::parse(&text).map_err(|why| format!("parameter {name}: {why}")))
            .transpose()?;
        Ok(Self { name, default, required, param_type, from })
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
            "\n/*+++\ndescription = \"d\"\nmode = \"write\"\nresult = \"affected\"\ntimeout = 2.5\n\
             params = [{ name = \"a\", default = 1.50 }, { name = \"b\", type = \"array\" }, \
             { name = \"c\", required = false }, { name = \"d\", default = 2026-11-23 }]\n+++*/ SELECT",
        )
        .unwrap();
        assert_eq!(front.description.as_deref(), Some("d"));
        assert_eq!((front.mode, front.result), (Mode::Write, ResultKind::Affected));
        assert_eq!(front.timeout, Some(Duration::from_millis(2500)));
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
    }

    #[test]
    fn mistakes_name_the_line() {
        let unknown = error("description = \"d\"\nparam = []");
        assert_eq!(unknown, "line 3: unknown key param; did you mean params?");
        let inside = error("params = [\n  { name = \"a\", typ = \"json\" }]");
        assert_eq!(inside, "line 3: unknown key typ; did you mean type?");
        assert!(error("schedule = 1").contains("the keys are description, params, mode"));
        assert!(error("mode = \"writes\"").contains("line 2"));
        assert!(error("mode = ").contains("line 2"));
        assert!(error("description = \"*/\"").contains("/* or */"));
        assert!(parse("/*+++\nSELECT 1").unwrap_err().contains("never closed"));
    }

    #[test]
    fn every_result_has_its_keys_and_no_others() {
        let front = parse("/*+++\nresult = \"check\"\nfail = true\n+++*/ SELECT").unwrap();
        assert_eq!(front.result, ResultKind::Check { fail: true, show: 10 });
        let front = parse("/*+++\nresult = \"check\"\nshow = 100\n+++*/ SELECT").unwrap();
        assert_eq!(front.result, ResultKind::Check { fail: false, show: 100 });
        let check = |lines: &str| error(&format!("result = \"check\"\n{lines}"));
        assert!(check("fail = true\nshow = 5").starts_with("line 4: show is for a check without"));
        for wrong in ["-1", "101"] {
            assert!(check(&format!("show = {wrong}")).ends_with("0 to 100"), "{wrong}");
        }
        assert_eq!(error("show = 5"), "line 2: show is for result = \"check\" only");
        let front = parse(
            "/*+++\nresult = \"metric\"\nnamespace = \"Shop\"\nunit = { a = \"Count\" }\n\
             dimensions = [\"region\"]\n+++*/ SELECT",
        );
        let ResultKind::Metric(options) = front.unwrap().result else { panic!("a metric") };
        assert_eq!(options.namespace, "Shop");
        assert_eq!(options.units, [("a".to_owned(), "Count".to_owned())]);
        assert_eq!(options.dimensions, Some(vec!["region".to_owned()]));
        assert_eq!(error("fail = true"), "line 2: fail is for result = \"check\" only");
        assert!(error("result = \"one\"\nunit = \"Count\"").starts_with("line 3: unit is for"));
        let metric = |line: &str| error(&format!("result = \"metric\"\n{line}"));
        assert!(metric("unit = \"Counts\"").ends_with("did you mean Count?"));
        assert!(metric("unit = 5").contains("line 3"));
        assert!(metric("namespace = \"AWS/RDS\"").contains("line 3: a namespace"));
        assert!(error("timeout = 0").contains("line 2: timeout is in seconds"));
        assert!(error("timeout = \"5s\"").contains("line 2"));
    }

    #[test]
    fn contradictions_are_refused() {
        let twice = error("params = [{ name = \"a\" },\n{ name = \"a\" }]");
        assert_eq!(twice, "line 3: the parameter a is declared twice");
        assert!(
            error("params = [{ name = \"a\", required = true, default = 1 }]").contains("keep one")
        );
        assert!(error("params = [{ name = \"a b\" }]").contains("letters"));
        let from = error("params = [{ name = \"a\", from = \"detail/a\" }]");
        assert!(from.starts_with("line 2: parameter a: from is a JSON Pointer"), "{from}");
    }
}
