//! Every type that PostgreSQL has: as a column it comes back as psql gives it, and as a parameter it
//! goes in. A type that is missing here fails the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::process::Command;

use common::{Database, rows, run};
use serde_json::value::to_raw_value;

/// A value of each type, in PostgreSQL's own text form.
const SAMPLES: &[(&str, &str)] = &[
    ("aclitem", "postgres=r/postgres"),
    ("bit(3)", "101"),
    ("bool", "t"),
    ("box", "(2,2),(0,0)"),
    ("bpchar(5)", "ab"),
    ("bytea", "\\xdeadbeef00"),
    ("\"char\"", "x"),
    ("cid", "7"),
    ("cidr", "192.168.0.0/16"),
    ("circle", "<(1,2),3.5>"),
    ("date", "2026-11-23"),
    ("datemultirange", "{[2026-01-01,2026-02-01),[2026-03-01,)}"),
    ("daterange", "[2026-01-01,infinity)"),
    ("float4", "1.5e-10"),
    ("float8", "-Infinity"),
    ("inet", "2001:db8::1/64"),
    ("int2", "-32768"),
    ("int4", "2147483647"),
    ("int4multirange", "{[1,3),[5,7)}"),
    ("int4range", "empty"),
    ("int8", "-9223372036854775808"),
    ("int8multirange", "{}"),
    ("int8range", "[1,)"),
    ("interval", "1 year 2 mons -3 days 04:05:06.789"),
    ("json", "{\"a\": [1, null, \"é\"], \"a\": 2}"),
    ("jsonb", "{\"b\": 1.10, \"a\": {\"c\": \"\\\"\"}}"),
    ("jsonpath", "$.\"a\"[*]"),
    ("line", "{1,-1,0}"),
    ("lseg", "[(0,0),(1,1)]"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("macaddr8", "08:00:2b:01:02:03:04:05"),
    ("money", "-$1,234.56"),
    ("name", "a name"),
    ("numeric", "1234567890123456789012345678901234567890.12345678901234567890"),
    ("nummultirange", "{[1.5,2.5]}"),
    ("numrange", "(,1.5]"),
    ("oid", "4294967295"),
    ("path", "((0,0),(1,1),(2,0))"),
    ("pg_lsn", "16/B374D848"),
    ("pg_snapshot", "10:20:10,14,15"),
    ("point", "(1.5,-2)"),
    ("polygon", "((0,0),(1,1),(2,0))"),
    ("refcursor", "a cursor"),
    ("regclass", "customers"),
    ("regcollation", "\"C\""),
    ("regconfig", "english"),
    ("regdictionary", "simple"),
    ("regnamespace", "public"),
    ("regoper", "||/"),
    ("regoperator", "+(integer,integer)"),
    ("regproc", "pg_backend_pid"),
    ("regprocedure", "abs(integer)"),
    ("regrole", "postgres"),
    ("regtype", "timestamp with time zone"),
    ("text", "line\nbreak, \"quotes\", \\, é, 😀, \u{1}"),
    ("tid", "(42,7)"),
    ("time", "24:00:00"),
    ("timestamp", "infinity"),
    ("timestamptz", "2026-11-23 17:00:00.123456+00"),
    ("timetz", "04:05:06.789-08"),
    ("tsmultirange", "{[\"2026-01-01 00:00:00\",infinity]}"),
    ("tsquery", "'fat' & ( 'rat' | 'cat' )"),
    ("tsrange", "[\"2026-01-01 00:00:00\",\"2026-01-02 00:00:00\")"),
    ("tstzmultirange", "{}"),
    ("tstzrange", "[-infinity,infinity]"),
    ("tsvector", "'a':1A 'fat':2B,4C 'it''s':5"),
    ("txid_snapshot", "10:20:10,14,15"),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("varbit", "10111"),
    ("varchar(9)", "it's"),
    ("xid", "4294967295"),
    ("xid8", "18446744073709551615"),
    ("xml", "<a b=\"c\">d &amp; e</a>"),
    // Of the database's own making.
    ("mood", "so-so"),
    ("positive", "5"),
    ("pair", "(1,\"a \"\"b\"\"\")"),
    ("floats", "[1.5,2.5)"),
];

/// Types that PostgreSQL itself takes no values of.
const INTERNAL: &str = "'gtsvector', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary',
    'pg_dependencies', 'pg_mcv_list', 'pg_ndistinct', 'pg_node_tree'";

const OWN_TYPES: &str = "
    CREATE TYPE mood AS ENUM ('good', 'so-so');
    CREATE DOMAIN positive AS int CHECK (VALUE > 0);
    CREATE TYPE pair AS (n int, t text);
    CREATE TYPE floats AS RANGE (subtype = float8);
    GRANT SELECT ON customers TO iam_rw_user";

/// What psql prints for a statement, a line a row.
fn psql(database: &Database, statement: &str) -> Vec<String> {
    let output = Command::new("psql")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["-X", "-At", "-U", "postgres", "-d", rds_local::DATABASE, "-c", statement, "-h"])
        .arg(database.server.database.postgres().unwrap().socket_folder())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[tokio::test]
async fn every_type_comes_back_as_psql_gives_it() {
    let database = Database::start(|options| options).await;
    database.admin(OWN_TYPES).await;
    let listed: Vec<&str> = SAMPLES
        .iter()
        .map(|(name, _)| name.split('(').next().unwrap_or(name).trim_matches('"'))
        .collect();
    let all = psql(
        &database,
        &format!(
            "SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace
             AND typtype IN ('b', 'r', 'm') AND typcategory <> 'A' AND typname NOT IN ({INTERNAL})"
        ),
    );
    assert!(all.len() > 60);
    for name in &all {
        assert!(listed.contains(&name.as_str()), "there is no sample of {name}");
    }
    // Each alone, as an array of two with a NULL, and as NULL.
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for (index, (name, sample)) in SAMPLES.iter().enumerate() {
        columns.push(format!("c{index} {name}, a{index} {name}[], n{index} {name}"));
        let value = format!("{}::{name}", literal(sample));
        values.push(format!("{value}, ARRAY[{value}, NULL], NULL"));
    }
    database
        .admin(&format!(
            "CREATE TABLE everything ({}); INSERT INTO everything VALUES ({}); GRANT SELECT ON everything TO iam_rw_user",
            columns.join(", "),
            values.join(", ")
        ))
        .await;
    let session = database.session(&[]);
    let answer = run(&session, "SELECT * FROM everything", "{}").await.unwrap();
    let expected = psql(&database, "SELECT row_to_json(everything) FROM everything");
    assert_eq!(rows(&answer), expected);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn every_type_goes_in_as_a_parameter() {
    let database = Database::start(|options| options).await;
    database.admin(OWN_TYPES).await;
    let session = database.session(&[]);
    for (name, sample) in SAMPLES {
        let query = format!("/*+++\nparams = [{{ name = \"v\" }}]\n+++*/ SELECT $1::{name} AS v");
        let params = format!(r#"{{"v":{}}}"#, to_raw_value(sample).unwrap().get());
        let answer = run(&session, &query, &params).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected =
            format!("SELECT row_to_json(_) FROM (SELECT {}::{name} AS v) _", literal(sample));
        assert_eq!(rows(&answer), psql(&database, &expected), "{name}");
    }
    // JSON's own kinds, to the types that they stand for.
    for (declared, value, expected) in [
        ("int8", "9007199254740993", "9007199254740993"),
        (
            "numeric",
            "0.10000000000000000000000000000000000000001",
            "0.10000000000000000000000000000000000000001",
        ),
        ("bool", "true", "true"),
        ("text", "null", "null"),
        ("int", "\"5\"", "5"),
        ("timestamptz", "\"infinity\"", "\"infinity\""),
    ] {
        let query =
            format!("/*+++\nparams = [{{ name = \"v\" }}]\n+++*/ SELECT $1::{declared} AS v");
        let answer = run(&session, &query, &format!(r#"{{"v":{value}}}"#)).await.unwrap();
        assert_eq!(rows(&answer), [format!(r#"{{"v":{expected}}}"#)]);
    }
    database.server.stop().await.unwrap();
}
