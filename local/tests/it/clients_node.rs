//! Node's programs work unchanged with the environment file sourced: the old and the new signer,
//! with pg and with Sequelize.

use crate::common;

use common::{node, start, text, with_env_sourced};

#[tokio::test]
async fn both_signers_with_pg_and_sequelize() {
    let (server, folder) = start(|options| options).await;
    let program = node("client.cjs");
    for signer in ["old", "new"] {
        for driver in ["pg", "sequelize"] {
            let script = format!("{program} {signer} {driver}");
            let output = with_env_sourced(folder.path(), &script).await;
            let told = (text(&output.stdout), text(&output.stderr));
            assert_eq!(told.0, "Alice Smith\n", "{signer} {driver}: {}", told.1);
        }
    }
    let records = server.gate.log().records();
    let developer = Ok("arn:aws:iam::123456789012:user/developer");
    assert!(records.iter().all(|record| record.outcome.as_deref() == developer), "{records:?}");
    assert!(records.len() >= 4, "Sequelize may open a connection to ask for the version");

    let script = format!("AWS_SECRET_ACCESS_KEY=wrong {program} new pg");
    let output = with_env_sourced(folder.path(), &script).await;
    assert!(text(&output.stderr).contains("PAM authentication failed"), "{output:?}");
    server.stop().await.unwrap();
}
