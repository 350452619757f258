//! Aurora MySQL's side of the crate, against MariaDB behind the gate:
//! `cargo test -p rds-iam --features mysql --test it mysql::`.

use crate::common::mysql as common;
use crate::round_trips::relay;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::time::Duration;

use common::{TEN_SECONDS, bind, config, count, json, start, token};
use rds_iam::config::Dial;
use rds_iam::deadline::Deadline;
use rds_iam::endpoint::Endpoint;
use rds_iam::mysql::{Connection, Connector};
use rds_iam::query::{Answer, Query};
use rds_iam::retry::Retry;
use rds_iam::roots::Roots;
use rds_iam::{Error, ErrorKind};
use rds_local::DATABASE;
use rds_local::Server;
use rds_local::gate::Fault;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::Instant;

pub async fn login(server: &Server, user: &str) -> Connection {
    let bound = Instant::now() + TEN_SECONDS;
    Connector::new(config(server, user)).login(&token(server, user), bound).await.unwrap().0
}

pub async fn run(
    connection: &mut Connection,
    text: &str,
    values: &[(&str, &str)],
) -> Result<Answer, Error> {
    let query = Query::parse("q", text).unwrap();
    let deadline = Deadline::after(TEN_SECONDS);
    connection.run(&query, &bind(&query, values), deadline).await
}

pub async fn error(connection: &mut Connection, text: &str, values: &[(&str, &str)]) -> Error {
    run(connection, text, values).await.unwrap_err()
}

