//! A row of PostgreSQL's record text to a line of CSV, byte for byte as COPY writes it.
//!
//! COPY takes no parameters. So the rows come from an ordinary statement, as records: there, each field
//! is what its type's output function gives, which is what COPY writes too. Only the quoting differs:
//! `record_out` of PostgreSQL's `rowtypes.c` against `CopyAttributeOutCSV` of its `copyto.c`.

/// Writes the line of a header.
pub(crate) fn header<'a>(names: impl ExactSizeIterator<Item = &'a str>, line: &mut Vec<u8>) {
    let sole = names.len() == 1;
    for (index, name) in names.enumerate() {
        if index > 0 {
            line.push(b',');
        }
        field(name.as_bytes(), false, sole, line);
    }
    line.push(b'\n');
}

/// Writes the line of a record with this many columns. `scratch` is a buffer to use again. Returns
/// `None` if the text is not such a record.
pub(crate) fn line(
    record: &[u8],
    columns: usize,
    scratch: &mut Vec<u8>,
    line: &mut Vec<u8>,
) -> Option<()> {
    let mut rest = record.strip_prefix(b"(")?;
    for index in 0..columns {
        if index > 0 {
            rest = rest.strip_prefix(b",")?;
            line.push(b',');
        }
        rest = next_field(rest, columns == 1, scratch, line)?;
    }
    line.push(b'\n');
    (rest == b")").then_some(())
}

/// Copies one field, and returns what follows it.
fn next_field<'a>(
    text: &'a [u8],
    sole: bool,
    scratch: &mut Vec<u8>,
    line: &mut Vec<u8>,
) -> Option<&'a [u8]> {
    let Some(mut text) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| matches!(byte, b',' | b')'))?;
        let (value, rest) = text.split_at(end);
        if !value.is_empty() {
            field(value, false, sole, line);
        }
        // No text at all is NULL: an empty string has quotes.
        return Some(rest);
    };
    scratch.clear();
    loop {
        let end = text.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        scratch.extend_from_slice(&text[..end]);
        match (text[end], text.get(end + 1)) {
            (b'"', Some(b'"')) => scratch.push(b'"'),
            (b'\\', Some(escaped)) => scratch.push(*escaped),
            (b'"', _) => {
                field(scratch, scratch.is_empty(), sole, line);
                return Some(&text[end + 1..]);
            }
            _ => return None,
        }
        text = &text[end + 2..];
    }
}

/// Writes a value that is not NULL. One that is `\.` alone on its line would end COPY's input.
fn field(value: &[u8], quoted: bool, sole: bool, line: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let ends_copy = sole && value == b"\\.";
    if !(quoted || ends_copy || value.iter().any(special)) {
        line.extend_from_slice(value);
        return;
    }
    line.push(b'"');
    for byte in value {
        if *byte == b'"' {
            line.push(b'"');
        }
        line.push(*byte);
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(record: &str, columns: usize) -> Option<String> {
        let mut out = Vec::new();
        line(record.as_bytes(), columns, &mut Vec::new(), &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn records_become_lines() {
        for (record, columns, expected) in [
            ("(1,abc)", 2, "1,abc\n"),
            ("(,\"\",x)", 3, ",\"\",x\n"),
            ("()", 1, "\n"),
            ("(\"\")", 1, "\"\"\n"),
            ("(\"a b\")", 1, "a b\n"),
            ("(\"a,b\",\"c\"\"d\",\"e\\\\f\")", 3, "\"a,b\",\"c\"\"d\",e\\f\n"),
            ("(\"\\\\.\")", 1, "\"\\.\"\n"),
            ("(\"\\\\.\",)", 2, "\\.,\n"),
            ("(\"two\nlines\",é)", 2, "\"two\nlines\",é\n"),
        ] {
            assert_eq!(csv(record, columns).as_deref(), Some(expected), "{record}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for record in ["", "(", "(1", "(1,2)", "(\"a)", "(1)x", "(\"a\\", "1)"] {
            assert_eq!(csv(record, 1), None, "{record}");
        }
    }
}
