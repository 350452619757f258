//! Effectively once: a message's id goes into a ledger in the transaction of what the message causes.
//!
//! `sql/mysql/ledger.sql` makes the table. The entry is a plain INSERT before the statement, so that a
//! message which arrives again violates the ledger's own key, and nothing else happens.

use mysql_async::Error as MysqlError;

use super::literal;
use crate::error::{Error, ErrorKind};
use crate::query::Query;

/// The lengths of the table's columns. A server without strict mode would cut a longer value, and take two
/// messages for one.
const LONGEST_QUERY: usize = 255;
const LONGEST_ID: usize = 2048;

/// The statement that makes the entry. Its values are literals that no value can end.
///
/// # Errors
/// [`EventInvalid`](ErrorKind::EventInvalid) for an id that is empty or too long.
pub(super) fn entry(query: &Query, message_id: &str) -> Result<String, Error> {
    if message_id.is_empty() || message_id.len() > LONGEST_ID || query.name.len() > LONGEST_QUERY {
        let what = format!("query {} has no id to run under", query.name);
        return Err(Error::new(ErrorKind::EventInvalid, what)
            .because("the id is empty, or it or the query's name is too long for the ledger")
            .remedy("Send shorter ids: 2,048 bytes at most"));
    }
    let (name, id) = (literal::bytes(&query.name), literal::bytes(message_id));
    Ok(format!(
        "INSERT INTO rds_iam.message_ledger (database_name, query, message_id) VALUES (DATABASE(), {name}, {id})"
    ))
}

/// Whether the entry was there: its own error, and not one of the file's statement.
pub(super) fn is_duplicate(error: &MysqlError) -> bool {
    matches!(error, MysqlError::Server(refusal) if refusal.code == 1062)
}

/// The error of a ledger that is missing, or that the user may not write to. Other errors of the entry are
/// those of any statement.
pub(super) fn ledger_error(query: &Query, error: &MysqlError) -> Option<Error> {
    let MysqlError::Server(refusal) = error else { return None };
    let why = match refusal.code {
        1044 | 1142 | 1143 => "the database user may not INSERT into it",
        1049 | 1054 | 1146 => {
            "the table is missing, or is not the one that sql/mysql/ledger.sql makes"
        }
        _ => return None,
    };
    let what =
        format!("query {} could not write its entry into rds_iam.message_ledger", query.name);
    Some(Error::new(ErrorKind::QueryDenied, what).because(format!("{why} ({})", refusal.code)).remedy(
        "Run sql/mysql/ledger.sql on the cluster as an administrator, and grant INSERT on the table to the function's user",
    ))
}
