//! Finds the columns of an NDJSON export whose numbers common readers round. A number of JSON is a 64-bit float
//! to JavaScript, and beyond 64 bits or with a fraction also to DuckDB, pandas and pyarrow: about 15 digits.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;

/// A float keeps every number of so many characters, the point among them.
const KEPT: usize = 15;

/// The columns that were found.
#[derive(Debug, Default)]
pub(crate) struct Rounded {
    columns: BTreeSet<String>,
}

impl Rounded {
    /// Looks at a member of a row, which may be a number.
    pub(crate) fn look_at(&mut self, column: &str, json: &[u8]) {
        if json.len() > KEPT
            && !self.columns.contains(column)
            && std::str::from_utf8(json).is_ok_and(is_rounded)
        {
            self.columns.insert(column.to_owned());
        }
    }

    /// Looks at a row, a JSON object. Most rows are done with one pass over their bytes.
    pub(crate) fn look(&mut self, row: &str) {
        if !has_long_number(row) {
            return;
        }
        let Ok(values) = serde_json::from_str::<BTreeMap<String, &RawValue>>(row) else { return };
        for (column, value) in values {
            if !self.columns.contains(&column) && is_rounded(value.get()) {
                self.columns.insert(column);
            }
        }
    }

    /// Writes one line about the columns, if there are any.
    pub(crate) fn warn(&self, query: &str) {
        if !self.columns.is_empty() {
            let columns: Vec<&str> = self.columns.iter().map(String::as_str).collect();
            tracing::warn!(
                query,
                columns = columns.join(", "),
                "most readers of NDJSON round numbers of these columns: Parquet and CSV keep every digit"
            );
        }
    }
}

/// Whether digits and points follow one another for longer than a number that every reader keeps.
fn has_long_number(row: &str) -> bool {
    let mut length = 0;
    row.bytes().any(|byte| {
        length = if byte.is_ascii_digit() || byte == b'.' { length + 1 } else { 0 };
        length > KEPT
    })
}

/// Whether a value is a number that a 64-bit float does not give back. A float of PostgreSQL's is given back.
fn is_rounded(json: &str) -> bool {
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    // numeric and bigint have no exponent.
    if !is_number || json.contains(['e', 'E']) {
        return false;
    }
    let (whole, fraction) = digits(json);
    whole.len() + fraction.len() > KEPT
        && json.parse::<f64>().is_ok_and(|float| (whole, fraction) != digits(&float.to_string()))
}

/// The digits before and after the point, without zeros that mean nothing.
fn digits(number: &str) -> (&str, &str) {
    let number = number.trim_start_matches('-');
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    (whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_a_float_does_not_give_back_is_rounded() {
        for (json, rounded) in [
            ("9007199254740992", false),
            ("9007199254740993", true),
            ("-9007199254740993", true),
            ("9223372036854775807", true),
            ("12345678901234567890.5", true),
            ("0.1234567890123456789", true),
            ("123456789012345", false),
            ("1234567890.12345", false),
            ("0.30", false),
            ("100000000000000000000.00", false),
            ("0.79190000000000000000", false),
            // double precision, as row_to_json writes it.
            ("0.30000000000000004", false),
            ("1.7976931348623157e+308", false),
            ("\"12345678901234567890\"", false),
            ("[12345678901234567890]", false),
            ("true", false),
            ("null", false),
            ("-0", false),
        ] {
            assert_eq!(is_rounded(json), rounded, "{json}");
        }
        // More digits than any float has before the point.
        assert!(is_rounded(&"9".repeat(400)));
    }

    #[test]
    fn columns_are_named_once_and_values_never() {
        let mut found = Rounded::default();
        found.look(r#"{"id":1,"total":1.5}"#);
        found.look(
            r#"{"id":9007199254740993,"total":0.12345678901234567891,"card":"4111111111111111"}"#,
        );
        found.look(r#"{"id":9007199254740995,"total":null}"#);
        assert_eq!(found.columns, ["id", "total"].map(str::to_owned).into());
        assert!(!format!("{found:?}").contains("900719"));
        let mut found = Rounded::default();
        found.look_at("id", b"9007199254740993");
        found.look_at("id", b"9007199254740995");
        found.look_at("json", br#"{"n": 9007199254740993}"#);
        found.look_at("kept", b"9007199254740992");
        assert_eq!(found.columns, ["id".to_owned()].into());
    }
}
