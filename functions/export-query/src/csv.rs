//! Rows to lines of CSV, byte for byte as `COPY … TO STDOUT (FORMAT csv, HEADER)` writes them.
//!
//! COPY takes no parameters. So the rows come from an ordinary statement, and the quoting is that of
//! `CopyAttributeOutCSV` of PostgreSQL's `copyto.c`.

use rds_iam::postgres::{Column, ColumnKind, Output, StreamedRow};

use crate::output::{self, Style};

/// Writes the line of a header.
pub(crate) fn header<'a>(names: impl ExactSizeIterator<Item = &'a str>, line: &mut Vec<u8>) {
    let sole = names.len() == 1;
    for (index, name) in names.enumerate() {
        if index > 0 {
            line.push(b',');
        }
        text(name.as_bytes(), sole, line);
    }
    line.push(b'\n');
}

/// Writes the line of a row. Returns `None` if a value is not what its type says.
pub(crate) fn line(row: &StreamedRow, columns: &[Column], line: &mut Vec<u8>) -> Option<()> {
    let sole = columns.len() == 1;
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        // No text at all is NULL: an empty string has quotes.
        if let Some(raw) = row.raw(index).ok()? {
            let ColumnKind::Output(kind) = column.kind else { return None };
            field(kind, raw, sole, line)?;
        }
    }
    line.push(b'\n');
    Some(())
}

fn field(kind: Output, raw: &[u8], sole: bool, line: &mut Vec<u8>) -> Option<()> {
    match kind {
        Output::Bool => line.push(if raw.first()? == &0 { b'f' } else { b't' }),
        Output::Numeric => output::numeric(raw, line).map(|_| ())?,
        Output::Bytes => {
            line.extend_from_slice(b"\\x");
            output::hex(raw, line);
        }
        Output::Text | Output::Json => text(raw, sole, line),
        Output::Jsonb => text(output::jsonb(raw)?, sole, line),
        _ => output::plain(kind, raw, Style::Iso, line)?,
    }
    Some(())
}

/// Writes a text that is not NULL. One that is `\.` alone on its line would end COPY's input.
fn text(value: &[u8], sole: bool, line: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let ends_copy = sole && value == b"\\.";
    // Without an end of its own, this loop looks at many bytes at a time.
    let is_special = value.iter().fold(false, |found, byte| found | special(byte));
    if !(value.is_empty() || ends_copy || is_special) {
        line.extend_from_slice(value);
        return;
    }
    line.push(b'"');
    for part in value.split_inclusive(|byte| *byte == b'"') {
        line.extend_from_slice(part);
        if part.ends_with(b"\"") {
            line.push(b'"');
        }
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_copy_does() {
        for (value, sole, expected) in [
            ("abc", false, "abc"),
            ("a b", false, "a b"),
            ("", false, "\"\""),
            ("a,b", false, "\"a,b\""),
            ("c\"d", false, "\"c\"\"d\""),
            ("\"", false, "\"\"\"\""),
            ("\"\"x", false, "\"\"\"\"\"x\""),
            ("e\\f", false, "e\\f"),
            ("\\.", true, "\"\\.\""),
            ("\\.", false, "\\."),
            ("two\nlines", false, "\"two\nlines\""),
            ("é\r", false, "\"é\r\""),
        ] {
            let mut line = Vec::new();
            text(value.as_bytes(), sole, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), expected, "{value:?}");
        }
    }
}
