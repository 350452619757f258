//! The faults of the PostgreSQL gate strike by what a message means: each way in which a driver may commit,
//! query or prepare meets them, and the database tells what has run.

use std::io::ErrorKind;

use rds_local::gate::Fault;
use rds_local::{Options, Server};
use tempfile::TempDir;

use crate::common::start;
use crate::common::wire::{Message, Wire, session};

const TABLE: &str = "CREATE TABLE t (way text); GRANT ALL ON t TO iam_rw_user;
    ALTER SYSTEM SET max_prepared_transactions = 10;";

/// A server with an empty table, which takes two-phase commits.
pub async fn world(proxy: bool) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("init.sql");
    std::fs::write(&script, TABLE).unwrap();
    let init = Some(script);
    let (mut server, folder) = start(|options| Options { init, proxy, ..options }).await;
    server.inject(Fault::Restart).await.unwrap();
    (server, folder)
}

/// How many rows of this way are committed, or prepared to be.
pub async fn count(server: &Server, way: &str) -> i64 {
    let admin = server.database.superuser("sample_db").await.unwrap();
    let sql = "SELECT (SELECT count(*) FROM t WHERE way = $1) +
                      (SELECT count(*) FROM pg_prepared_xacts WHERE gid = $1)";
    let row = admin.query_one(sql, &[&way]).await.unwrap();
    row.get(0)
}

/// A session in a transaction that has written a row of this way.
async fn in_transaction(server: &Server, way: &str) -> Wire {
    server.gate.set_fault(Fault::None);
    let mut wire = session(server, "iam_rw_user").await;
    query(&mut wire, "BEGIN").await;
    query(&mut wire, &format!("INSERT INTO t VALUES ($q${way}$q$)")).await;
    wire
}

pub async fn query(wire: &mut Wire, sql: &str) -> Vec<Message> {
    wire.send(&[('Q', format!("{sql}\0").as_bytes())]).await;
    wire.until('Z').await.unwrap()
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    format!("{name}\0{sql}\0\0\0").into_bytes()
}

pub fn bind(portal: &str, name: &str) -> Vec<u8> {
    format!("{portal}\0{name}\0\0\0\0\0\0\0").into_bytes()
}

pub fn execute(portal: &str) -> Vec<u8> {
    format!("{portal}\0\0\0\0\0").into_bytes()
}

/// Fails unless the connection is reset before any answer to what was just sent.
pub async fn is_reset(wire: &mut Wire, what: &str) {
    match wire.next().await {
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}"),
        Ok(message) => panic!("{what}: {message:?}"),
    }
}

