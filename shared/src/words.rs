//! The one way in which typed facts become text.

use std::fmt;

/// Set while a test build is compiled (`doctor/tests/reversed-words.sh`): messages then have their words in
/// reverse order, and code that reads a fact out of one fails.
const REVERSED: bool = option_env!("RDS_IAM_REVERSED_WORDS").is_some();

pub(crate) fn write(f: &mut fmt::Formatter<'_>, message: fmt::Arguments<'_>) -> fmt::Result {
    if !REVERSED {
        return f.write_fmt(message);
    }
    let text = message.to_string();
    let words: Vec<&str> = text.split(' ').rev().collect();
    f.write_str(&words.join(" "))
}
