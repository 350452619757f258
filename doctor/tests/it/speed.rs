//! doctor when all is well. How long it takes is in `make bench`.

use crate::common;

use serde_json::Value;
use tokio::process::Command;

#[tokio::test]
async fn a_healthy_database_is_green_and_quick() {
    let (server, folder) = common::start(|options| options).await;
    for _ in 0..10 {
        let output = Command::new(env!("CARGO_BIN_EXE_rds-doctor"))
            .arg("--json")
            .env_clear()
            .envs(server.variables())
            // As the template sets it, to a short file: OpenSSL reads the system's roots otherwise.
            .env("SSL_CERT_FILE", folder.path().join("ca.pem"))
            .output()
            .await
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], true, "{report:#}");
        assert_eq!(report["causes"], serde_json::json!([]), "{report:#}");
        let steps = report["steps"].as_array().unwrap();
        let failed = |step: &&Value| !["ok", "skipped"].contains(&step["status"].as_str().unwrap());
        assert_eq!(steps.iter().find(failed), None, "{report:#}");
    }
    server.stop().await.unwrap();
}
