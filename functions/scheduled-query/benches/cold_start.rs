//! A cold start with one query on PostgreSQL, beside a Python program that does the same with boto3 and
//! psycopg.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::path::Path;

use rds_local::testing::{World, beside, root};

const PYTHON: &str = r#"
import boto3, json, os, psycopg
from psycopg.rows import dict_row
host, port, user = os.environ["PGHOST"], os.environ["PGPORT"], os.environ["PGUSER"]
token = boto3.client("rds").generate_db_auth_token(host, int(port), user)
with psycopg.connect(password=token, sslmode="verify-full", row_factory=dict_row) as connection:
    connection.read_only = True
    rows = connection.execute(
        "SELECT customer_id, name, email, age FROM customers WHERE age >= %s ORDER BY age DESC", (26,)).fetchall()
    answer = json.dumps({"rows": rows, "row_count": len(rows)})
assert json.loads(answer)["row_count"] == 2, answer
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let function = Path::new(env!("CARGO_BIN_EXE_scheduled-query"));
    let mut world = World::start(function).await;
    let root = root(env!("CARGO_MANIFEST_DIR"));
    world.set("QUERIES_DIR", root.join("queries").display().to_string());
    // As in the template: OpenSSL otherwise reads the system's roots, which it then does not use.
    let roots = world.variables["PGSSLROOTCERT"].clone();
    world.set("SSL_CERT_FILE", roots);
    let event = r#"{"query":"customers","params":{"min_age":26}}"#;
    let python = ("boto3 and psycopg", PYTHON);
    beside::cold_starts(&root, (function, event), python, &world.variables).await;
    world.stop().await;
}
