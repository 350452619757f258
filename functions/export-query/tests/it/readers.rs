//! docs/export.md, "Who reads it": what each reader makes of the same exported rows. `UPDATE_DOCS=1` writes the
//! table.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use rds_local::testing::{World, root};
use serde_json::{Map, Value, json};

const TEXTS: &str = "SELECT * FROM (VALUES
    (1, NULL, '007', true, 123456789012345678.91::numeric(20, 2)), (2, '', '008', false, 1),
    (3, 'NULL', '008', false, 1), (4, 'NA', '008', false, 1), (5, ' ', '008', false, 1))
    v (n, t, code, yes, price) ORDER BY n";
const WHOLE: &str =
    "SELECT 9007199254740993 AS big, 123456789012345678.91::numeric(20, 2) AS price";
/// VALUES has no precision of its own.
const TYPED: &str = "SELECT row, price::numeric(20, 2) AS price, n, big, d, ts, u, j FROM (VALUES
    (1, 123456789012345678.91, 18446744073709551617.5, NULL::bigint, date '9999-12-31',
        timestamp '9999-12-31 00:00', uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": 1}'::jsonb),
    (2, 1, 1, 9007199254740993, NULL, NULL, NULL, NULL))
    v (row, price, n, big, d, ts, u, j) ORDER BY row";

/// The readers by their environment under `target/`.
const READERS: &[(&str, &str)] = &[
    ("pyarrow", "venv-readers"),
    ("pandas", "venv-readers"),
    ("polars", "venv-readers"),
    ("duckdb", "venv-duckdb"),
    ("duckdb", "venv-readers"),
    ("fastparquet", "venv-readers"),
];
const BEGIN: &str =
    "<!-- The table is written by: UPDATE_DOCS=1 cargo test -p export-query readers -->\n";

#[tokio::test]
async fn the_table_of_readers_is_what_they_read() {
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    let objects = [
        ("texts", "csv", TEXTS),
        ("sole", "csv", "SELECT t FROM (VALUES (NULL), (''), ('x')) v (t)"),
        ("whole", "ndjson", WHOLE),
        ("past63", "ndjson", "SELECT 9223372036854775809 AS n"),
        ("past64", "ndjson", "SELECT 18446744073709551617 AS n"),
        ("typed", "parquet", TYPED),
    ];
    world.queries(&objects.map(|(name, _, sql)| (name, sql)));
    let mut function = world.function().await;
    let folder = world.folder().join("objects");
    std::fs::create_dir(&folder).unwrap();
    for (name, ending, _) in objects {
        let key = format!("{name}.{ending}");
        function.ok(json!({ "query": name, "to": key }).to_string()).await;
        std::fs::write(folder.join(&key), world.s3().get(&key).await.unwrap()).unwrap();
    }
    function.stop().await;

    let mut columns: Vec<_> =
        READERS.iter().map(|(reader, place)| column(reader, place, &folder)).collect();
    // Half a gigabyte: its column is recorded by the same program.
    columns.push(("chdb", serde_json::from_str(include_str!("../chdb.json")).unwrap()));
    world.stop().await;
    hold(&table(&columns));
}

/// What a reader says of the objects.
fn column(reader: &'static str, place: &str, folder: &Path) -> (&'static str, Value) {
    let root = root(env!("CARGO_MANIFEST_DIR"));
    let python = root.join("target").join(place).join("bin/python");
    let read = Command::new(&python)
        .arg(root.join("functions/export-query/tests/readers.py"))
        .arg(reader)
        .arg(folder)
        .output()
        .unwrap_or_else(|error| panic!("{} (local/setup.sh --tests): {error}", python.display()));
    assert!(read.status.success(), "{reader}: {}", String::from_utf8_lossy(&read.stderr));
    (reader, serde_json::from_slice(&read.stdout).unwrap())
}

fn table(columns: &[(&str, Value)]) -> String {
    let mut table = "| what was exported |".to_owned();
    for (reader, told) in columns {
        let by_hand = if *reader == "chdb" { ", by hand" } else { "" };
        write!(table, " {reader} {}{by_hand} |", told["version"].as_str().unwrap()).unwrap();
    }
    writeln!(table, "\n|---|{}", "---|".repeat(columns.len())).unwrap();
    let cells = |told: &Value| -> Map<String, Value> { told["cells"].as_object().unwrap().clone() };
    let cases: Vec<_> = cells(&columns[0].1).into_iter().map(|(case, _)| case).collect();
    for case in &cases {
        write!(table, "| {case} |").unwrap();
        for (reader, told) in columns {
            let told = cells(told);
            assert_eq!(told.len(), cases.len(), "{reader} was asked other cases");
            write!(table, " {} |", told[case].as_str().unwrap()).unwrap();
        }
        table.push('\n');
    }
    table
}

/// Compares the document's table with this one.
fn hold(table: &str) {
    let path = root(env!("CARGO_MANIFEST_DIR")).join("docs/export.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once("\n\n").unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}\n{after}")).unwrap();
    } else {
        assert_eq!(
            format!("{written}\n"),
            table,
            "UPDATE_DOCS=1 cargo test -p export-query readers"
        );
    }
}
