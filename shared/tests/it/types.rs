//! Every type that PostgreSQL has: as a column it comes back as psql gives it, and as a parameter it
//! goes in. A type that is missing here fails the test.

use crate::common;
use crate::samples;

use std::process::Command;

use common::{Database, rows, run};
use samples::{OWN_TYPES, SAMPLES};
use serde_json::value::to_raw_value;

/// Types that PostgreSQL itself takes no values of.
const INTERNAL: &str = "'gtsvector', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary',
    'pg_dependencies', 'pg_mcv_list', 'pg_ndistinct', 'pg_node_tree'";

/// psql's output for a statement, a line a row.
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
    database.admin("GRANT SELECT ON customers TO iam_rw_user").await;
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
    database.admin("GRANT SELECT ON customers TO iam_rw_user").await;
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
