//! The requests of a MySQL client, by the meaning of its commands
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html>).

use crate::gate::sql::{Dialect, Token, statements};

/// The statement that was prepared last, as MariaDB's clients name it before they know its number.
pub(super) const LAST_PREPARED: u32 = u32::MAX;

/// A command, as far as the gate tells one from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// The end of the session.
    Quit,
    /// Logs in as another user.
    ChangeUser,
    /// Runs the statements of a text.
    Query(&'a [u8]),
    /// Prepares a text.
    Prepare(&'a [u8]),
    /// Runs a prepared statement, by its number.
    Execute(u32),
    /// Forgets it. Has no answer.
    Close(u32),
    /// Forgets all of them, and the session's state.
    ResetConnection,
    /// A piece of a parameter. Has no answer.
    LongData,
    /// Has rows or definitions as its answer, up to an end.
    List,
    /// Has statements' results as its answer.
    ProcessInfo,
    /// Has one packet as its answer.
    Other,
}

impl<'a> Command<'a> {
    /// Reads a command's packet.
    pub(super) fn parse(body: &'a [u8]) -> Self {
        let Some((kind, rest)) = body.split_first() else { return Self::Other };
        let statement = rest.first_chunk().map_or(0, |number| u32::from_le_bytes(*number));
        match kind {
            0x01 => Self::Quit,
            0x03 => Self::Query(rest),
            // COM_FIELD_LIST, COM_STMT_FETCH, and the dumps for replicas
            0x04 | 0x1c | 0x12 | 0x13 | 0x1e => Self::List,
            0x0a => Self::ProcessInfo,
            0x11 => Self::ChangeUser,
            0x16 => Self::Prepare(rest),
            // COM_STMT_EXECUTE, COM_STMT_BULK_EXECUTE
            0x17 | 0xfa => Self::Execute(statement),
            0x18 => Self::LongData,
            0x19 => Self::Close(statement),
            0x1f => Self::ResetConnection,
            _ => Self::Other,
        }
    }
}

/// The effects of the statements of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Whether one does more than to begin or end a transaction, or to change the session.
    pub(super) queries: bool,
    /// The index of the first that ends a transaction so that its work stays.
    pub(super) commits: Option<usize>,
}

impl Meaning {
    /// A statement whose text the gate has not seen.
    pub(super) const UNKNOWN: Self = Self { queries: true, commits: None };

    /// Of a text of which the end is missing, the statements that were cut off may be anything.
    pub(super) fn of(text: &[u8], dialect: Dialect, is_cut: bool) -> Self {
        let statements = statements(text, dialect);
        Self {
            queries: is_cut || statements.iter().any(|statement| !is_control(statement)),
            commits: statements.iter().position(|statement| is_commit(statement)),
        }
    }
}

/// Whether a statement is about transactions only, or changes the session.
fn is_control(statement: &[Token<'_>]) -> bool {
    const CONTROL: [&str; 9] = [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "SET",
        "USE",
        "PREPARE",
        "DEALLOCATE",
    ];
    let second_is = |word| statement.get(1).is_some_and(|second| second.is(word));
    match statement {
        [start, ..] if start.is("START") => second_is("TRANSACTION"),
        // MariaDB's BEGIN NOT ATOMIC … END runs what it holds.
        [begin, ..] if begin.is("BEGIN") => !second_is("NOT"),
        // These write.
        [set, ..] if set.is("SET") && (second_is("PASSWORD") || second_is("DEFAULT")) => false,
        // Of a two-phase transaction, the halves that keep nothing.
        [xa, ..] if xa.is("XA") => ["START", "BEGIN", "END", "ROLLBACK"].into_iter().any(second_is),
        // And SET STATEMENT a = 1 FOR … what follows.
        [set, ..] if set.is("SET") && second_is("STATEMENT") => {
            let behind = statement.iter().position(|word| word.is("FOR"));
            behind.is_none_or(|at| is_control(&statement[at + 1..]))
        }
        [first, ..] => first.is_any(&CONTROL),
        [] => true,
    }
}

/// `COMMIT`, or a half of a two-phase commit: its work stays.
fn is_commit(statement: &[Token<'_>]) -> bool {
    match statement {
        [xa, half, ..] if xa.is("XA") => half.is_any(&["COMMIT", "PREPARE"]),
        [first, ..] => first.is("COMMIT"),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(text: &str) -> (bool, Option<usize>) {
        let Meaning { queries, commits } =
            Meaning::of(text.as_bytes(), Dialect::Mysql { escapes: true }, false);
        (queries, commits)
    }

    #[test]
    fn a_commit_is_one_however_it_is_written() {
        for text in ["COMMIT", "commit;", "/* c */ COMMIT WORK", "# c\nCOMMIT", "/*! COMMIT */"] {
            assert_eq!(meaning(text), (false, Some(0)), "{text}");
        }
        for text in ["XA COMMIT 'x'", "XA PREPARE 'x'"] {
            assert_eq!(meaning(text), (true, Some(0)), "{text}");
        }
        assert_eq!(meaning("INSERT INTO t VALUES (1); COMMIT"), (true, Some(1)));
        assert_eq!(meaning("BEGIN; SELECT ';'; COMMIT; COMMIT"), (true, Some(2)));
        assert_eq!(meaning("start transaction; SET a = 1; commit"), (false, Some(2)));
    }

    #[test]
    fn other_statements_are_queries_or_control() {
        for text in [
            "/* c */ SELECT 1",
            "SELECT 'x; COMMIT'",
            "SELECT `; COMMIT`",
            "SET STATEMENT max_statement_time = 1 FOR SELECT 1",
            "BEGIN NOT ATOMIC INSERT INTO t VALUES (1); COMMIT; END",
            "CREATE PROCEDURE p() BEGIN IF a THEN SET b = 1; END IF; COMMIT; END",
            "START SLAVE",
            "EXECUTE p",
            "EXECUTE IMMEDIATE 'INSERT INTO t VALUES (1)'",
            "PREPARE p FROM 'INSERT INTO t VALUES (1)'; EXECUTE p",
            "CALL p()",
            "REPLACE INTO t VALUES (1)",
            "LOAD DATA LOCAL INFILE 'f' INTO TABLE t",
            "SET PASSWORD FOR u = PASSWORD('p')",
            "SET DEFAULT ROLE r FOR u",
            "SET a = 1; SELECT 1",
        ] {
            assert_eq!(meaning(text), (true, None), "{text}");
        }
        for text in [
            "/* ping */",
            "",
            "SET a = 'b; SELECT'",
            "-- c\nstart transaction",
            "BEGIN WORK",
            "ROLLBACK TO s; RELEASE SAVEPOINT s; SAVEPOINT t",
            "SET STATEMENT a = 1 FOR SET b = 2",
            "use d",
            "PREPARE p FROM 'INSERT INTO t VALUES (1)'; DEALLOCATE PREPARE p",
            "SET ROLE r",
            "XA START 'x'; XA END 'x'; XA ROLLBACK 'x'",
        ] {
            assert_eq!(meaning(text), (false, None), "{text}");
        }
        assert!(Meaning::of(b"BEGIN", Dialect::Mysql { escapes: true }, true).queries);
    }
}
