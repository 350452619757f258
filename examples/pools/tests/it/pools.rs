//! Each example logs in with a token, and runs a query.

use std::process::Command;

use rds_local::testing::example;
use rds_local::{Options, Server};

#[tokio::test]
async fn every_pool_logs_in_with_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Options::new(folder.path())).await.unwrap();
    for name in ["deadpool", "bb8", "sqlx"] {
        let mut command = Command::new(example(name));
        command.env_clear().envs(server.variables());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(told, "3 customers\n", "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let records = server.gate.log().records();
    assert!(
        records.len() >= 3 && records.iter().all(|record| record.outcome.is_ok()),
        "{records:?}"
    );
    server.stop().await.unwrap();
}
