//! Rows of the text protocol as JSON, with every digit that the server wrote.
//!
//! | type | JSON |
//! |---|---|
//! | integers, DECIMAL, FLOAT, DOUBLE, YEAR | a number, with the server's digits |
//! | BIT | a number |
//! | DATE, DATETIME, TIMESTAMP | ISO 8601, in the session's time zone |
//! | TIME | text |
//! | JSON of MySQL | as it is; MariaDB has no such type, and its JSON is text |
//! | BINARY, VARBINARY, BLOB, GEOMETRY | base64 |
//! | everything else | text |

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mysql_async::consts::ColumnType;
use mysql_async::{Column, Row, Value};

/// The character set of bytes that are not text.
const BINARY: u16 = 63;

/// One row as a JSON object; `None` if a value is not what its type says.
pub(super) fn row(row: &Row) -> Option<String> {
    let mut json = String::from("{");
    for (index, column) in row.columns_ref().iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(&serde_json::to_string(&column.name_str()).ok()?);
        json.push(':');
        match row.as_ref(index)? {
            Value::NULL => json.push_str("null"),
            Value::Bytes(bytes) => json.push_str(&value(column, bytes)?),
            // The text protocol has no others.
            _ => return None,
        }
    }
    json.push('}');
    Some(json)
}

fn value(column: &Column, bytes: &[u8]) -> Option<String> {
    use ColumnType::*;
    match column.column_type() {
        MYSQL_TYPE_TINY
        | MYSQL_TYPE_SHORT
        | MYSQL_TYPE_INT24
        | MYSQL_TYPE_LONG
        | MYSQL_TYPE_LONGLONG
        | MYSQL_TYPE_YEAR
        | MYSQL_TYPE_DECIMAL
        | MYSQL_TYPE_NEWDECIMAL
        | MYSQL_TYPE_FLOAT
        | MYSQL_TYPE_DOUBLE => number(bytes),
        MYSQL_TYPE_BIT => {
            let bits = bytes
                .iter()
                .try_fold(0_u64, |bits, byte| Some(bits.checked_mul(256)? | u64::from(*byte)));
            Some(bits?.to_string())
        }
        MYSQL_TYPE_JSON => String::from_utf8(bytes.to_vec()).ok(),
        MYSQL_TYPE_DATETIME
        | MYSQL_TYPE_TIMESTAMP
        | MYSQL_TYPE_DATETIME2
        | MYSQL_TYPE_TIMESTAMP2 => string(&std::str::from_utf8(bytes).ok()?.replacen(' ', "T", 1)),
        MYSQL_TYPE_DATE | MYSQL_TYPE_NEWDATE | MYSQL_TYPE_TIME | MYSQL_TYPE_TIME2 => {
            string(std::str::from_utf8(bytes).ok()?)
        }
        MYSQL_TYPE_GEOMETRY => string(&STANDARD.encode(bytes)),
        _ if column.character_set() == BINARY => string(&STANDARD.encode(bytes)),
        _ => string(std::str::from_utf8(bytes).ok()?),
    }
}

/// The server's digits. Those of ZEROFILL begin with zeros, which JSON's cannot.
fn number(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let stripped = digits.trim_start_matches('0');
    let digits = match stripped.bytes().next() {
        Some(b'0'..=b'9') => stripped.to_owned(),
        _ => format!("0{stripped}"),
    };
    Some(format!("{sign}{digits}"))
}

fn string(text: &str) -> Option<String> {
    serde_json::to_string(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_json() {
        for (server, json) in [
            ("007", "7"),
            ("0", "0"),
            ("-0.50", "-0.50"),
            ("00000.10", "0.10"),
            ("1e20", "1e20"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(number(server.as_bytes()).as_deref(), Some(json));
        }
    }
}
