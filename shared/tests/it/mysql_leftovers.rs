//! Statements on Aurora MySQL, against MariaDB behind the gate: reads that could write,
//! state that stays in a session, and a transaction that the server has rolled back.

use crate::common::mysql as common;

use common::{bind, count, json};
use rds_iam::deadline::Deadline;
use rds_iam::query::{Answer, Query};
use rds_iam::{Error, ErrorKind, Work};

use crate::mysql_session::{ADD, LIMIT, World};

/// Reads, by a statement that may also write.
const WRITE: &str = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/\n";

#[tokio::test]
async fn what_a_query_leaves_in_the_session_meets_no_other() {
    let world = World::start("iam_rw_user").await;
    world
        .ask("GRANT EXECUTE, CREATE TEMPORARY TABLES, LOCK TABLES ON * TO 'iam_rw_user'@'%'")
        .await;
    world.ask("CREATE FUNCTION keep() RETURNS INT RETURN (@a := 5) + GET_LOCK('a', 1)").await;
    world.ask("CREATE PROCEDURE keep_all() SELECT keep(), LAST_INSERT_ID(7)").await;
    world.ask("CREATE PROCEDURE choose() EXECUTE IMMEDIATE 'USE information_schema'").await;
    world.ask("CREATE SEQUENCE numbers").await;
    // What another session sees too.
    let free = "SELECT IS_FREE_LOCK('a') AS free";
    let found = "SELECT @a AS a, @`b c` AS b, @rds_iam_0 AS parameter, LAST_INSERT_ID() AS id, \
                 FOUND_ROWS() AS found, LASTVAL(numbers) AS sequence, DATABASE() AS name, \
                 @@sql_select_limit > 9 AS unlimited, @@character_set_client AS letters, \
                 @@collation_connection AS collation, @@wait_timeout AS wait";
    let rows = |answer: Result<Answer, Error>| json(&answer.unwrap());
    let first = rows(world.run(found, &[]).await.0);
    assert!(first.contains(r#""a":null,"b":null,"parameter":null,"id":0,"found":0,"#), "{first}");
    let read = "/*+++ params = [{ name = \"v\" }] +++*/ SELECT ? AS v";
    world.run(read, &[("v", "\"private\"")]).await.0.unwrap();
    for leaves in [
        "SELECT (@a := IFNULL(@a, 0) + 1) AS rn, @`b c` := 2",
        "SELECT LAST_INSERT_ID(5)",
        "SELECT GET_LOCK('a', 1), 1 FROM customers",
        "SELECT SQL_CALC_FOUND_ROWS * FROM customers LIMIT 1",
        "SELECT keep()",
        "SELECT sample_db.keep() /* not in a word of its own */",
        // Fails, when the lock is there.
        "SELECT GET_LOCK('a', 1), @a := 1, (SELECT 1 UNION SELECT 2)",
        "/*+++ result = \"one\" +++*/ SELECT GET_LOCK('a', 1), customer_id FROM customers",
        &format!("{WRITE}INSERT INTO customers (name) VALUES ('x')"),
        &format!(
            "{WRITE}INSERT INTO customers (name) SELECT GET_LOCK('a', 1) FROM customers LIMIT 1"
        ),
        &format!("{WRITE}INSERT INTO customers (customer_id, age) SELECT 1, keep()"),
        &format!("{WRITE}SELECT NEXTVAL(numbers)"),
        &format!("{WRITE}SELECT NEXT VALUE FOR numbers"),
        &format!("{WRITE}CALL keep_all()"),
        &format!("{WRITE}CALL choose()"),
        &format!("{WRITE}DO GET_LOCK('a', 1), @a := 1"),
        &format!("{WRITE}LOCK TABLES customers WRITE"),
        &format!("{WRITE}CREATE TEMPORARY TABLE orders AS SELECT 1 AS order_id"),
        &format!("{WRITE}USE information_schema"),
    ] {
        let (_, report) = world.run(leaves, &[]).await;
        assert_eq!(
            world.ask("SELECT IS_FREE_LOCK('a'), COUNT(*) >= 3 FROM customers").await,
            "1\t1",
            "{leaves}"
        );
        assert_eq!(rows(world.run(found, &[]).await.0), first, "after {leaves}");
        let (answer, _) = world.run(&format!("{free} FROM orders"), &[]).await;
        assert_eq!(rows(answer), "[]", "the table is no temporary one after {leaves}");
        assert!(report.reused, "{leaves}");
    }
    assert_eq!(world.logins(), 1);
    // What a reset keeps, such as a role, costs a login; and so does what the server runs at a login.
    world.run(&format!("{WRITE}SET sql_select_limit = 1"), &[]).await.0.unwrap();
    assert_eq!(rows(world.run(found, &[]).await.0), first);
    assert_eq!(world.logins(), 2);
    world.ask("SET GLOBAL init_connect = 'SET @a = 9'").await;
    world.run(&format!("{WRITE}SET sql_select_limit = 1"), &[]).await.0.unwrap();
    for _ in 0..2 {
        world.run("SELECT keep()", &[]).await.0.unwrap();
        assert!(rows(world.run(found, &[]).await.0).contains("\"a\":9"));
    }
    world.stop().await;
}

#[tokio::test]
async fn a_read_that_may_write_is_refused_without_a_login() {
    let world = World::start("iam_rw_user").await;
    world.ask("GRANT ALL ON * TO 'iam_rw_user'@'%'").await;
    for sql in [
        "TRUNCATE TABLE customers",
        "-- a comment\n/* and another */ DROP TABLE customers",
        "SELECT 1 /*! INTO OUTFILE '/tmp/x' */",
        "/*!50000 DROP TABLE customers */ SELECT 1",
        "/*M!100100 TRUNCATE customers */ SELECT 1",
        "WITH a AS (SELECT 1) DELETE FROM customers",
        "ANALYZE DELETE FROM customers",
        "ANALYZE TABLE customers",
        "SET STATEMENT max_statement_time = 1 FOR DELETE FROM customers",
        "BEGIN NOT ATOMIC TRUNCATE customers; END",
        "CREATE TABLE created AS SELECT 1",
        "SELECT NEXT VALUE FOR numbers",
        "SELECT SETVAL(numbers, 100)",
        "SELECT SPIDER_DIRECT_SQL('DELETE FROM customers', '', '')",
    ] {
        let error = world.run(sql, &[]).await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{sql}: {error}");
        let query = Query::parse("q", sql).unwrap();
        let mut work = Work::new(Deadline::after(LIMIT));
        let parameters = bind(&query, &[]);
        let error = world.session.deliver(&query, &parameters, "m", &mut work).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{sql}: {error}");
    }
    assert_eq!(world.logins(), 0);
    // What a read may be on this server.
    for sql in [
        "(SELECT 'TRUNCATE', \"INTO OUTFILE\" AS b) UNION (SELECT 1, 2)",
        "WITH a AS (SELECT 1 AS n) SELECT * FROM a",
        "VALUES (1, 2)",
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "DESCRIBE customers",
        "SELECT customer_id FROM customers LOCK IN SHARE MODE",
        "ANALYZE FORMAT=JSON SELECT * FROM customers",
    ] {
        world.run(sql, &[]).await.0.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
    // The server's transaction is the second fence, which a write after it does not meet.
    world
        .ask("DELIMITER //\nCREATE FUNCTION purge_all() RETURNS INT BEGIN DELETE FROM customers; RETURN 1; END//")
        .await;
    let denied = world.run("SELECT purge_all() AS n", &[]).await.0.unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::QueryDenied, "{denied}");
    let unknown = world.run("SELECT nothing(1) AS n", &[]).await.0.unwrap_err().to_string();
    assert!(unknown.contains("1305") && unknown.contains("spelling of the function"), "{unknown}");
    let added = world.run(ADD, &[("id", "\"a\"")]).await.0.unwrap();
    assert_eq!((json(&added), count(&world.server, "customers").await), ("1".into(), "3".into()));
    world.stop().await;
}

/// MariaDB 11.8 has it by default: a changed row rolls the whole transaction back, and says so by error 1020.
#[tokio::test]
async fn after_error_1020_nothing_of_the_message_goes_on() {
    let world = World::start("iam_rw_user").await;
    world.ask("SET GLOBAL innodb_snapshot_isolation = ON").await;
    world.ask("GRANT EXECUTE ON * TO 'iam_rw_user'@'%'").await;
    world
        .ask(
            "DELIMITER //\nCREATE PROCEDURE raise() BEGIN \
         DECLARE n INT; SELECT age INTO n FROM customers WHERE customer_id = 1; \
         INSERT INTO orders (order_id, total) VALUES ('a', 1); DO GET_LOCK('changed', 60); \
         UPDATE customers SET age = n + 1 WHERE customer_id = 1; \
         INSERT INTO orders (order_id, total) VALUES ('b', 1); END//",
        )
        .await;
    // The procedure above waits until this one has changed the row, and this one until that one waits.
    world
        .ask(
            "DELIMITER //\nCREATE PROCEDURE change_row() BEGIN DO GET_LOCK('changed', 60); \
         WHILE NOT EXISTS (SELECT 1 FROM information_schema.processlist WHERE state = 'User lock') \
         DO DO SLEEP(0.01); END WHILE; \
         UPDATE customers SET age = 50 WHERE customer_id = 1; DO RELEASE_LOCK('changed'); END//",
        )
        .await;
    let call = Query::parse("q", &format!("{WRITE}CALL raise()")).unwrap();
    let deliver = async {
        while world.ask("SELECT IS_USED_LOCK('changed') IS NULL").await == "1" {}
        let mut work = Work::new(Deadline::after(LIMIT));
        world.session.deliver(&call, &bind(&call, &[]), "m", &mut work).await
    };
    let (failed, _) = tokio::join!(deliver, world.ask("CALL change_row()"));
    let failed = failed.unwrap_err();
    assert!(failed.to_string().contains("1020") && failed.is_transient(), "{failed}");
    assert_eq!(failed.kind(), ErrorKind::QueryFailed);
    let left =
        "SELECT (SELECT COUNT(*) FROM orders), (SELECT COUNT(*) FROM rds_iam.message_ledger)";
    assert_eq!(world.ask(left).await, "0\t0");
    let mut work = Work::new(Deadline::after(LIMIT));
    world.session.deliver(&call, &bind(&call, &[]), "m", &mut work).await.unwrap();
    assert_eq!(world.ask(left).await, "2\t1");
    world.stop().await;
}
