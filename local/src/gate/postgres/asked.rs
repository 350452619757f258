//! The requests of a PostgreSQL client, by the meaning of its messages: in the simple protocol a Query
//! says it, in the extended one a Parse that may have come long before the Execute.

use std::collections::HashMap;

use super::frames::Frame;
use super::proxy;
use super::startup::LONGEST_NAME;
use crate::gate::sql::{Dialect, Token, statements};

/// The effects of the statements of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Meaning {
    /// Whether one does more than to begin or end a transaction, or to change or reset the session.
    pub(super) queries: bool,
    /// Whether one ends a transaction so that its work stays.
    pub(super) commits: bool,
    /// Why each statement pins a session of RDS Proxy when it has run, as far as its text tells.
    pub(super) pins: Vec<Option<&'static str>>,
}

impl Meaning {
    /// A statement whose text the gate has not seen.
    const UNKNOWN: Self = Self { queries: true, commits: false, pins: Vec::new() };

    fn of(text: &[u8], dialect: Dialect, is_cut: bool) -> Self {
        let mut meaning = Self { queries: is_cut, ..Self::default() };
        for statement in statements(text, dialect) {
            meaning.queries |= !is_control(&statement);
            meaning.commits |= is_commit(&statement);
            meaning.pins.push(proxy::pins(&statement));
        }
        if text.len() > proxy::LONGEST_UNPINNED {
            meaning.pins = vec![Some(proxy::TOO_LONG)];
        }
        meaning
    }
}

