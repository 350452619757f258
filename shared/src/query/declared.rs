//! The declarations of a query file: its mode, the form of its answer, and its parameters.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::metrics::MetricOptions;
use super::source::Source;

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

/// The form of a query's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResultKind {
    /// Its rows, each as a JSON object.
    #[default]
    Rows,
    /// Its one row.
    One,
    /// The number of rows that it affected; the statement runs unwrapped.
    Affected,
    /// Its rows are violations of a rule: their number, and the first of them.
    Check {
        /// Whether any violation fails the invocation.
        fail: bool,
        /// How many of them the answer shows.
        show: usize,
    },
    /// Its rows are CloudWatch metrics.
    Metric(MetricOptions),
}

/// How a JSON value is written for the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParamType {
    /// An array literal, `{1,2}`.
    Array,
    /// JSON text.
    Json,
    /// Text, a number or a boolean too: MySQL takes a text column for a number beside a number.
    Text,
    /// Text, in which `{date-1d}` and the like stand for a date that counts from the time of the event.
    Date,
}

/// One parameter of a query.
#[derive(Clone, Debug)]
pub struct Param {
    /// Its name in the event.
    pub name: String,
    /// The value when the event has none, as JSON.
    pub default: Option<Box<RawValue>>,
    /// Whether the event must give a value. Without one and without a default it is NULL.
    pub required: bool,
    /// The form in which the value is written.
    pub param_type: Option<ParamType>,
    /// Where in a message the value is; without it, the member with the parameter's name.
    pub from: Option<Source>,
}

impl PartialEq for Param {
    fn eq(&self, other: &Self) -> bool {
        let text = |p: &Self| p.default.as_ref().map(|value| value.get().to_owned());
        (&self.name, text(self), self.required, self.param_type, &self.from)
            == (&other.name, text(other), other.required, other.param_type, &other.from)
    }
}

/// The mistake, and its place in the TOML.
pub(super) type Wrong = (usize, String);
