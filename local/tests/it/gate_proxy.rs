//! Behind `--proxy`, the log names each statement that pins a session of RDS Proxy, when it runs.

use tempfile::TempDir;

use crate::common::wire::session;
use crate::gate_faults::{bind, execute, parse, query, world};

/// The reasons in the gate's log since the last call.
fn pins(folder: &TempDir, seen: &mut usize) -> Vec<String> {
    let log = std::fs::read_to_string(folder.path().join("gate.log")).unwrap();
    let all: Vec<_> = log.lines().filter_map(|line| line.split_once("session pinned: ")).collect();
    let new = all[*seen..].iter().map(|(_, why)| (*why).to_owned()).collect();
    *seen = all.len();
    new
}

#[tokio::test]
async fn behind_rds_proxy_a_statement_pins_when_it_runs_in_either_protocol() {
    let (server, folder) = world(true).await;
    let mut wire = session(&server, "iam_rw_user").await;
    let mut seen = 0;
    let [begin, rollback] = ["begin", "rollback"].map(|name| parse(name, name));
    wire.send(&[('P', &begin), ('P', &rollback), ('S', b"")]).await;
    wire.until('Z').await.unwrap();
    for (sql, why) in [
        ("/*+++ result = \"affected\" +++*/ SET TimeZone TO 'UTC'", Some("SET")),
        ("SELECT set_config('TimeZone', 'UTC', false)", Some("set_config")),
        ("SELECT 1 AS n INTO TEMP i", Some("CREATE TEMPORARY")),
        ("CREATE TABLE pg_temp.p (n int)", Some("CREATE TEMPORARY")),
        ("SELECT pg_advisory_lock(1)", Some("a session's advisory lock")),
        ("SELECT pg_advisory_xact_lock(2)", None),
        ("SELECT 'SET a; LISTEN b', $$nextval('s')$$ -- PREPARE", None),
    ] {
        query(&mut wire, sql).await;
        assert_eq!(pins(&folder, &mut seen), why.into_iter().collect::<Vec<_>>(), "{sql}");
        for name in ["", "named"] {
            let again = sql.replace("TEMP i", "TEMP j").replace("pg_temp.p", "pg_temp.q");
            let described = format!("S{name}\0");
            let described = described.as_bytes();
            wire.send(&[('C', described), ('P', &parse(name, &again)), ('D', described)]).await;
            wire.send(&[('S', b"")]).await;
            wire.until('Z').await.unwrap();
            assert_eq!(pins(&folder, &mut seen).len(), 0, "to prepare {sql}");
            for _ in 0..2 {
                // A table that is rolled back can be made again.
                let run = [('B', bind("", name)), ('E', execute(""))];
                let [begin, end] = ["begin", "rollback"].map(|name| bind("", name));
                let run = [('B', begin), ('E', execute(""))].into_iter().chain(run);
                let run: Vec<_> = run.chain([('B', end), ('E', execute(""))]).collect();
                let run = run.iter().map(|(kind, body)| (*kind, body.as_slice()));
                wire.send(&run.chain([('S', &b""[..])]).collect::<Vec<_>>()).await;
                wire.until('Z').await.unwrap();
                let expected: Vec<_> = why.into_iter().collect();
                assert_eq!(pins(&folder, &mut seen), expected, "{name:?} {sql}");
            }
        }
    }
    for (sql, why) in [
        ("PREPARE x AS SELECT 1", Some("PREPARE")),
        ("EXPLAIN ANALYZE EXECUTE x", Some("EXECUTE")),
        ("CREATE TABLE pg_temp.made AS EXECUTE x", Some("CREATE TEMPORARY")),
        ("COPY (SELECT set_config('a.b', 'c', false)) TO STDOUT", Some("set_config")),
        ("WITH nextval(n) AS (SELECT 1) SELECT n FROM nextval", None),
        ("SELECT n FROM (SELECT 1) AS setval (n)", None),
        ("COPY (SELECT 1 AS set) TO STDOUT", None),
        ("CREATE PUBLICATION temp FOR TABLE t", None),
        ("CREATE TABLE setval (n int)", None),
    ] {
        query(&mut wire, sql).await;
        assert_eq!(pins(&folder, &mut seen), why.into_iter().collect::<Vec<_>>(), "{sql}");
    }
    // PostgreSQL takes names that begin with the same 63 bytes for one.
    let name = "n".repeat(63);
    let listen = parse(&format!("{name}1"), "LISTEN c");
    let bound = bind(&format!("{name}2"), &format!("{name}3"));
    wire.send(&[('P', &listen), ('B', &bound), ('E', &execute(&name)), ('S', b"")]).await;
    let kinds: String = wire.until('Z').await.unwrap().iter().map(|m| m.kind).collect();
    assert_eq!((kinds.as_str(), pins(&folder, &mut seen)), ("12CZ", vec!["LISTEN".to_owned()]));
    let long = format!("SELECT 1 /* {} */", "x".repeat(17_000));
    query(&mut wire, &long).await;
    assert_eq!(pins(&folder, &mut seen), ["a statement longer than 16 KB"]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_postgresql_has_not_run_pins_nothing() {
    let (server, folder) = world(true).await;
    let mut wire = session(&server, "iam_rw_user").await;
    let mut seen = 0;
    for (sql, expected) in [
        ("SET no_such_setting TO 1", &[][..]),
        ("BEGIN; SELECT 1/0; SET a.b = 1; COMMIT", &[]),
        ("ROLLBACK", &[]),
        ("CREATE TEMP TABLE x (n no_such_type)", &[]),
        ("SELECT set_config('no_such_setting', 'x', false)", &[]),
        ("DO $$ BEGIN SET a.b = 1; END $$", &[]),
        // It warns, but PostgreSQL runs it.
        ("SET LOCAL a.b = 1", &["SET"]),
        ("BEGIN; SET a.b = 1; ROLLBACK", &["SET"]),
        ("BEGIN; SET TRANSACTION READ ONLY; SET CONSTRAINTS ALL DEFERRED; COMMIT", &["SET", "SET"]),
        ("LISTEN c; UNLISTEN c; NOTIFY c", &["LISTEN"]),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT; CLOSE c", &["DECLARE"]),
        ("PREPARE p AS SELECT 1; EXECUTE p; DEALLOCATE p", &["PREPARE", "EXECUTE", "DEALLOCATE"]),
        ("DISCARD ALL", &["DISCARD"]),
        // PostgreSQL reads the same text differently.
        (r"SELECT 'x\', ' || pg_advisory_lock(3) || '", &[]),
        ("SET standard_conforming_strings = off", &["SET"]),
        (r"SELECT 'x\', pg_advisory_lock(3), '", &[]),
        (r"SELECT 'x\'', pg_advisory_lock(3) --'", &["a session's advisory lock"]),
        ("RESET standard_conforming_strings", &["RESET"]),
        (r"SELECT 'x\', pg_advisory_lock(3) --'", &["a session's advisory lock"]),
    ] {
        query(&mut wire, sql).await;
        assert_eq!(pins(&folder, &mut seen), expected, "{sql}");
    }

    let [zero, set, copy] =
        ["SELECT 1/0", "SET a.b = 1", "COPY t FROM STDIN"].map(|s| parse("", s));
    let (bound, run) = (bind("", ""), execute(""));
    let statement = |text| [('P', text), ('B', &*bound), ('E', &*run)];
    let sync = [('S', &b""[..])];
    for (name, messages, syncs, expected) in [
        ("behind an error", [&statement(&zero)[..], &statement(&set), &sync].concat(), 1, &[][..]),
        (
            "behind its Sync",
            [&statement(&zero)[..], &sync, &statement(&set), &sync].concat(),
            2,
            &["SET"],
        ),
        ("a portal that is gone", [&[('E', &*run)][..], &sync].concat(), 1, &[]),
        ("alone", [&statement(&set)[..], &sync].concat(), 1, &["SET"]),
    ] {
        wire.send(&messages).await;
        for _ in 0..syncs {
            wire.until('Z').await.unwrap();
        }
        assert_eq!(pins(&folder, &mut seen), expected, "{name}");
    }
    // PostgreSQL skips what comes behind an error that the client has seen, up to its Sync.
    wire.send(&[&statement(&zero)[..], &[('H', b"")]].concat()).await;
    wire.until('E').await.unwrap();
    wire.send(&[&statement(&set)[..], &sync, &statement(&set), &sync].concat()).await;
    wire.until('Z').await.unwrap();
    wire.until('Z').await.unwrap();
    assert_eq!(pins(&folder, &mut seen), ["SET"]);
    // A COPY's data, its Syncs, and what follows.
    wire.send(&[&statement(&copy)[..], &sync].concat()).await;
    wire.until('G').await.unwrap();
    wire.send(&[&[('d', &b"row\n"[..]), ('c', b"")][..], &sync, &statement(&set), &sync].concat())
        .await;
    wire.until('Z').await.unwrap();
    wire.until('Z').await.unwrap();
    assert_eq!(pins(&folder, &mut seen), ["SET"]);
    server.stop().await.unwrap();
}
