//! Values that do not fit, and long ones, on MariaDB behind the gate.

use crate::common::mysql as common;

use common::{count, json, start};
use rds_iam::ErrorKind;
use rds_local::DATABASE;

use crate::mysql::{error, login, run};

#[tokio::test]
async fn a_value_that_does_not_fit_is_a_bad_parameter() {
    let (server, _folder) = start().await;
    let mariadb = server.database.mariadb().unwrap();
    let sql = "CREATE TABLE kinds (n int, small tinyint, text varchar(5), moment datetime, choice enum('a'), exact decimal(4, 2))";
    mariadb.run(DATABASE, sql).await.unwrap();
    let mut connection = login(&server, "iam_rw_user").await;
    let write =
        "/*+++\nmode = \"write\"\nresult = \"affected\"\nparams = [{ name = \"v\" }]\n+++*/\n";
    for (sql, value, code) in [
        ("INSERT INTO kinds (n) VALUES (?)", "\"s3cret\"", 1366),
        ("INSERT INTO kinds (n) VALUES (?)", "\"\"", 1366),
        ("INSERT INTO kinds (small) VALUES (?)", "1000", 1264),
        ("INSERT INTO kinds (exact) VALUES (?)", "123456", 1264),
        ("INSERT INTO kinds (choice) VALUES (?)", "\"s3cret\"", 1265),
        ("INSERT INTO kinds (moment) VALUES (?)", "\"2026-11-23T06:00:00Z\"", 1292),
        ("INSERT INTO kinds (text) VALUES (?)", "\"s3cret\"", 1406),
        ("INSERT INTO kinds (moment) VALUES (STR_TO_DATE(?, '%Y'))", "\"s3cret\"", 1411),
        ("INSERT INTO kinds (n) VALUES (?)", "1e123456", 1367),
    ] {
        let error = error(&mut connection, &format!("{write}{sql}"), &[("v", value)]).await;
        assert_eq!(error.kind(), ErrorKind::QueryBadParameter, "{sql}: {error}");
        let told = error.to_string();
        assert!(told.contains(&code.to_string()) && !error.is_transient(), "{sql}: {told}");
        assert!(!["s3cret", "123456", "2026"].iter().any(|value| told.contains(value)), "{told}");
        assert!(!connection.is_broken());
    }
    // A value of the statement's own is not the sender's fault.
    let own =
        "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/\nINSERT INTO kinds (n) VALUES ('x')";
    assert_eq!(error(&mut connection, own, &[]).await.kind(), ErrorKind::QueryFailed);
    assert_eq!(count(&server, "kinds").await, "0");
    let moment =
        format!("{write}INSERT INTO kinds (moment) VALUES (STR_TO_DATE(?, '%Y-%m-%dT%H:%i:%sZ'))");
    run(&mut connection, &moment, &[("v", "\"2026-11-23T06:00:00Z\"")]).await.unwrap();
    let moment = mariadb.run(DATABASE, "SELECT moment FROM kinds").await.unwrap();
    assert_eq!(moment, "2026-11-23 06:00:00\n");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_long_parameter_fits_as_with_other_clients_or_is_refused_for_good() {
    let (server, _folder) = start().await;
    let mariadb = server.database.mariadb().unwrap();
    mariadb.run(DATABASE, "SET GLOBAL max_allowed_packet = 1048576").await.unwrap();
    let mut connection = login(&server, "iam_ro_user").await;
    let length = "/*+++ params = [{ name = \"v\" }] +++*/ SELECT CHAR_LENGTH(?) AS n";
    for (letter, count) in
        [("x", 600_000), ("x", 1_000_000), ("'", 400_000), ("\\\\", 600_000), ("é", 500_000)]
    {
        let value = format!("\"{}\"", letter.repeat(count));
        let answer = run(&mut connection, length, &[("v", &value)]).await.unwrap();
        assert_eq!(json(&answer), format!("[{{\"n\":{count}}}]"), "{letter}");
    }
    for count in [1_048_576, 3_000_000] {
        let value = format!("\"{}\"", "x".repeat(count));
        let error = error(&mut connection, length, &[("v", &value)]).await;
        assert_eq!(error.kind(), ErrorKind::QueryBadParameter, "{error}");
        assert!(error.to_string().contains("max_allowed_packet") && !error.is_transient());
        assert!(!connection.is_broken(), "nothing was sent");
    }
    // A server that takes even less says so itself, and closes the connection.
    mariadb.run(DATABASE, "SET GLOBAL max_allowed_packet = 16384").await.unwrap();
    let mut connection = login(&server, "iam_ro_user").await;
    let value = format!("\"{}\"", "x".repeat(20_000));
    let error = error(&mut connection, length, &[("v", &value)]).await;
    assert_eq!(error.kind(), ErrorKind::QueryBadParameter, "{error}");
    assert!(connection.is_broken());
    server.stop().await.unwrap();
}
