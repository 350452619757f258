//! How statements on MySQL and MariaDB end when their time ends, or when somebody else ends them.

use crate::common::mysql as common;
use crate::mysql::{error, login, run};

use std::collections::BTreeMap;
use std::time::Duration;

use common::{json, start};
use rds_iam::ErrorKind;
use rds_iam::deadline::Deadline;
use rds_iam::query::{Parameters, Query};
use rds_local::DATABASE;
use rds_local::gate::Fault;
use tokio::time::Instant;

#[tokio::test]
async fn a_statement_ends_before_its_caller() {
    let (server, _folder) = start().await;
    let mut connection = login(&server, "iam_ro_user").await;
    let endless = "SELECT COUNT(*) FROM seq_1_to_100000000 a, seq_1_to_100000000 b";
    let own = format!("/*+++\ntimeout = 0.3\n+++*/\n{endless}");
    let query = Query::parse("q", &own).unwrap();
    let parameters = Parameters::none(&query).unwrap();
    let (start_of, left) = (Instant::now(), Duration::from_secs(60));
    let ended = connection.run(&query, &parameters, Deadline::after(left)).await.unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::QueryTimeout, "{ended}");
    assert!(
        start_of.elapsed() < left / 3,
        "its own time-out did not end it: {:?}",
        start_of.elapsed()
    );
    // The server refused it: the connection still works.
    assert!(!connection.is_broken());
    run(&mut connection, "SELECT 1", &[]).await.unwrap();

    server.gate.set_fault(Fault::Stall);
    let query = Query::parse("q", "SELECT 1").unwrap();
    let deadline = Deadline::after(Duration::from_secs(1));
    let silent = connection.run(&query, &Parameters::none(&query).unwrap(), deadline).await;
    assert_eq!(silent.unwrap_err().kind(), ErrorKind::QueryTimeout);
    assert!(connection.is_broken());
    server.gate.set_fault(Fault::None);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_somebody_kills_is_no_time_out() {
    let (server, _folder) = start().await;
    let mut connection = login(&server, "iam_ro_user").await;
    let kill = async {
        let running = "SELECT id FROM information_schema.processlist WHERE user = 'iam_ro_user' AND state = 'User sleep'";
        let mariadb = server.database.mariadb().unwrap();
        loop {
            let id = mariadb.run(DATABASE, running).await.unwrap();
            if let Ok(id) = id.trim().parse::<u64>() {
                break mariadb.run(DATABASE, &format!("KILL QUERY {id}")).await.unwrap();
            }
        }
    };
    // The table's row makes SLEEP an error when it is interrupted, instead of its value 1.
    let slow = "SELECT COUNT(*) FROM customers WHERE SLEEP(60) = 0";
    let (ended, _) = tokio::join!(error(&mut connection, slow, &[]), kill);
    assert_eq!(ended.kind(), ErrorKind::QueryFailed, "{ended}");
    assert!(
        ended.to_string().contains("was cancelled") && ended.to_string().contains("1317"),
        "{ended}"
    );
    run(&mut connection, "SELECT 1", &[]).await.unwrap();
    server.stop().await.unwrap();
}

/// The user's or the server's, from the first statement of a connection on and after a reset of its session.
#[tokio::test]
async fn a_session_s_own_limit_wins_where_it_is_shorter_and_is_named() {
    let (server, _folder) = start().await;
    let mariadb = server.database.mariadb().unwrap();
    for (set, reset) in [
        (
            "ALTER USER iam_ro_user WITH MAX_STATEMENT_TIME 0.3",
            "ALTER USER iam_ro_user WITH MAX_STATEMENT_TIME 0",
        ),
        ("SET GLOBAL max_statement_time = 0.3", "SET GLOBAL max_statement_time = 0"),
    ] {
        mariadb.run(DATABASE, set).await.unwrap();
        let mut connection = login(&server, "iam_ro_user").await;
        let call = "SELECT @@max_statement_time AS s, SLEEP(0) AS z, UUID_SHORT() > 0 AS u";
        for sql in
            ["SELECT SLEEP(60)", "SELECT 1 AS n", "SELECT SLEEP(60)", call, "SELECT SLEEP(60)"]
        {
            match run(&mut connection, sql, &[]).await {
                Ok(answer) => assert!(!sql.contains("60"), "{set}: {sql}: {answer:?}"),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::QueryTimeout, "{set}: {error}");
                    let told = error.to_string();
                    assert!(told.contains("the max_statement_time of 0.3 s"), "{set}: {told}");
                }
            }
        }
        mariadb.run(DATABASE, reset).await.unwrap();
        let mut connection = login(&server, "iam_ro_user").await;
        for _ in 0..2 {
            let answer =
                json(&run(&mut connection, "SELECT @@max_statement_time AS s", &[]).await.unwrap());
            let seconds: Vec<BTreeMap<String, f64>> = serde_json::from_str(&answer).unwrap();
            assert!((1.0..10.0).contains(&seconds[0]["s"]), "{answer}");
        }
    }
    server.stop().await.unwrap();
}