/// What a driver sends behind a statement's Sync, and an error before it, change nothing of when it is struck.
#[tokio::test]
async fn a_flush_or_an_error_leaves_nobody_waiting() {
    let (server, _folder) = world(false).await;
    let (one, zero) = (parse("", "SELECT 1"), parse("", "SELECT 1/0"));
    let (bound, run) = (bind("", ""), execute(""));
    let statement = |text| [('P', text), ('B', &*bound), ('E', &*run)];
    let mut wire = session(&server, "iam_rw_user").await;
    server.gate.set_fault(Fault::ResetBeforeAnswer);
    wire.send(&[&statement(&one)[..], &[('S', b""), ('H', b"")]].concat()).await;
    is_reset(&mut wire, "a Flush behind the Sync").await;

    server.gate.set_fault(Fault::None);
    let mut wire = session(&server, "iam_rw_user").await;
    server.gate.set_fault(Fault::ResetBeforeAnswer);
    wire.send(&[&statement(&zero)[..], &statement(&one), &[('H', b"")]].concat()).await;
    is_reset(&mut wire, "an error in a pipeline").await;

    server.gate.set_fault(Fault::None);
    let mut wire = session(&server, "iam_rw_user").await;
    server.gate.set_fault(Fault::ResetBeforeAnswer);
    wire.send(&[('Q', b"COPY t FROM STDIN\0")]).await;
    wire.until('G').await.unwrap();
    wire.send(&[('d', b"a\tb\n"), ('c', b"")]).await;
    is_reset(&mut wire, "a COPY that fails").await;

    let mut wire = in_transaction(&server, "failed").await;
    wire.send(&[('Q', b"SELECT 1/0\0")]).await;
    wire.until('Z').await.unwrap();
    server.gate.set_fault(Fault::ResetAtCommit);
    let commit = parse("", "COMMIT");
    wire.send(&[&statement(&commit)[..], &[('S', b""), ('H', b"")]].concat()).await;
    wire.until('Z').await.unwrap();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_commit_is_struck_when_it_has_run() {
    let (server, _folder) = world(false).await;
    for way in [
        "COMMIT",
        "COMMIT;",
        "commit",
        "  Commit Work ; ",
        "COMMIT TRANSACTION",
        "END",
        "end transaction;",
        "COMMIT AND CHAIN",
        "/* a /* b */ */ COMMIT -- c",
        "--\nCOMMIT",
        "INSERT INTO t VALUES (''); COMMIT",
        "COMMIT; SELECT 1",
        "PREPARE TRANSACTION 'PREPARE TRANSACTION'",
    ] {
        let mut wire =
            in_transaction(&server, way.trim_end_matches(" 'PREPARE TRANSACTION'")).await;
        server.gate.set_fault(Fault::ResetAtCommit);
        wire.send(&[('Q', format!("{way}\0").as_bytes())]).await;
        is_reset(&mut wire, way).await;
        let way = way.trim_end_matches(" 'PREPARE TRANSACTION'");
        assert_eq!(count(&server, way).await, 1, "{way}");
    }
    let mut wire = in_transaction(&server, "second half").await;
    query(&mut wire, "PREPARE TRANSACTION 'p'").await;
    server.gate.set_fault(Fault::ResetAtCommit);
    wire.send(&[('Q', b"COMMIT PREPARED 'p'\0")]).await;
    is_reset(&mut wire, "COMMIT PREPARED").await;
    assert_eq!(count(&server, "second half").await, 1);

    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_commit_of_the_extended_protocol_is_struck_when_it_has_run() {
    let (server, _folder) = world(false).await;
    let mut wire = in_transaction(&server, "extended").await;
    server.gate.set_fault(Fault::ResetAtCommit);
    let (p, b, e) = (parse("", "commit"), bind("", ""), execute(""));
    wire.send(&[('P', &p), ('B', &b), ('E', &e), ('S', b"")]).await;
    is_reset(&mut wire, "extended").await;
    assert_eq!(count(&server, "extended").await, 1);

    let mut wire = in_transaction(&server, "flushed").await;
    server.gate.set_fault(Fault::ResetAtCommit);
    wire.send(&[('P', &p), ('B', &b), ('E', &e), ('H', b"")]).await;
    is_reset(&mut wire, "flushed").await;
    assert_eq!(count(&server, "flushed").await, 1);

    let mut wire = in_transaction(&server, "prepared").await;
    wire.send(&[('P', &parse("c", "/**/ END")), ('S', b"")]).await;
    wire.until('Z').await.unwrap();
    server.gate.set_fault(Fault::ResetAtCommit);
    wire.send(&[('B', &bind("p", "c")), ('E', &execute("p")), ('S', b"")]).await;
    is_reset(&mut wire, "prepared").await;
    assert_eq!(count(&server, "prepared").await, 1);

    // A read in one flight: its answers stop before the first.
    server.gate.set_fault(Fault::None);
    let mut wire = session(&server, "iam_rw_user").await;
    server.gate.set_fault(Fault::ResetAtCommit);
    let select = parse("", "SELECT 1");
    wire.send(&[
        ('Q', b"BEGIN READ ONLY\0"),
        ('P', &select),
        ('B', &b),
        ('E', &e),
        ('S', b""),
        ('Q', b"COMMIT\0"),
    ])
    .await;
    is_reset(&mut wire, "a flight").await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_does_not_commit_is_not_struck_at_commit() {
    let (server, _folder) = world(false).await;
    for (way, tag) in [
        ("ROLLBACK", "ROLLBACK\0"),
        ("SELECT 'COMMIT'", "SELECT 1\0"),
        ("SELECT CASE WHEN true THEN 1 END", "SELECT 1\0"),
        ("SAVEPOINT commit", "SAVEPOINT\0"),
        ("DO $$BEGIN END$$", "DO\0"),
    ] {
        let mut wire = in_transaction(&server, way).await;
        server.gate.set_fault(Fault::ResetAtCommit);
        let messages = query(&mut wire, way).await;
        let complete = messages.iter().find(|message| message.kind == 'C').unwrap();
        assert_eq!(complete.body, tag.as_bytes());
    }
    // PostgreSQL rolls back instead, or never gets to the COMMIT: the client learns so.
    let mut wire = in_transaction(&server, "failed").await;
    query(&mut wire, "SELECT 1/0").await;
    server.gate.set_fault(Fault::ResetAtCommit);
    let kinds = |messages: Vec<Message>| messages.iter().map(|m| m.kind).collect::<String>();
    wire.send(&[('P', &parse("", "END")), ('B', &bind("", "")), ('E', &execute("")), ('H', b"")])
        .await;
    assert_eq!(kinds(wire.until('C').await.unwrap()), "12C");
    wire.send(&[('S', b"")]).await;
    assert_eq!(kinds(wire.until('Z').await.unwrap()), "Z");
    let mut wire = in_transaction(&server, "failed").await;
    query(&mut wire, "SELECT 1/0").await;
    server.gate.set_fault(Fault::ResetAtCommit);
    assert_eq!(kinds(query(&mut wire, "COMMIT").await), "CZ");
    let mut wire = in_transaction(&server, "failed").await;
    server.gate.set_fault(Fault::ResetAtCommit);
    assert_eq!(kinds(query(&mut wire, "SELECT 1/0; COMMIT").await), "EZ");
    assert_eq!(count(&server, "failed").await, 0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_query_is_struck_before_it_runs() {
    let (server, _folder) = world(false).await;
    let insert = |way: &str| format!("/* c */ insert into t values ('{way}')");
    let mut wires = Vec::new();
    for way in ["simple", "several", "parsed", "named", "bound", "function call"] {
        server.gate.set_fault(Fault::None);
        let mut wire = session(&server, "iam_rw_user").await;
        let text = insert(way);
        let e = execute("p");
        if way == "named" || way == "bound" {
            wire.send(&[('P', &parse("s", &text)), ('S', b"")]).await;
            wire.until('Z').await.unwrap();
        }
        if way == "bound" {
            wire.send(&[('B', &bind("p", "s")), ('H', b"")]).await;
            wire.until('2').await.unwrap();
        }
        server.gate.set_fault(Fault::ResetBeforeQuery);
        for harmless in
            ["begin", "START TRANSACTION", "SET LOCAL a.b = 1", "/* ping */", "", "END;"]
        {
            // A Query would end what is open.
            if way != "bound" {
                query(&mut wire, harmless).await;
            }
        }
        match way {
            "simple" => wire.send(&[('Q', format!("{text}\0").as_bytes())]).await,
            "several" => wire.send(&[('Q', format!("BEGIN; {text}; END\0").as_bytes())]).await,
            "parsed" => wire.send(&[('P', &parse("", &text)), ('S', b"")]).await,
            "named" => wire.send(&[('B', &bind("p", "s")), ('E', &e), ('S', b"")]).await,
            "bound" => wire.send(&[('E', &e), ('S', b"")]).await,
            // pg_backend_pid()
            _ => wire.send(&[('F', b"\0\0\x07\xea\0\0\0\0\0\0")]).await,
        }
        is_reset(&mut wire, way).await;
        assert_eq!(count(&server, way).await, 0, "{way}");
        wires.push(wire);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_query_is_struck_when_it_has_run_and_not_before() {
    let (server, _folder) = world(false).await;
    for way in ["simple", "several", "extended", "prepared", "flushed", "copied"] {
        server.gate.set_fault(Fault::None);
        let mut wire = session(&server, "iam_rw_user").await;
        let text = format!("insert into t values ('{way}')");
        let (p, b, e) = (parse("", &text), bind("", ""), execute(""));
        server.gate.set_fault(Fault::ResetBeforeAnswer);
        match way {
            "simple" => wire.send(&[('Q', format!("{text}\0").as_bytes())]).await,
            "several" => wire.send(&[('Q', format!("BEGIN; {text}; END\0").as_bytes())]).await,
            "extended" => wire.send(&[('P', &p), ('B', &b), ('E', &e), ('S', b"")]).await,
            "prepared" => {
                // To prepare a statement is not to run it.
                let named = parse("s", &text);
                wire.send(&[('P', &named), ('D', b"Ss\0"), ('S', b"")]).await;
                wire.until('Z').await.unwrap();
                wire.send(&[('B', &bind("", "s")), ('E', &e), ('S', b"")]).await;
            }
            "flushed" => {
                let (begin, mine) = (parse("", "BEGIN"), bind("p", ""));
                let run = execute("p");
                wire.send(&[('P', &begin), ('B', &mine), ('E', &run)]).await;
                wire.send(&[('P', &p), ('B', &b), ('E', &e), ('H', b"")]).await;
            }
            _ => {
                wire.send(&[('Q', b"COPY t FROM STDIN\0")]).await;
                wire.until('G').await.unwrap();
                wire.send(&[('d', b"copied\n"), ('c', b"")]).await;
            }
        }
        is_reset(&mut wire, way).await;
        // The flushed one is in a transaction that ends with its connection.
        assert_eq!(count(&server, way).await, i64::from(way != "flushed"), "{way}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn once_strikes_one_connection_only() {
    let (server, folder) = world(false).await;
    let (mut first, mut second) =
        (in_transaction(&server, "one").await, in_transaction(&server, "two").await);
    server.gate.set_fault_once(Fault::ResetAtCommit);
    first.send(&[('Q', b"END\0")]).await;
    is_reset(&mut first, "END").await;
    assert_eq!(query(&mut second, "END").await.len(), 2);
    assert_eq!((count(&server, "one").await, count(&server, "two").await), (1, 1));
    let log = std::fs::read_to_string(folder.path().join("gate.log")).unwrap();
    assert_eq!(log.matches("session ended: connection reset: fault injection").count(), 1, "{log}");
    server.stop().await.unwrap();
}

/// To prepare a statement, or to declare a cursor, is not to run it.
#[tokio::test]
async fn a_write_is_struck_where_it_runs_in_every_form() {
    let (server, _folder) = world(false).await;
    let select = "SELECT 1 UNION ALL SELECT 2";
    for (way, before, sql) in [
        ("execute", "PREPARE z AS INSERT INTO t VALUES ('execute')", "EXECUTE z"),
        (
            "fetch",
            "BEGIN; DECLARE z CURSOR FOR SELECT 1",
            "FETCH z; INSERT INTO t VALUES ('fetch')",
        ),
        ("cte", "", "WITH x AS (INSERT INTO t VALUES ('cte') RETURNING way) TABLE x"),
        ("plan", "", "EXPLAIN ANALYZE INSERT INTO t VALUES ('plan')"),
        ("do", "", "DO $$ BEGIN INSERT INTO t VALUES ('do'); END $$"),
        (
            "merge",
            "",
            "MERGE INTO t USING (VALUES ('merge')) v(w) ON false
                WHEN NOT MATCHED THEN INSERT VALUES (v.w)",
        ),
        ("copy", "", "INSERT INTO t VALUES ('copy'); COPY (SELECT 1) TO STDOUT"),
        ("union", "", &format!("{select}; INSERT INTO t SELECT 'union'")),
    ] {
        for (fault, written) in [(Fault::ResetBeforeQuery, 0), (Fault::ResetBeforeAnswer, 1)] {
            server.gate.set_fault(Fault::None);
            let mut wire = session(&server, "iam_rw_user").await;
            server.gate.set_fault(fault);
            if !before.is_empty() {
                let told = query(&mut wire, before).await;
                assert!(told.iter().all(|message| message.kind != 'E'), "{way}: {told:?}");
            }
            wire.send(&[('Q', format!("{sql}\0").as_bytes())]).await;
            is_reset(&mut wire, way).await;
            // What is in a transaction ends with its connection.
            let written = if way == "fetch" { 0 } else { written };
            assert_eq!(count(&server, way).await, written, "{way} {fault:?}");
        }
    }
    server.stop().await.unwrap();
}
