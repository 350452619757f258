//! A flaw of a value.

use std::fmt;

use crate::words;

/// A flaw of a value, as a phrase that follows the value's name: `is a URL; give the host name alone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// The flaw itself: `is a URL`.
    pub what: String,
    /// The reason, or what to give instead, with the punctuation before it; may be empty.
    pub hint: String,
}

impl Flaw {
    /// A flaw, and a hint that begins with its punctuation.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words::write(f, format_args!("{}{}", self.what, self.hint))
    }
}

impl std::error::Error for Flaw {}
