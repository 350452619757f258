//! The function's real binary: its events, and its report of a failure.

use rds_local::Options;
use rds_local::database::Engine;
use rds_local::runtime_api::Outcome;
use rds_local::testing::{World, root, summaries};

#[tokio::test]
async fn every_event_file_has_its_documented_outcome() {
    let folder = root(env!("CARGO_MANIFEST_DIR")).join("events/db-check");
    let table = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let world = World::start(env!("CARGO_BIN_EXE_db-check")).await;
    let mut function = world.function().await;
    let mut count = 0;
    for line in table.lines().filter(|line| line.contains(".json |")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (file, expected) = (cells[1], cells[2]);
        match function.invoke(std::fs::read(folder.join(file)).unwrap()).await {
            Outcome::Response(body) => {
                let report: serde_json::Value = serde_json::from_slice(&body).unwrap();
                assert_eq!((expected, &report["ok"]), ("ok", &true.into()), "{file}: {report:#}");
            }
            outcome @ Outcome::Error(_) => {
                assert_eq!(outcome.error().unwrap().error_type, expected, "{file}");
            }
        }
        count += 1;
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, count + 1, "each file stands in the table");
    assert_eq!(summaries(&function.stop().await).len(), count);
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_environment_is_a_finding_and_not_an_error() {
    let mut world = World::start(env!("CARGO_BIN_EXE_db-check")).await;
    world.set("PGSSLMODE", "require");
    let mut function = world.function().await;
    let report = function.ok("{}").await;
    assert_eq!(report["ok"], false);
    assert_eq!(report["causes"][0]["cause"], "configuration");
    assert_eq!(report["causes"][0]["remedies"][0]["value"], "verify-full");
    // The other steps went on with that value.
    let login = report["steps"].as_array().unwrap().iter().find(|s| s["name"] == "login").unwrap();
    assert_eq!(login["status"], "ok", "{report:#}");
    let text = report.to_string();
    for name in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"] {
        assert!(!text.contains(&world.variables[name]), "{name} is in the report");
    }
    function.stop().await;
    world.stop().await;
}

#[tokio::test]
async fn every_engine_that_the_environment_names_is_checked() {
    let mysql = |options| Options { engine: Engine::Mysql, ..options };
    let mut world = World::with(env!("CARGO_BIN_EXE_db-check"), mysql).await;
    let mut function = world.function().await;
    let report = function.ok("{}").await;
    assert_eq!((&report["ok"], &report["engine"]), (&true.into(), &"mysql".into()), "{report:#}");
    assert!(report.get("others").is_none(), "{report:#}");
    function.stop().await;

    for (name, value) in [("PGHOSTADDR", "127.0.0.1"), ("PGPORT", "9"), ("PGUSER", "reporter")] {
        world.set(name, value);
    }
    world.set("PGHOST", "db.c0example1234.us-east-1.rds.amazonaws.com");
    world.set("PGDATABASE", "reports");
    let mut function = world.function().await;
    let report = function.ok("{}").await;
    assert_eq!(report["ok"], false, "{report:#}");
    assert_eq!(report["engine"], "postgres", "{report:#}");
    assert_eq!(report["causes"][0]["cause"], "port-refused", "{report:#}");
    let other = &report["others"][0];
    assert_eq!((&other["ok"], &other["engine"]), (&true.into(), &"mysql".into()), "{report:#}");
    function.stop().await;
    world.stop().await;
}
