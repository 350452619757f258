//! A cold start with one query on Aurora MySQL, and a warm one, beside a Python program that does the same
//! with boto3 and PyMySQL.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[allow(dead_code, unreachable_pub, reason = "a benchmark uses its part of this")]
#[path = "../tests/it/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::Duration;

use rds_local::testing::{Function, beside};
use tokio::time::Instant;

const EVENT: &str = r#"{"query":"customers","params":{"min_age":18}}"#;
/// As in the Python program.
const WARM_RUNS: usize = 1000;
const COLD: &str = r#"
import boto3, json, os, pymysql
host, port, user = os.environ["MYSQL_HOST"], int(os.environ["MYSQL_TCP_PORT"]), os.environ["MYSQL_USER"]
token = boto3.client("rds").generate_db_auth_token(host, port, user)
connection = pymysql.connect(host="localhost", port=port, user=user, password=token,
    database=os.environ["MYSQL_DATABASE"], ssl_ca=os.environ["MYSQL_SSL_CA"],
    ssl_verify_cert=True, ssl_verify_identity=True, cursorclass=pymysql.cursors.DictCursor)
def run(min_age):
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION READ ONLY")
        cursor.execute("SELECT customer_id, name, email, age FROM customers WHERE age >= %s ORDER BY age DESC", (min_age,))
        rows = cursor.fetchall()
        cursor.execute("ROLLBACK")
        return json.dumps({"rows": rows, "row_count": len(rows)})
assert json.loads(run(18))["row_count"] > 0
"#;
const WARM: &str = r#"
import statistics, time
times = []
for _ in range(1000):
    start = time.perf_counter()
    run(18)
    times.append(time.perf_counter() - start)
print(statistics.median(times) * 1000)
"#;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut world = common::start().await;
    // As in the template: OpenSSL otherwise reads the system's roots, which it then does not use.
    let root = world.variables["MYSQL_SSL_CA"].clone();
    world.set("SSL_CERT_FILE", root);
    let function = Path::new(env!("CARGO_BIN_EXE_mysql-query"));
    let variables = &world.variables;
    let python = ("boto3 and PyMySQL", COLD);
    beside::cold_starts(&common::root(), (function, EVENT), python, variables).await;

    let mut function = Function::start(function, variables, Duration::from_secs(30)).await;
    function.ok(EVENT).await;
    let mut times = Vec::new();
    for _ in 0..WARM_RUNS {
        let start = Instant::now();
        function.ok(EVENT).await;
        times.push(start.elapsed());
    }
    function.stop().await;
    let theirs = beside::python(&common::root(), &format!("{COLD}{WARM}"), variables).await;
    println!("one more query in the same process, {WARM_RUNS} runs, medians");
    println!("  mysql-query         {:8.2} ms, the Runtime API included", beside::median(times));
    println!(
        "  boto3 and PyMySQL   {:8.2} ms, the Runtime API not included",
        theirs.trim().parse::<f64>().unwrap()
    );
    world.stop().await;
}
