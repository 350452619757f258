//! An export beside `psql \copy … | gzip` and DuckDB's Parquet, of the same rows, through the same gate, in
//! the same run; and the peak of the function's memory. `EXPORT_MB` is the size of the CSV.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking, its helpers too")]

use std::process::Command;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use rds_iam::token::TokenSigner;
use rds_local::testing::{World, root};
use tokio::time::Instant;

/// Text, numbers and times, as tables have them; about 100 bytes a row.
const TABLE: &str = "CREATE TABLE sales AS SELECT n AS order_id, md5(n::text) AS customer,
    (n::bigint * 7919 % 100000)::numeric(10, 2) / 100 AS total,
    timestamptz '2026-01-01' + n * interval '1 second' AS created_at,
    (ARRAY['new', 'paid', 'shipped', 'returned'])[1 + n % 4] AS status
    FROM generate_series(1, ROWS) n; GRANT SELECT ON sales TO iam_ro_user";

const DUCKDB: &str = r#"
import duckdb, os
from duckdb_extensions import import_extension
import_extension("postgres_scanner")
database = duckdb.connect()
database.execute("LOAD postgres_scanner")
database.execute("ATTACH 'host={PGHOST} hostaddr={PGHOSTADDR} port={PGPORT} dbname={PGDATABASE} user={PGUSER} "
    "sslmode=verify-full sslrootcert={PGSSLROOTCERT}' AS source (TYPE postgres, READ_ONLY)".format(**os.environ))
database.execute("COPY (SELECT * FROM source.public.sales) TO '{FILE}' (FORMAT parquet, COMPRESSION zstd)".format(**os.environ))
"#;

/// The seconds that DuckDB takes for a local file of Parquet.
fn duckdb(world: &World) -> f64 {
    let python = root(env!("CARGO_MANIFEST_DIR")).join("target/venv-duckdb/bin/python");
    let file = world.folder().join("sales.parquet");
    let start = Instant::now();
    let status = Command::new(python)
        .args(["-c", DUCKDB])
        .envs(&world.variables)
        .env("PGPASSWORD", token(world))
        .env("FILE", &file)
        .status()
        .unwrap();
    assert!(status.success());
    let seconds = start.elapsed().as_secs_f64();
    std::fs::remove_file(file).unwrap();
    seconds
}

fn token(world: &World) -> String {
    let variable = |name: &str| world.variables[name].clone();
    let session = Some(variable("AWS_SESSION_TOKEN"));
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
    let signer = TokenSigner {
        host: variable("PGHOST"),
        port: variable("PGPORT").parse().unwrap(),
        region: variable("AWS_REGION"),
        user: variable("PGUSER"),
    };
    let credentials = Credentials::new(id, secret, session, None, "bench");
    #[allow(clippy::disallowed_methods, reason = "the wall clock of a benchmark")]
    let now = SystemTime::now();
    signer.sign(&credentials, now).unwrap().as_str().to_owned()
}

/// The seconds that psql takes, piped into this.
fn psql(world: &World, pipe: &str) -> f64 {
    let start = Instant::now();
    let copy = format!(
        "psql -X -q -c '\\copy (SELECT * FROM sales) TO STDOUT (FORMAT csv, HEADER)' | {pipe}"
    );
    let status = Command::new("bash")
        .args(["-o", "pipefail", "-c", &copy])
        .envs(&world.variables)
        .env("PGPASSWORD", token(world))
        .status()
        .unwrap();
    assert!(status.success());
    start.elapsed().as_secs_f64()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let megabytes: u64 = std::env::var("EXPORT_MB").map_or(200, |text| text.parse().unwrap());
    let rows = megabytes * 11_500;
    let mut world = World::with_s3(env!("CARGO_BIN_EXE_export-query")).await;
    world.run(&TABLE.replace("ROWS", &rows.to_string())).await;
    world.queries(&[("sales", "SELECT * FROM sales")]);
    let size = world.folder().join("size");
    psql(&world, &format!("wc -c > {}", size.display()));
    let bytes: f64 = std::fs::read_to_string(&size).unwrap().trim().parse().unwrap();
    let rate = |seconds: f64| bytes / 1e6 / seconds;
    println!("{rows} rows, {:.0} MB of CSV", bytes / 1e6);
    let mut theirs = std::collections::BTreeMap::new();
    for (ending, pipe) in [("gz", "gzip > /dev/null"), ("", "cat > /dev/null")] {
        let seconds = psql(&world, pipe);
        theirs.insert(ending, seconds);
        println!("psql \\copy | {pipe:<18} {seconds:7.2} s  {:6.1} MB/s of CSV", rate(seconds));
    }
    let seconds = duckdb(&world);
    println!(
        "DuckDB, Parquet with zstd         {seconds:7.2} s  {:6.1} MB/s of CSV",
        rate(seconds)
    );
    for ending in ["csv.gz", "csv.zst", "csv", "ndjson.gz", "ndjson.zst", "parquet"] {
        let mut function = world.function_with_timeout(Duration::from_secs(900)).await;
        let event = format!(r#"{{"query":"sales","to":"sales.{ending}","overwrite":true}}"#);
        let start = Instant::now();
        let answer = function.ok(event).await;
        let seconds = start.elapsed().as_secs_f64();
        let peak = function.memory_kib("VmHWM") / 1024;
        println!(
            "export-query {ending:<12}      {seconds:7.2} s  {:6.1} MB/s of CSV, {:.0} MB, {} parts, peak {peak} MiB, {:.2} x psql | gzip",
            rate(seconds),
            answer["bytes"].as_f64().unwrap() / 1e6,
            answer["parts"],
            theirs["gz"] / seconds,
        );
        function.stop().await;
        world.s3().delete(&format!("sales.{ending}")).await;
    }
    world.stop().await;
}
