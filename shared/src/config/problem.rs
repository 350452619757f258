//! One problem of an environment.

use std::fmt;

use crate::flaw::Flaw;
use crate::words;

/// A variable that is missing or wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name.
    pub variable: &'static str,
    /// The flaw of its value.
    pub flaw: Flaw,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words::write(f, format_args!("{} {}", self.variable, self.flaw))
    }
}
