//! Warnings of the server about values that it changed to use them: `WHERE age >= 'abc'` compares with 0, and
//! finds every row.

use crate::query::Query;

/// Codes of a value that does not fit, as an error or, where the server goes on, as a warning
/// (<https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>): out of range, truncated,
/// incorrect, or not the JSON of its column or function.
const OF_VALUES: [u16; 12] =
    [1264, 1265, 1292, 1366, 1367, 1406, 1411, 1525, 3140, 3141, 4037, 4038];

/// Whether a value causes an error or warning with this code.
pub(super) fn is_of_a_value(code: u16) -> bool {
    OF_VALUES.contains(&code)
}

/// Writes a line of the log for each code of a value. The server's message has the value, so it stays out.
pub(super) fn log(query: &Query, codes: &[u16]) {
    for (index, code) in codes.iter().enumerate() {
        if is_of_a_value(*code) && !codes[..index].contains(code) {
            tracing::warn!(
                query = query.name,
                code,
                "the database changed a value to use it; declare the parameter as type = \"text\", or send what its column takes"
            );
        }
    }
}