/// Whether a statement is about transactions only, or changes what the session holds: settings, prepared
/// statements, cursors. It is EXECUTE that reads or writes, and FETCH, not PREPARE and DECLARE.
fn is_control(statement: &[Token<'_>]) -> bool {
    const TRANSACTIONS: [&str; 8] =
        ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"];
    const SESSIONS: [&str; 10] = [
        "SET",
        "RESET",
        "DISCARD",
        "PREPARE",
        "DEALLOCATE",
        "DECLARE",
        "CLOSE",
        "LISTEN",
        "UNLISTEN",
        "LOAD",
    ];
    let first = statement.first();
    first.is_some_and(|first| first.is_any(&TRANSACTIONS) || first.is_any(&SESSIONS))
}

fn is_commit(statement: &[Token<'_>]) -> bool {
    let first = statement.first();
    first.is_some_and(|first| first.is_any(&["COMMIT", "END"])) || prepares_transaction(statement)
}

/// Whether a statement is the first half of a two-phase commit: its work stays, too.
fn prepares_transaction(statement: &[Token<'_>]) -> bool {
    matches!(statement, [first, second, ..] if first.is("PREPARE") && second.is("TRANSACTION"))
}

/// Whether PostgreSQL says by this tag that it has run such a statement.
pub(super) fn is_commit_tag(tag: &[u8]) -> bool {
    [b"COMMIT\0".as_slice(), b"COMMIT PREPARED\0", b"PREPARE TRANSACTION\0"].contains(&tag)
}

/// The request in one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// To prepare a statement, or to bind it.
    Prepare(Meaning),
    /// To run it.
    Run(Meaning),
    /// Something else.
    Other,
}

/// The statements that a client has prepared and bound, by name.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    statements: HashMap<Vec<u8>, Meaning>,
    portals: HashMap<Vec<u8>, Meaning>,
}

impl Prepared {
    /// The request in a client's message. `dialect` is how PostgreSQL reads SQL in this session now.
    pub(super) fn asks(&mut self, frame: Frame<'_>, dialect: Dialect) -> Asked {
        match frame.kind {
            b'Q' => Asked::Run(Meaning::of(frame.bytes(0), dialect, frame.is_cut())),
            b'P' => {
                let meaning = Meaning::of(frame.bytes(1), dialect, frame.is_cut());
                self.statements.insert(name(frame.bytes(0)).to_vec(), meaning.clone());
                Asked::Prepare(meaning)
            }
            b'B' => {
                let meaning = self.statements.get(name(frame.bytes(1))).cloned();
                let meaning = meaning.unwrap_or(Meaning::UNKNOWN);
                self.portals.insert(name(frame.bytes(0)).to_vec(), meaning.clone());
                Asked::Prepare(meaning)
            }
            b'E' => {
                let meaning = self.portals.get(name(frame.bytes(0))).cloned();
                Asked::Run(meaning.unwrap_or(Meaning::UNKNOWN))
            }
            // A call of a function by its number.
            b'F' => Asked::Run(Meaning::UNKNOWN),
            b'C' => {
                let (kind, closed) = frame.bytes(0).split_first().unwrap_or((&0, &[]));
                match kind {
                    b'S' => self.statements.remove(name(closed)),
                    _ => self.portals.remove(name(closed)),
                };
                Asked::Other
            }
            _ => Asked::Other,
        }
    }
}

/// PostgreSQL tells statements and portals apart by as many bytes as users.
fn name(name: &[u8]) -> &[u8] {
    &name[..name.len().min(LONGEST_NAME)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIALECT: Dialect = Dialect::Postgres { escapes: false };

    fn meaning(text: &str) -> (bool, bool) {
        let Meaning { queries, commits, .. } = Meaning::of(text.as_bytes(), DIALECT, false);
        (queries, commits)
    }

    #[test]
    fn a_commit_is_one_however_it_is_written() {
        for text in [
            "COMMIT",
            "commit",
            "COMMIT;",
            " \n commit work ;",
            "COMMIT TRANSACTION",
            "END",
            "end work",
            "COMMIT AND CHAIN",
            "END AND NO CHAIN",
            "/* c */ -- d\n COMMIT",
            "SET a = 1; COMMIT",
            "COMMIT PREPARED 'p'",
            "PREPARE TRANSACTION 'p'",
            "ROLLBACK; BEGIN; COMMIT",
        ] {
            assert_eq!(meaning(text), (false, true), "{text}");
        }
        for text in ["INSERT INTO t VALUES (1); COMMIT", "BEGIN; SELECT ';'; END;"] {
            assert_eq!(meaning(text), (true, true), "{text}");
        }
    }

    #[test]
    fn other_statements_are_queries_or_control() {
        for text in [
            "SELECT 1",
            "select 'COMMIT'",
            "SELECT 1 AS commit",
            "SELECT CASE WHEN a THEN 1 END",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
            "DO $$ BEGIN COMMIT; END $$",
            "COPY t TO STDOUT",
            "FETCH 1 FROM c",
            "EXECUTE p",
            "SET a = 1; SELECT 1",
            "PREPARE p AS INSERT INTO t VALUES (1); EXECUTE p",
            "CALL p()",
            "EXPLAIN INSERT INTO t VALUES (1)",
            "MERGE INTO t USING u ON true WHEN MATCHED THEN DELETE",
            "WITH x AS (INSERT INTO t VALUES (1) RETURNING 1) SELECT 1",
            "SELECT 1 INTO t",
            "CREATE TABLE t AS SELECT 1",
            "NOTIFY c",
        ] {
            assert_eq!(meaning(text), (true, false), "{text}");
        }
        for text in [
            "",
            ";",
            "-- ping",
            "/* ping */",
            "begin",
            "START TRANSACTION READ ONLY",
            "ROLLBACK TO s",
            "ABORT",
            "SAVEPOINT s",
            "RELEASE s",
            "BEGIN; SET LOCAL a = 1",
            "RESET ALL",
            "close all; unlisten *; DEALLOCATE ALL; DISCARD ALL",
            "PREPARE z AS INSERT INTO t VALUES (1)",
            "DECLARE c CURSOR FOR SELECT 1",
            "LISTEN c; LOAD 'auto_explain'",
        ] {
            assert_eq!(meaning(text), (false, false), "{text}");
        }
    }

    #[test]
    fn an_execute_means_what_was_prepared() {
        let mut prepared = Prepared::default();
        let mut asks = |kind: u8, start: &[u8]| {
            prepared.asks(Frame { kind, start, length: start.len() }, DIALECT)
        };
        let commit = Meaning { commits: true, pins: vec![None], ..Meaning::default() };
        let select = Meaning { pins: vec![None], ..Meaning::UNKNOWN };
        assert_eq!(asks(b'P', b"c\0COMMIT\0\0\0"), Asked::Prepare(commit.clone()));
        assert_eq!(asks(b'P', b"\0SELECT 1\0\0\0"), Asked::Prepare(select.clone()));
        for (bind, expected) in
            [(b"\0c\0".as_slice(), &commit), (b"p\0c\0", &commit), (b"\0\0\0", &select)]
        {
            assert_eq!(asks(b'B', bind), Asked::Prepare(expected.clone()));
        }
        assert_eq!(asks(b'E', b"p\0\0\0\0\0"), Asked::Run(commit.clone()));
        assert_eq!(asks(b'E', b"\0\0\0\0\0"), Asked::Run(select));
        assert_eq!(asks(b'C', b"Sc\0"), Asked::Other);
        assert_eq!(asks(b'B', b"\0c\0"), Asked::Prepare(Meaning::UNKNOWN));
        let long = "n".repeat(LONGEST_NAME);
        asks(b'P', format!("{long}1\0END\0\0\0").as_bytes());
        asks(b'B', format!("{long}2\0{long}3\0").as_bytes());
        assert_eq!(asks(b'E', format!("{long}\0\0\0\0\0").as_bytes()), Asked::Run(commit));
    }
}
