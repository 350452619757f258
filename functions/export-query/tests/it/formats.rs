//! Every type of PostgreSQL, exported in every format and read back: by comparison with psql byte for
//! byte, and by DuckDB and pandas value for value.

use crate::samples;

use std::process::Command;

use rds_local::testing::{Function, World, root};
use samples::{OWN_TYPES, SAMPLES};
use serde_json::json;

/// Values that a format's quoting might spoil.
const AWKWARD: &[&str] = &[
    "NULL",
    "''",
    "' '",
    "'\\.'",
    "'\"'",
    "','",
    "E'a\\nb'",
    "E'a\\r\\nb'",
    "E'\\t'",
    "'NULL'",
    "'null'",
    "'é😀'",
    "E'\\x01'",
    "'a\\b'",
    "E'\\n'",
    "'(a,b)'",
    "'{}'",
    "'\"a\"\"b\"'",
];

/// Records with and without a type, in arrays, under domains and inside each other.
const RECORDS: &str = "SELECT * FROM (VALUES
    (1, ROW(1, 'v1'), ARRAY[ROW(1, 'a'), ROW(2, NULL)], ROW(1, ARRAY[1, 2], ROW('x', NULL)),
        ROW(3, 'a \"b\"')::pair, ARRAY[ROW(4, NULL)::pair, NULL], ROW(5, 'd')::checked,
        ARRAY[ROW(6, 'e')::checked], ARRAY[[1, NULL], [3, 4]], '{7,8}'::few, '3 1'::int2vector),
    (2, NULL, NULL, ROW(NULL, NULL, NULL), ROW(NULL, NULL)::pair, '{}', NULL, NULL, '{}', NULL, ''))
    v (n, r, rs, nested, p, ps, c, cs, matrix, few, vector) ORDER BY n";

async fn world() -> World {
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    world.run(OWN_TYPES).await;
    world
        .run("CREATE DOMAIN checked AS pair CHECK ((VALUE).n > 0); CREATE DOMAIN few AS int[]")
        .await;
    let mut columns = Vec::new();
    let mut values = Vec::new();
    for (index, (name, sample)) in SAMPLES.iter().enumerate() {
        columns.push(format!("c{index} {name}, a{index} {name}[], n{index} {name}"));
        let value = format!("'{}'::{name}", sample.replace('\'', "''"));
        values.push(format!("{value}, ARRAY[{value}, NULL], NULL"));
    }
    world
        .run(&format!(
            "CREATE TABLE everything ({}); INSERT INTO everything VALUES ({});
             INSERT INTO everything DEFAULT VALUES; GRANT SELECT ON everything TO iam_ro_user",
            columns.join(", "),
            values.join(", ")
        ))
        .await;
    let awkward: Vec<String> =
        AWKWARD.iter().enumerate().map(|(row, text)| format!("({row}, {text}, {text})")).collect();
    let awkward = format!("SELECT * FROM (VALUES {}) v (n, a, b) ORDER BY n", awkward.join(", "));
    let sole = "SELECT a FROM (VALUES (NULL), (''), ('\\.'), ('a b')) v (a)";
    // Of a declared precision, on both sides of what the binary forms can do.
    let numbers = "SELECT * FROM (VALUES
        (1, 0::numeric(38,10), 'NaN'::numeric, 'Infinity'::float8, 'NaN'::float4, '0001-01-01 BC'::text),
        (2, -1234567890123456789012345678.0123456789, 'Infinity', '-0', '-Infinity', NULL),
        (3, 9999999999999999999999999999.9999999999, '-Infinity', 1e308, 1e-45, ''),
        (4, NULL, 1234567890123456789012345678901234567890.5, NULL, NULL, 'x'))
        v (n, d, any_numeric, f8, f4, t) ORDER BY n";
    // Parquet has no infinite timestamp.
    let finite = SAMPLES.iter().position(|(name, _)| *name == "timestamp").unwrap();
    let parquet = format!(
        "SELECT {} FROM everything",
        SAMPLES
            .iter()
            .enumerate()
            .flat_map(|(i, _)| {
                let cast = if i == finite { "::text" } else { "" };
                [format!("c{i}{cast} AS c{i}"), format!("a{i}"), format!("n{i}")]
            })
            .collect::<Vec<_>>()
            .join(", ")
    );
    world.queries(&[
        ("everything", "SELECT * FROM everything"),
        ("finite", &parquet),
        ("awkward", &awkward),
        ("sole", sole),
        ("numbers", numbers),
        ("records", RECORDS),
        ("infinite", "SELECT 1 AS n, 'infinity'::timestamptz AS t"),
        ("nan", "SELECT 'NaN'::numeric(5,2) AS d"),
        ("days", "SELECT '-infinity'::date AS d"),
        ("twice", "SELECT 1 AS a, 2 AS a"),
        ("nothing", "SELECT 1 AS a, 'x' AS b WHERE false"),
        ("no_columns", "SELECT FROM generate_series(1, 3)"),
        ("line_breaks", "SELECT E'{\"a\":\\n\\r\\n1}'::json AS j"),
    ]);
    world
}

