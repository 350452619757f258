//! Variables, and what is wrong with them: every problem is collected, so that one error reports them all.

use std::collections::HashSet;
use std::ffi::OsString;
use std::str::FromStr;

use super::Problem;
use crate::flaw::Flaw;

pub(super) struct Vars<'a> {
    pub(super) get: &'a dyn Fn(&str) -> Option<OsString>,
    problems: Vec<Problem>,
    seen: HashSet<&'static str>,
}

impl<'a> Vars<'a> {
    pub(super) fn new(get: &'a dyn Fn(&str) -> Option<OsString>) -> Self {
        Self { get, problems: Vec::new(), seen: HashSet::new() }
    }

    /// The configuration, or everything that is wrong.
    pub(super) fn finish<T>(self, read: Option<T>) -> Result<T, Vec<Problem>> {
        match read {
            Some(read) if self.problems.is_empty() => Ok(read),
            _ => Err(self.problems),
        }
    }

    /// A variable's value. What was pasted around it is a problem, and is not part of the value.
    pub(super) fn optional(&mut self, name: &'static str) -> Option<String> {
        let value = self.text(name)?;
        let (clean, flaw) = without_wrapping(&value);
        if let Some(flaw) = flaw {
            self.problem(name, flaw, "");
        }
        Some(clean.to_owned()).filter(|clean| !clean.is_empty())
    }

    /// A variable's value as it stands: a PEM text ends with a line break.
    pub(super) fn text(&mut self, name: &'static str) -> Option<String> {
        match (self.get)(name)?.into_string() {
            Ok(value) if value.is_empty() => None,
            Ok(value) => Some(value),
            Err(_) => {
                self.problem(name, "is not UTF-8", "");
                None
            }
        }
    }

    pub(super) fn required(&mut self, name: &'static str, meaning: &str) -> Option<String> {
        let value = self.optional(name);
        if value.is_none() {
            self.problem(name, "is not set", &format!(": {meaning}"));
        }
        value
    }

    pub(super) fn number(
        &mut self,
        name: &'static str,
        default: u64,
        range: std::ops::RangeInclusive<u64>,
        unit: &str,
    ) -> u64 {
        match self.text(name).map(|value| u64::from_str(value.trim())) {
            None => default,
            Some(Ok(number)) if range.contains(&number) => number,
            Some(_) => {
                let (low, high) = range.into_inner();
                self.problem(name, &format!("is not {unit} from {low} to {high}"), "");
                default
            }
        }
    }

    pub(super) fn one_of<T: Copy>(
        &mut self,
        name: &'static str,
        choices: &[(&str, T)],
        reason: &str,
    ) -> Option<T> {
        let value = self.optional(name)?;
        let choice = choices.iter().find(|(text, _)| *text == value);
        if choice.is_none() {
            let names: Vec<&str> = choices.iter().map(|(text, _)| *text).collect();
            self.problem(name, &format!("must be {}", names.join(" or ")), reason);
        }
        choice.map(|(_, value)| *value)
    }

    /// Notes what is wrong with a variable, once each.
    pub(super) fn problem(&mut self, name: &'static str, what: &str, hint: &str) {
        self.flaw(name, Flaw::new(what, hint));
    }

    /// The same, for a flaw that another module found.
    pub(super) fn flaw(&mut self, variable: &'static str, flaw: Flaw) {
        if self.seen.insert(variable) {
            self.problems.push(Problem { variable, flaw });
        }
    }
}

/// The value without white space and quotes around it, and what was there.
fn without_wrapping(value: &str) -> (&str, Option<&'static str>) {
    let trimmed = value.trim();
    let quoted = |quote: char| trimmed.strip_prefix(quote)?.strip_suffix(quote);
    match quoted('"').or_else(|| quoted('\'')) {
        Some(inner) => (inner.trim(), Some("holds the quotes that it was written with")),
        None if trimmed.len() < value.len() => {
            (trimmed, Some("begins or ends with a space or a line break"))
        }
        None => (value, None),
    }
}
