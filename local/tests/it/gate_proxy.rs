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
            wire.send(&[('P', &parse(name, &again)), ('D', format!("S{name}\0").as_bytes())]).await;
            wire.send(&[('S', b"")]).await;
            wire.until('Z').await.unwrap();
            assert_eq!(pins(&folder, &mut seen).len(), 0, "to prepare {sql}");
            for _ in 0..2 {
                wire.send(&[('B', &bind("", name)), ('E', &execute("")), ('S', b"")]).await;
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
