//! Where in a query file the front matter is: between `/*+++` and `+++*/`, before the statement.

use super::lexer;

const START: &str = "/*+++";
const END: &str = "+++*/";

/// Whether a file holds no statement.
pub(super) fn is_empty(text: &str) -> bool {
    let body = match split(text) {
        Ok(Some((before, front))) => &text[before + front.len() + END.len()..],
        _ => text,
    };
    matches!(body[lexer::skip_comments(body, START)..].trim_end(), "" | ";")
}

/// Where the TOML starts, and the TOML. Comments, such as a licence, may come before it.
pub(super) fn split(text: &str) -> Result<Option<(usize, &str)>, String> {
    let start = lexer::skip_comments(text, START);
    let Some(rest) = text[start..].strip_prefix(START) else {
        return no_marker(text, 0).map(|()| None);
    };
    let before = start + START.len();
    let line = line_of(text, start);
    let end =
        rest.find(END).ok_or_else(|| format!("line {line}: {START} is never closed by {END}"))?;
    no_marker(&text[..start], 0)?;
    no_marker(text, before + end + END.len())?;
    Ok(Some((before, &rest[..end])))
}

/// Front matter in another place would be ignored silently.
fn no_marker(text: &str, from: usize) -> Result<(), String> {
    let found =
        [START, END].into_iter().find_map(|marker| Some((marker, text[from..].find(marker)?)));
    match found {
        None => Ok(()),
        Some((marker, at)) => Err(format!(
            "line {}: {marker} belongs to front matter, which comes once, before the statement",
            line_of(text, from + at)
        )),
    }
}

/// The line of a place in a text, from 1.
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_statement_is_empty() {
        assert!(!is_empty("SELECT 1") && !is_empty("/*+++\n+++*/x"));
        assert!(is_empty("-- nothing\n;") && is_empty("/*+++\n+++*/ /* nothing */"));
    }

    #[test]
    fn comments_may_come_before_it() {
        let text = "-- Copyright\n/* All rights /* reserved */ */\n/*+++\nmode = \"write\"\n+++*/\nSELECT 1";
        let (before, toml) = split(text).unwrap().unwrap();
        assert_eq!((line_of(text, before), toml), (3, "\nmode = \"write\"\n"));
    }

    #[test]
    fn front_matter_elsewhere_is_an_error() {
        for (text, line) in [
            ("SELECT 1\n/*+++\nmode = \"write\"\n+++*/", "line 2: /*+++"),
            ("SELECT 1 +++*/", "line 1: +++*/"),
            ("/*+++\n+++*/\nSELECT 1\n/*+++\n+++*/", "line 4: /*+++"),
            ("/* x\n/*+++ y */ */ SELECT 1", "line 2: /*+++"),
            ("-- /*+++\n/*+++\n+++*/ SELECT 1", "line 1: /*+++"),
            ("/*+++\n+++*/ SELECT '/*+++'", "line 2: /*+++"),
        ] {
            let error = split(text).unwrap_err();
            assert!(error.starts_with(line), "{text}: {error}");
        }
    }
}
