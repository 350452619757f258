//! The function's real binary, and its files in the repository.

use std::path::PathBuf;

use rds_local::testing::World;
use rds_local::{Options, READ_WRITE_USER};

/// The repository's root.
pub fn root() -> PathBuf {
    rds_local::testing::root(env!("CARGO_MANIFEST_DIR"))
}

/// A world with the repository's queries, and a user that may write.
pub async fn start() -> World {
    let binary = env!("CARGO_BIN_EXE_batch-job");
    let mut world =
        World::with(binary, |options| Options { user: READ_WRITE_USER.into(), ..options }).await;
    world.set("QUERIES_DIR", root().join("queries").display().to_string());
    world.set("QUERY", "purge_orders");
    world
}
