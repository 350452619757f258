//! The function's real binary, against MariaDB behind the gate.

use std::path::PathBuf;

use rds_local::database::Engine;
use rds_local::testing::World;
use rds_local::{DATABASE, Options, READ_WRITE_USER};
use serde_json::json;

/// The repository's root.
pub fn root() -> PathBuf {
    rds_local::testing::root(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `events/mysql-query`.
pub fn event(name: &str) -> Vec<u8> {
    std::fs::read(root().join("events/mysql-query").join(name)).unwrap()
}

/// A world with the repository's queries, and a user that may write.
pub async fn start() -> World {
    start_with(|options| options).await
}

pub async fn start_with(change: impl FnOnce(Options) -> Options) -> World {
    let binary = env!("CARGO_BIN_EXE_mysql-query");
    let mysql =
        |options| Options { engine: Engine::Mysql, user: READ_WRITE_USER.into(), ..options };
    let mut world = World::with(binary, |options| change(mysql(options))).await;
    world.set("QUERIES_DIR", root().join("queries/mysql").display().to_string());
    world.set("QUERY", "record_order");
    world
}

/// Runs SQL as the administrator, and returns its output.
pub async fn ask(world: &World, sql: &str) -> String {
    let mariadb = world.server.database.mariadb().unwrap();
    mariadb.run(DATABASE, sql).await.unwrap().trim().to_owned()
}

pub async fn orders(world: &World) -> String {
    ask(world, "SELECT COUNT(*) FROM orders").await
}

/// A batch of SQS with these messages' ids and bodies.
pub fn batch(messages: impl IntoIterator<Item = (String, String)>) -> String {
    let records: Vec<_> = messages
        .into_iter()
        .map(|(id, body)| json!({ "messageId": id, "eventSource": "aws:sqs", "body": body }))
        .collect();
    json!({ "Records": records }).to_string()
}

/// A message of an order.
pub fn order(id: impl std::fmt::Display) -> (String, String) {
    (format!("message-{id}"), json!({ "orderId": format!("order-{id}"), "total": 1 }).to_string())
}