/// Exports a query, and returns the object.
pub(crate) async fn export(
    world: &World,
    function: &mut Function,
    query: &str,
    ending: &str,
) -> Vec<u8> {
    let to = format!("{query}.{ending}");
    let answer = function.ok(json!({ "query": query, "to": to }).to_string()).await;
    assert_eq!(answer["key"], json!(to));
    let object = world.s3().get(&to).await.unwrap();
    assert_eq!(answer["bytes"], json!(object.len()), "{query}");
    object
}

/// What psql writes for a statement.
pub(crate) fn psql(world: &World, statement: &str) -> Vec<u8> {
    let output = Command::new("psql")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .args(["-X", "-qAt", "-U", "postgres", "-d", rds_local::DATABASE, "-c", statement, "-h"])
        .arg(world.server.database.postgres().unwrap().socket_folder())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn what_psql_writes_is_written_and_others_read_it_back() {
    let world = world().await;
    let mut function = world.function().await;
    let queries = world.variables["QUERIES_DIR"].clone();
    let sql = |query: &str| std::fs::read_to_string(format!("{queries}/{query}.sql")).unwrap();
    let folder = world.folder().join("objects");
    std::fs::create_dir(&folder).unwrap();
    for query in ["everything", "finite", "awkward", "sole", "numbers", "records", "nothing"] {
        let csv = export(&world, &mut function, query, "csv").await;
        let copy = format!("COPY ({}) TO STDOUT (FORMAT csv, HEADER)", sql(query));
        assert_eq!(text(csv.clone()), text(psql(&world, &copy)), "{query}");
        let ndjson = export(&world, &mut function, query, "ndjson").await;
        let json = format!("SELECT row_to_json(_) FROM ({}) _", sql(query));
        assert_eq!(text(ndjson.clone()), text(psql(&world, &json)), "{query}");
        for ending in ["csv.gz", "csv.zst", "ndjson.gz", "ndjson.zst"] {
            let packed = export(&world, &mut function, query, ending).await;
            std::fs::write(folder.join(format!("{query}.{ending}")), packed).unwrap();
        }
        std::fs::write(folder.join(format!("{query}.csv")), csv).unwrap();
        std::fs::write(folder.join(format!("{query}.ndjson")), ndjson).unwrap();
        if query != "everything" {
            let parquet = export(&world, &mut function, query, "parquet").await;
            std::fs::write(folder.join(format!("{query}.parquet")), parquet).unwrap();
        }
    }
    let root = root(env!("CARGO_MANIFEST_DIR"));
    let read = Command::new(root.join("target/venv-readers/bin/python"))
        .arg(root.join("functions/export-query/tests/read_back.py"))
        .arg(&folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success(), "{told}{}", String::from_utf8_lossy(&read.stderr));
    assert!(told.contains("34 files were read back"), "{told}");

    let line = export(&world, &mut function, "line_breaks", "ndjson").await;
    assert_eq!(text(line), "{\"j\":{\"a\":   1}}\n");
    for (query, to, kind, word) in [
        ("infinite", "x.parquet", "Query.Failed", "column t"),
        ("nan", "x.parquet", "Query.Failed", "column d"),
        ("days", "x.parquet", "Query.Failed", "column d"),
        ("twice", "x.parquet", "Query.Invalid", "named a"),
        ("twice", "x.ndjson", "Query.Invalid", "named a"),
    ] {
        let error = function.error(json!({ "query": query, "to": to }).to_string()).await;
        assert_eq!(error.error_type, kind, "{query} {to}");
        assert!(error.error_message.contains(word), "{}", error.error_message);
        assert!(world.s3().get(to).await.is_none());
    }
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn rows_without_columns_are_empty_objects_or_refused() {
    let world = world().await;
    let mut function = world.function().await;
    let object = export(&world, &mut function, "no_columns", "ndjson").await;
    assert_eq!(text(object), "{}\n{}\n{}\n");
    for format in ["csv", "csv.gz", "parquet"] {
        let event = json!({ "query": "no_columns", "to": format!("no.{format}") });
        let error = function.error(event.to_string()).await;
        assert_eq!(error.error_type, "Query.Invalid", "{}", error.error_message);
        let expected = "query no_columns has no columns";
        assert!(error.error_message.contains(expected), "{}", error.error_message);
        assert!(world.s3().get(&format!("no.{format}")).await.is_none(), "{format}");
    }
    // The connection serves what follows.
    let object = export(&world, &mut function, "sole", "csv").await;
    assert!(text(object).starts_with("a\n"));
    function.stop().await;
    world.stop().await;
}