#[tokio::test]
async fn every_type_keeps_what_the_server_wrote() {
    let (server, _folder) = start().await;
    let mariadb = server.database.mariadb().unwrap();
    let sql = "CREATE TABLE kinds (
        big bigint, huge bigint unsigned, small tinyint, filled int(6) zerofill, yes boolean,
        exact decimal(65, 30), plain decimal(10, 0), single float, twice double, born year,
        day date, moment datetime(6), stamp timestamp(3) NULL, clock time(6),
        fixed char(5), text varchar(100), long_text longtext, choice enum('a', 'b''c'), many set('x', 'y'));
        INSERT INTO kinds VALUES
        (-9223372036854775808, 18446744073709551615, -128, 42, true,
         12345678901234567890123456789012345.123456789012345678901234567890, -7, 0.1, 1e300, 2026,
         '2026-11-24', '2026-11-24 01:02:03.000004', '2026-11-24 01:02:03.500', '-838:59:59.000000',
         'ab', 'é \"quoted\" 🦀', 'long', 'b''c', 'x,y')";
    mariadb.run(DATABASE, sql).await.unwrap();
    let mut connection = login(&server, "iam_ro_user").await;
    let answer = json(&run(&mut connection, "SELECT * FROM kinds", &[]).await.unwrap());
    // What MariaDB's own client prints.
    let printed = mariadb.run(DATABASE, "SELECT * FROM kinds").await.unwrap();
    let row: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str::<Vec<_>>(&answer).unwrap().remove(0);
    let names = "big huge small filled yes exact plain single twice born day moment stamp clock fixed \
                 text long_text choice many";
    for (name, printed) in names.split_whitespace().zip(printed.trim_end().split('\t')) {
        let text = row[name].get();
        let shown = match serde_json::from_str::<Value>(text).unwrap() {
            Value::String(text) => text,
            _ => text.to_owned(),
        };
        let expected = match name {
            "filled" => "42".to_owned(),
            "moment" | "stamp" => printed.replacen(' ', "T", 1),
            _ => printed.to_owned(),
        };
        assert_eq!(shown, expected, "{name}");
    }
    let others = "SELECT CAST(X'00ff' AS BINARY) AS bytes, b'101' AS bits, NULL AS nothing, \
                  CAST('' AS BINARY) AS empty, JSON_OBJECT('a', 1) AS json";
    let answer = json(&run(&mut connection, others, &[]).await.unwrap());
    // MariaDB's JSON is text; a bit literal is bytes.
    let expected =
        r#"[{"bytes":"AP8=","bits":"BQ==","nothing":null,"empty":"","json":"{\"a\": 1}"}]"#;
    assert_eq!(answer, expected);
    mariadb
        .run(DATABASE, "CREATE TABLE flags (f bit(9)); INSERT INTO flags VALUES (b'100000001')")
        .await
        .unwrap();
    assert_eq!(
        json(&run(&mut connection, "SELECT f FROM flags", &[]).await.unwrap()),
        r#"[{"f":257}]"#
    );
    connection.close(Duration::from_secs(1)).await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn parameters_are_values_and_refusals_hide_them() {
    let (server, _folder) = start().await;
    let mut connection = login(&server, "iam_ro_user").await;
    parameters_are_values(&mut connection).await;
    refusals_have_their_kind_and_hide_values(&mut connection).await;
    let check = "/*+++ result = \"check\" +++*/ SELECT * FROM customers WHERE age < 30";
    let answer = json(&run(&mut connection, check, &[]).await.unwrap());
    assert!(answer.starts_with(r#"{"violations":1,"rows":[{"#), "{answer}");
    assert_eq!(count(&server, "customers").await, "3");
    server.stop().await.unwrap();
}

async fn parameters_are_values(connection: &mut Connection) {
    let echo = "/*+++ params = [{ name = \"v\" }] +++*/ SELECT ? AS v";
    for hostile in [
        "'; DROP TABLE customers; --",
        "\\'; COMMIT; -- \\",
        "`\"'\n\r\t\u{0008}\u{001a}%_",
        "@rds_iam_sql",
        "X'27'",
        "🦀é\u{2028}\u{feff}",
        "",
        "/*!50704 x */",
        "?",
    ] {
        let raw = serde_json::to_string(hostile).unwrap();
        let answer = json(&run(connection, echo, &[("v", &raw)]).await.unwrap());
        let back: Vec<BTreeMap<String, String>> = serde_json::from_str(&answer).unwrap();
        assert_eq!(back[0]["v"], hostile);
    }
    for (given, back) in [
        ("1.50", "1.50"),
        ("18446744073709551616", "18446744073709551616"),
        ("true", "1"),
        ("null", "null"),
    ] {
        let answer = json(&run(connection, echo, &[("v", given)]).await.unwrap());
        assert_eq!(answer, format!("[{{\"v\":{back}}}]"));
    }
    // A NULL is no reason to take text for bytes.
    let coalesce = "/*+++ params = [{ name = \"v\" }] +++*/ SELECT COALESCE(?, 'none') AS v";
    let answer = json(&run(connection, coalesce, &[("v", "null")]).await.unwrap());
    assert_eq!(answer, r#"[{"v":"none"}]"#);
    // Beside a number, MySQL takes a text column for a number, which most text is 0 as.
    let find = |kind| {
        format!(
            "/*+++ params = [{{ name = \"v\"{kind} }}] +++*/ SELECT name FROM customers WHERE name = ?"
        )
    };
    for (given, as_text) in
        [("0", "[]"), ("false", "[]"), ("\"Alice Smith\"", r#"[{"name":"Alice Smith"}]"#)]
    {
        let answer = run(connection, &find(", type = \"text\""), &[("v", given)]).await;
        assert_eq!(json(&answer.unwrap()), as_text, "{given}");
    }
    assert_eq!(
        json(&run(connection, &find(""), &[("v", "0")]).await.unwrap()).matches("name").count(),
        3
    );
    // Compared with a column of another collation, and as a limit.
    let query = "/*+++ params = [{ name = \"n\" }, { name = \"l\" }] +++*/
        SELECT name FROM customers WHERE name COLLATE utf8mb4_unicode_ci = ? LIMIT ?";
    let values = [("n", "\"alice smith\""), ("l", "1")];
    assert_eq!(
        json(&run(connection, query, &values).await.unwrap()),
        r#"[{"name":"Alice Smith"}]"#
    );
}

async fn refusals_have_their_kind_and_hide_values(connection: &mut Connection) {
    let secret = "\"s3cret\"";
    let param = "/*+++ params = [{ name = \"v\" }] +++*/";
    let array = "/*+++ params = [{ name = \"v\", type = \"array\" }] +++*/ SELECT ?";
    let two = format!("{param} SELECT ?; SELECT 2");
    for (text, value, kind, says) in [
        ("SELECT\n1 FORM x y", "", ErrorKind::QueryInvalid, "at line 2"),
        ("SELECT a FROM nothing", "", ErrorKind::QueryInvalid, "nothing"),
        ("SELECT * FROM mysql.user", "", ErrorKind::QueryDenied, "1142"),
        ("SELECT nothing FROM customers", "", ErrorKind::QueryInvalid, "nothing"),
        (&two, secret, ErrorKind::QueryInvalid, "1064"),
        ("SELECT 1, ?", "", ErrorKind::QueryInvalid, "declares"),
        (array, "[1]", ErrorKind::QueryBadParameter, "JSON_TABLE"),
        (&format!("{param} SELECT CAST(? AS JSON)"), secret, ErrorKind::QueryInvalid, "1064"),
        (&format!("{param} SELECT EXP(?)"), "123456", ErrorKind::QueryFailed, "1690"),
        ("INSERT INTO customers (name) VALUES ('x')", "", ErrorKind::QueryInvalid, "not a read"),
        ("SELECT * FROM customers FOR UPDATE", "", ErrorKind::QueryDenied, "1792"),
        (&format!("{param} SELECT 1 LIMIT ?"), "-123456", ErrorKind::QueryBadParameter, "LIMIT"),
        ("SELECT 1 LIMIT ?", "", ErrorKind::QueryInvalid, "declares"),
        (&format!("{param} SELECT ?"), "1e123456", ErrorKind::QueryBadParameter, "1367"),
        (
            "/*+++ result = \"one\" +++*/ SELECT * FROM customers",
            "",
            ErrorKind::ResultNotOne,
            "more",
        ),
        ("SELECT 1 AS a, 2 AS a", "", ErrorKind::QueryInvalid, "two columns"),
    ] {
        let values = [("v", value)];
        let values = if value.is_empty() { &[][..] } else { &values };
        let error = error(connection, text, values).await;
        assert_eq!(error.kind(), kind, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
        let secrets = ["s3cret", "123456"];
        assert!(!secrets.iter().any(|secret| error.to_string().contains(secret)), "{error}");
        assert!(!connection.is_broken(), "{text}");
    }
}

const ADD: &str = "/*+++\nmode = \"write\"\nresult = \"affected\"\nparams = [{ name = \"id\" }]\n+++*/\n\
                   INSERT INTO orders (order_id, total) VALUES (?, 1)";

#[tokio::test]
async fn a_name_that_is_not_found_has_its_own_remedy() {
    let (server, _folder) = start().await;
    let mut connection = login(&server, rds_local::READ_ONLY_USER).await;
    for (sql, code, told) in [
        ("SELECT 1 FROM nowhere", "1146", "Check the table's spelling"),
        ("SELECT nothing FROM customers", "1054", "Check the column's spelling"),
        ("SELECT 1 FORM x y", "1064", "one statement"),
    ] {
        let error = error(&mut connection, sql, &[]).await;
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{sql}: {text}");
        assert!(text.contains(code) && text.contains(told), "{sql}: {text}");
    }
    // Without the right to EXECUTE, a function that is not there is denied too.
    for sql in ["SELECT 1 FROM mysql.user", "SELECT nothing(1)"] {
        let error = error(&mut connection, sql, &[]).await;
        assert_eq!(error.kind(), ErrorKind::QueryDenied, "{sql}: {error}");
        assert!(error.to_string().contains("that does not exist"), "{sql}: {error}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_write_is_committed_or_not_and_a_lost_answer_is_unknown() {
    let (server, _folder) = start().await;
    let mut connection = login(&server, "iam_rw_user").await;
    let added = run(&mut connection, ADD, &[("id", "\"a\"")]).await.unwrap();
    assert_eq!(json(&added), "1");
    // Refused, and the connection is ready for the next.
    let twice = error(&mut connection, ADD, &[("id", "\"a\"")]).await;
    assert_eq!(twice.kind(), ErrorKind::QueryFailed);
    assert!(twice.to_string().contains("1062"), "{twice}");
    // What the result's rule refuses is rolled back.
    let none = ADD.replace("affected", "one");
    assert_eq!(
        error(&mut connection, &none, &[("id", "\"b\"")]).await.kind(),
        ErrorKind::ResultNotOne
    );
    let read = ADD.replace("write", "read");
    assert_eq!(
        error(&mut connection, &read, &[("id", "\"c\"")]).await.kind(),
        ErrorKind::QueryInvalid
    );
    assert_eq!(count(&server, "orders").await, "1");

    for (fault, rows) in [
        (Fault::ResetBeforeQuery, "1"),
        (Fault::ResetBeforeAnswer, "1"),
        (Fault::ResetAtCommit, "2"),
    ] {
        server.gate.set_fault_once(fault);
        let lost = error(&mut connection, ADD, &[("id", "\"d\"")]).await;
        assert_eq!(lost.kind(), ErrorKind::QueryOutcomeUnknown, "{fault:?}: {lost}");
        assert!(connection.is_broken());
        assert_eq!(count(&server, "orders").await, rows, "{fault:?}");
        connection = login(&server, "iam_rw_user").await;
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_read_is_one_round_trip_a_write_two_and_a_reset_one_more() {
    let (server, _folder) = start().await;
    let function =
        "CREATE FUNCTION one() RETURNS INT RETURN 1; GRANT EXECUTE ON * TO 'iam_rw_user'@'%'";
    server.database.mariadb().unwrap().run(DATABASE, function).await.unwrap();
    let (address, turns) = relay(server.address).await;
    let mut config = config(&server, "iam_rw_user");
    config.dial = Dial::Tunnel(address.ip().to_string(), address.port());
    let bound = Instant::now() + TEN_SECONDS;
    let token = token(&server, "iam_rw_user");
    let mut connection = Connector::new(config).login(&token, bound).await.unwrap().0;
    // ClientHello behind the greeting; Finished with the names; the token. TCP's own is the fourth.
    assert_eq!(turns.take(), 3, "login");
    for (sql, values, expected) in [
        ("SELECT * FROM customers", &[][..], 1),
        (ADD, &[("id", "\"a\"")], 2),
        // A SET releases it on the way.
        ("SELECT GET_LOCK('a', 1) AS l, @a := 1 AS a", &[], 1),
        // Only a reset of the session costs a round trip, and the first of them two.
        ("SELECT one() AS one", &[], 3),
        ("SELECT one() AS one", &[], 2),
    ] {
        run(&mut connection, sql, values).await.unwrap();
        assert_eq!(turns.take(), expected, "{sql}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_verified_tls_no_token_is_sent() {
    let (server, _folder) = start().await;
    let bound = || Instant::now() + TEN_SECONDS;
    let token = token(&server, "iam_ro_user");

    // A server that greets without the SSL capability.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut greeting = b"\x0a8.0.32\0\x01\0\0\0abcdefgh\0".to_vec();
        // CLIENT_PROTOCOL_41, SECURE_CONNECTION and PLUGIN_AUTH, and not 0x0800.
        greeting.extend_from_slice(&[0x08, 0x82, 45, 2, 0, 0x08, 0, 21]);
        greeting.extend_from_slice(&[0; 10]);
        greeting.extend_from_slice(b"abcdefghijkl\0mysql_clear_password\0");
        let length = u8::try_from(greeting.len()).unwrap();
        stream.write_all(&[&[length, 0, 0, 0], greeting.as_slice()].concat()).unwrap();
        stream.set_read_timeout(Some(TEN_SECONDS)).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard
    });
    let mut insecure = config(&server, "iam_ro_user");
    insecure.dial = Dial::Tunnel("127.0.0.1".into(), port);
    let refused = Connector::new(insecure).login(&token, bound()).await.unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::TlsUntrusted, "{refused:?}");
    // COM_QUIT at the most.
    assert!(heard.join().unwrap().len() <= 5);

    // A certificate of another root, and for another name.
    let mut other_root = config(&server, "iam_ro_user");
    other_root.roots = Roots::built_in("us-east-1", false).unwrap();
    let mut other_name = config(&server, "iam_ro_user");
    let name = "other.c0example1234.us-east-1.rds.amazonaws.com";
    other_name.endpoint = Endpoint::parse(name, server.address.port()).unwrap();
    for untrusted in [other_root, other_name] {
        let refused = Connector::new(untrusted).login(&token, bound()).await.unwrap_err();
        assert_eq!(refused.error.kind(), ErrorKind::TlsUntrusted, "{refused:?}");
        assert_eq!(refused.retry, Retry::No);
    }
    assert!(server.gate.log().records().is_empty(), "no login was tried");

    // Refusals of the login itself.
    let mut nobody = config(&server, "iam_ro_user");
    nobody.user = "nobody_here".into();
    let mut nowhere = config(&server, "iam_ro_user");
    nowhere.dial = Dial::Tunnel("127.0.0.1".into(), port);
    let mut missing = config(&server, "iam_ro_user");
    missing.database = "missing".into();
    let mut closed = config(&server, "iam_ro_user");
    closed.database = "mysql".into();
    for (config, kind, retry, says) in [
        (config(&server, "iam_rw_user"), ErrorKind::AuthRejected, Retry::FreshCredentials, "1045"),
        (nobody, ErrorKind::AuthRejected, Retry::FreshCredentials, "1045"),
        (missing, ErrorKind::AuthRejected, Retry::No, "1044"),
        (closed, ErrorKind::AuthRejected, Retry::No, "1044"),
        (nowhere, ErrorKind::NetworkUnreachable, Retry::Again, "MYSQL_TCP_PORT"),
    ] {
        let refused = Connector::new(config).login(&token, bound()).await.unwrap_err();
        assert_eq!((refused.error.kind(), refused.retry), (kind, retry), "{refused:?}");
        assert!(refused.error.to_string().contains(says), "{refused:?}");
        assert!(!format!("{refused:?}").contains("X-Amz"));
    }
    server.gate.set_fault(Fault::Stall);
    let mut silent = config(&server, "iam_ro_user");
    silent.connect_timeout = Duration::from_millis(300);
    let refused = Connector::new(silent).login(&token, bound()).await.unwrap_err();
    assert_eq!(refused.error.kind(), ErrorKind::NetworkTimeout, "{refused:?}");
    assert_eq!(refused.retry, Retry::Again);
    server.stop().await.unwrap();
}
