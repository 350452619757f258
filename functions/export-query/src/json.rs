//! Rows to lines of JSON, byte for byte as PostgreSQL's `row_to_json` writes them.

use rds_iam::postgres::{Column, ColumnKind, Output, StreamedRow};

use crate::output::{self, Style};
use crate::rounded::Rounded;

/// A line's members: for each column its name, with what stands before and after it.
pub(crate) struct Members(Vec<Vec<u8>>);

impl Members {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let names = columns.iter().enumerate().map(|(index, column)| {
            let mut name = vec![if index == 0 { b'{' } else { b',' }];
            string(column.name.as_bytes(), &mut name);
            name.push(b':');
            name
        });
        Self(names.collect())
    }

    /// Writes the line of a row. Returns `None` if a value is not what its type says.
    pub(crate) fn line(
        &self,
        row: &StreamedRow,
        columns: &[Column],
        rounded: &mut Rounded,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        for ((index, name), column) in self.0.iter().enumerate().zip(columns) {
            out.extend_from_slice(name);
            let Some(raw) = row.raw(index).ok()? else {
                out.extend_from_slice(b"null");
                continue;
            };
            let ColumnKind::Output(kind) = column.kind else { return None };
            let start = out.len();
            value(kind, raw, out)?;
            if may_be_rounded(kind) {
                rounded.look_at(&column.name, &out[start..]);
            }
        }
        out.extend_from_slice(b"}\n");
        Some(())
    }
}

/// Whether values of this kind may be numbers with more digits than a float has.
fn may_be_rounded(kind: Output) -> bool {
    matches!(kind, Output::Int64 | Output::Numeric | Output::Json | Output::Jsonb)
}

fn value(kind: Output, raw: &[u8], out: &mut Vec<u8>) -> Option<()> {
    match kind {
        Output::Bool => {
            out.extend_from_slice(if raw.first()? == &0 { b"false" } else { b"true" });
        }
        Output::Int16 | Output::Int32 | Output::Int64 => {
            output::plain(kind, raw, Style::Xsd, out)?;
        }
        Output::Numeric => {
            let start = out.len();
            if !output::numeric(raw, out)? {
                out.insert(start, b'"');
                out.push(b'"');
            }
        }
        Output::Json => whole(std::str::from_utf8(raw).ok()?.as_bytes(), out),
        Output::Jsonb => whole(std::str::from_utf8(output::jsonb(raw)?).ok()?.as_bytes(), out),
        Output::Text => string(std::str::from_utf8(raw).ok()?.as_bytes(), out),
        Output::Bytes => {
            out.extend_from_slice(b"\"\\\\x");
            output::hex(raw, out);
            out.push(b'"');
        }
        Output::Oid
        | Output::Uuid
        | Output::Date
        | Output::Time
        | Output::Timestamp
        | Output::TimestampTz => {
            out.push(b'"');
            output::plain(kind, raw, Style::Xsd, out)?;
            out.push(b'"');
        }
    }
    Some(())
}

/// Writes JSON on one line. A value of type `json` keeps the line breaks of its text: outside of a string
/// they mean nothing, and inside JSON has none.
pub(crate) fn whole(json: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(json);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

/// `escape_json` of PostgreSQL's `json.c`.
fn string(text: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
    out.push(b'"');
    let mut rest = text;
    // Without an end of its own, this loop looks at many bytes at a time.
    if !text.iter().fold(false, |found, byte| found | special(byte)) {
        out.extend_from_slice(text);
        rest = &[];
    }
    while let Some(at) = rest.iter().position(special) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            b'\x08' => out.extend_from_slice(b"\\b"),
            b'\x0c' => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                out.extend_from_slice(b"\\u00");
                output::hex(&[byte], out);
            }
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_postgresql_does() {
        for (text, expected) in [
            ("", r#""""#),
            ("a b é😀/\u{7f}", "\"a b é😀/\u{7f}\""),
            ("\"\\", r#""\"\\""#),
            ("\u{8}\u{c}\n\r\t\u{1}\u{1f}x", r#""\b\f\n\r\t\u0001\u001fx""#),
        ] {
            let mut out = Vec::new();
            string(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{text:?}");
        }
    }
}
