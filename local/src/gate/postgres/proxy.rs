//! What RDS Proxy does differently from a database
//! (<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-pinning.html>).

use super::frames::Frame;

/// A longer statement pins its session.
const LONGEST_UNPINNED: usize = 16 * 1024;
/// Statements that change a session's state begin so.
const PINNING_STARTS: [&str; 11] = [
    "SET",
    "RESET",
    "DISCARD",
    "PREPARE",
    "DEALLOCATE",
    "EXECUTE",
    "LISTEN",
    "LOAD",
    "DECLARE",
    "CREATE TEMP",
    "CREATE TEMPORARY",
];
/// Function calls that change a session's state.
const PINNING_CALLS: [&str; 4] = ["NEXTVAL(", "SETVAL(", "PG_ADVISORY_", "PG_TRY_ADVISORY_"];

/// The reason why a message pins its client to one database connection, or `None`.
pub(super) fn pins(frame: Frame<'_>) -> Option<&'static str> {
    let statement = frame.statement()?.to_ascii_uppercase();
    if frame.length > LONGEST_UNPINNED {
        return Some("a statement longer than 16 KB");
    }
    if frame.is_named_parse() {
        return Some("a named prepared statement");
    }
    let starts = statement.split(';').find_map(|part| {
        let mut words = part.split_whitespace();
        let (first, second) = (words.next()?, words.next().unwrap_or_default());
        let both = format!("{first} {second}");
        PINNING_STARTS.into_iter().find(|start| *start == first || *start == both)
    });
    starts.or_else(|| PINNING_CALLS.into_iter().find(|call| statement.contains(call)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_change_session_state_pin_it() {
        let pinned = |text: &str| {
            let start = format!("{text}\0");
            pins(Frame { kind: b'Q', start: start.as_bytes(), length: start.len() })
        };
        assert_eq!(pinned("BEGIN READ ONLY; SET LOCAL statement_timeout = 1"), Some("SET"));
        assert_eq!(pinned("create temp table t (n int)"), Some("CREATE TEMP"));
        assert_eq!(pinned("SELECT nextval('s')"), Some("NEXTVAL("));
        for harmless in
            ["BEGIN READ ONLY", "SELECT * FROM settings", "UPDATE t SET n = 1", "COMMIT"]
        {
            assert_eq!(pinned(harmless), None, "{harmless}");
        }
    }
}
