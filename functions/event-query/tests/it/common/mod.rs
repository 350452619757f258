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
    let binary = env!("CARGO_BIN_EXE_event-query");
    let mut world =
        World::with(binary, |options| Options { user: READ_WRITE_USER.into(), ..options }).await;
    world.set("QUERIES_DIR", root().join("queries").display().to_string());
    world.set("QUERY", "record_order");
    world.set("EVENT_ENVELOPES", "sns,s3,eventbridge");
    world
}

/// Kinds of failure that a fault of the network or the database may cause for a whole event.
pub const OF_AN_EVENT: [&str; 5] = [
    "Network.Unreachable",
    "Network.Timeout",
    "Auth.Rejected",
    "Database.Unavailable",
    "Query.Timeout",
];

/// Kinds of failure that such a fault, or a poison message, may cause for a record.
pub const OF_A_RECORD: [&str; 9] = [
    "Event.Invalid",
    "Network.Unreachable",
    "Network.Timeout",
    "Auth.Rejected",
    "Database.Unavailable",
    "Query.Timeout",
    "Query.OutcomeUnknown",
    "Query.BadParameter",
    "Query.Failed",
];

/// Checks that an event which failed did so for a known reason.
pub fn check_event(outcome: &rds_local::runtime_api::Outcome) {
    if let Some(error) = outcome.error() {
        let kind = error.error_type.as_str();
        assert!(OF_AN_EVENT.contains(&kind), "{kind}: {}", error.error_message);
    }
}

/// Checks that every record which failed did so for a known reason, and that nothing panicked.
pub fn check_log(log: &[String]) {
    for line in log {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert_ne!(line["message"], "panic", "{line}");
        if line["message"] == "record failed" {
            let kind = line["errorType"].as_str().unwrap();
            assert!(OF_A_RECORD.contains(&kind), "{line}");
        }
    }
}
