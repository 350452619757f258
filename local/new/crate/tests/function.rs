//! The function's real binary, as Lambda runs it, on a real PostgreSQL that accepts IAM tokens only.

use rds_local_testing::Server;
use serde_json::json;

#[test]
fn sums_up_a_customers_orders() {
    let server = Server::start(&["--init", "tests/data.sql"]);
    let function = server.function(env!("CARGO_BIN_EXE_my-queries"));

    let answer = function.invoke(&json!({ "customer": "Alice" }));
    assert_eq!(answer, Ok(json!({ "orders": 2, "cents": 3000 })));

    let nobody = json!({ "customer": "Nobody" });
    let error = function.invoke(&nobody).unwrap_err();
    assert_eq!(error.error_type, "Orders.None");
}
