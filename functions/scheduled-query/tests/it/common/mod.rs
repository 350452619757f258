//! The function's real binary, and its files in the repository.

use std::path::PathBuf;

use rds_local::Options;
pub use rds_local::testing::{World, summaries};

pub const BINARY: &str = env!("CARGO_BIN_EXE_scheduled-query");

/// The repository's root.
pub fn root() -> PathBuf {
    rds_local::testing::root(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `events/scheduled-query`.
pub fn event(name: &str) -> Vec<u8> {
    std::fs::read(root().join("events/scheduled-query").join(name)).unwrap()
}

/// A world with the repository's queries.
pub async fn start() -> World {
    start_with(|options| options).await
}

pub async fn start_with(change: impl FnOnce(Options) -> Options) -> World {
    let mut world = World::with(BINARY, change).await;
    world.set("QUERIES_DIR", root().join("queries").display().to_string());
    world
}
