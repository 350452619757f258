//! The values of one run of a query, by the names that its front matter declares.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::value::RawValue;

use super::dates::now;
use super::pick::{Picked, not_in_event, not_in_message, pick_at, unusable};
use super::text::to_text;
use super::{ParamType, Query};
use crate::error::{Error, ErrorKind};

/// The values of one run of a query, in the order of `$1…$n`. Their `Debug` hides them.
#[derive(Clone, Default)]
pub struct Parameters(Vec<Option<Value>>);

/// One value: its text, and what it is in JSON.
#[derive(Clone)]
pub(crate) struct Value {
    pub(crate) text: String,
    #[cfg_attr(not(feature = "mysql"), allow(dead_code, reason = "PostgreSQL takes text"))]
    pub(crate) kind: Kind,
}

/// The kind of a JSON value, for an engine that has literals of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Number,
    Boolean,
    /// An array literal of PostgreSQL's.
    Array,
}

impl Kind {
    fn of(raw: &RawValue, declared: Option<ParamType>) -> Self {
        match (declared, raw.get().trim_start().as_bytes().first()) {
            (Some(ParamType::Array), _) => Self::Array,
            (None, Some(b't' | b'f')) => Self::Boolean,
            (None, Some(b'-' | b'0'..=b'9')) => Self::Number,
            _ => Self::Text,
        }
    }
}

impl Parameters {
    /// No values: for a query without parameters, or whose parameters all have defaults.
    ///
    /// # Errors
    /// As [`Parameters::bind`].
    pub fn none(query: &Query) -> Result<Self, Error> {
        Self::bind(query, &BTreeMap::new())
    }

    /// The fields of a struct of yours, by its `Serialize`, as a query's parameters.
    ///
    /// # Errors
    /// As [`Parameters::bind`]; and [`QueryBadParameter`](ErrorKind::QueryBadParameter) if the value
    /// is not a struct or a map.
    ///
    /// ```
    /// # use rds_iam::query::{Parameters, Query};
    /// #[derive(serde::Serialize)]
    /// struct Ages {
    ///     min_age: i32,
    /// }
    /// let text = "/*+++ params = [{ name = \"min_age\" }] +++*/ SELECT * FROM customers WHERE age >= $1";
    /// let query = Query::parse("customers", text)?;
    /// let parameters = Parameters::of(&query, &Ages { min_age: 18 })?;
    /// # Ok::<(), rds_iam::Error>(())
    /// ```
    pub fn of(query: &Query, values: &impl Serialize) -> Result<Self, Error> {
        // The serializer's own message may quote a value.
        let values = serde_json::to_string(values)
            .and_then(|text| serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&text))
            .map_err(|_| {
                let what = format!("the parameters of query {} cannot be used", query.name);
                Error::new(ErrorKind::QueryBadParameter, what)
                    .because("they are not a struct or a map with text keys")
                    .remedy("Pass a struct with one field for each parameter")
            })?;
        Self::bind(query, &values)
    }

    /// Pairs a query's parameters with the values of an event, and writes each as text. A date that counts
    /// (`{date-1d}`) counts from now.
    ///
    /// # Errors
    /// [`QueryBadParameter`](ErrorKind::QueryBadParameter) if a value is missing or unknown, or has no
    /// form in PostgreSQL's text. The message names the parameter and no value.
    pub fn bind(query: &Query, values: &BTreeMap<String, Box<RawValue>>) -> Result<Self, Error> {
        Self::bind_at(query, values, Some(now()))
    }

    /// The same, for values that were taken from a message with this text: if one is missing because the text
    /// is not a JSON object, the error says so, and where the JSON ends.
    ///
    /// # Errors
    /// As [`Parameters::bind`].
    pub fn bind_message(
        query: &Query,
        values: &BTreeMap<String, Box<RawValue>>,
        text: &str,
    ) -> Result<Self, Error> {
        Self::of_picked(query, pick_at(query, values, Some(now()), || not_in_message(text))?)
    }

    /// The same, with the time that dates count from; `None` refuses such a date.
    ///
    /// # Errors
    /// As [`Parameters::bind`].
    pub fn bind_at(
        query: &Query,
        values: &BTreeMap<String, Box<RawValue>>,
        time: Option<SystemTime>,
    ) -> Result<Self, Error> {
        Self::of_picked(query, pick_at(query, values, time, not_in_event)?)
    }

    fn of_picked(query: &Query, picked: Vec<Picked<'_>>) -> Result<Self, Error> {
        let mut texts = Vec::with_capacity(picked.len());
        for (param, value) in picked {
            let value = value.as_deref();
            let text = match value {
                Some(value) => to_text(value, param.param_type)
                    .map_err(|why| unusable(query, &param.name, why))?,
                None => None,
            };
            let kind = value.map_or(Kind::Text, |value| Kind::of(value, param.param_type));
            texts.push(text.map(|text| Value { text, kind }));
        }
        Ok(Self(texts))
    }

    /// The value of one parameter, if it is a whole number.
    #[cfg(feature = "postgres")]
    pub(crate) fn number(&self, index: usize) -> Option<u64> {
        self.0.get(index)?.as_ref()?.text.parse().ok()
    }

    /// Replaces the value of one parameter.
    #[cfg(feature = "postgres")]
    pub(crate) fn set_number(&mut self, index: usize, number: u64) {
        if let Some(text) = self.0.get_mut(index) {
            *text = Some(Value { text: number.to_string(), kind: Kind::Number });
        }
    }

    /// The values in order, each as text; `None` is NULL.
    pub fn texts(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(|value| value.as_ref().map(|value| value.text.as_str()))
    }

    /// The values in order, with their kinds.
    #[cfg(feature = "mysql")]
    pub(crate) fn values(&self) -> impl Iterator<Item = Option<&Value>> {
        self.0.iter().map(Option::as_ref)
    }
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parameters({} values)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::given::{query, values};
    use super::*;

    #[test]
    fn names_are_checked_and_values_never_shown() {
        let query = query("params = [{ name = \"min_age\" }]");
        for pairs in
            [&[("min_age", "[\"s3cret\"]")][..], &[("s3cret key", "1")], &[("other", "\"s3cret\"")]]
        {
            let error = Parameters::bind(&query, &values(pairs)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryBadParameter);
            let message = error.to_string();
            assert!(message.contains("min_age") && !message.contains("s3cret"), "{message}");
        }
        let missing = Parameters::bind(&query, &values(&[])).unwrap_err().to_string();
        assert!(missing.contains("parameter min_age is missing"), "{missing}");
        let bound = Parameters::bind(&query, &values(&[("min_age", "\"s3cret\"")])).unwrap();
        assert!(!format!("{bound:?}").contains("s3cret"));
    }

    #[test]
    fn a_structs_fields_are_parameters() {
        #[derive(serde::Serialize)]
        struct Values {
            min_age: u64,
        }
        let query = query("params = [{ name = \"min_age\" }]");
        let bound = Parameters::of(&query, &Values { min_age: u64::MAX }).unwrap();
        assert_eq!(bound.texts().collect::<Vec<_>>(), [Some("18446744073709551615")]);
        let error = Parameters::of(&query, &"s3cret").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryBadParameter);
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn defaults_fill_in() {
        let query =
            query("params = [{ name = \"a\", default = 7 }, { name = \"b\", required = false }]");
        let bound = Parameters::bind(&query, &values(&[])).unwrap();
        let texts: Vec<Option<&str>> = bound.texts().collect();
        assert_eq!(texts, [Some("7"), None]);
    }
}
