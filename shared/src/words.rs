//! The one way in which typed facts become text.

use std::fmt;

/// Writes a message. With the feature `reversed-words`, which only tests switch on, its words come in reverse
/// order: code that reads a fact out of a message fails then.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, message: fmt::Arguments<'_>) -> fmt::Result {
    #[cfg(feature = "reversed-words")]
    {
        let text = message.to_string();
        let words: Vec<&str> = text.split(' ').rev().collect();
        f.write_str(&words.join(" "))
    }
    #[cfg(not(feature = "reversed-words"))]
    f.write_fmt(message)
}
