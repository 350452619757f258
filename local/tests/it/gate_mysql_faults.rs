//! The faults of the MySQL gate strike by what a command means: each way in which a driver may commit, query
//! or prepare meets them, and the database tells what has run. A client's file is no command.

use std::io::{ErrorKind, Write};

use common::recipe::Recipe;
use common::{node, start_mysql, text, with_env_sourced};
use rds_local::gate::Fault;
use rds_local::{Options, READ_WRITE_USER, Server};
use tempfile::TempDir;

use crate::common;
use crate::gate_mysql::{Raw, Tls, logged_in_as};

/// LOCAL_FILES, MULTI_STATEMENTS and MULTI_RESULTS.
pub const MORE: u64 = 0x80 | 0x1_0000 | 0x2_0000;
pub const DEPRECATE_EOF: u64 = 0x100_0000;
const EXECUTE: [u8; 5] = [0, 1, 0, 0, 0];

pub async fn world() -> (Server, TempDir) {
    start_mysql(|options| Options { user: READ_WRITE_USER.into(), ..options }).await
}

/// How many orders' numbers begin so.
pub async fn count(server: &Server, way: &str) -> String {
    let sql = format!("SELECT COUNT(*) FROM orders WHERE order_id LIKE '{way}%'");
    server.database.mariadb().unwrap().run("sample_db", &sql).await.unwrap().trim().to_owned()
}

pub fn session_with(server: &Server, more: u64) -> Raw<Tls> {
    server.gate.set_fault(Fault::None);
    let token = Recipe::good(server).with(|r| r.user = READ_WRITE_USER.into()).token();
    logged_in_as(server, READ_WRITE_USER, &token, more)
}

fn session(server: &Server) -> Raw<Tls> {
    session_with(server, MORE)
}

pub fn command(kind: u8, text: &str) -> Vec<u8> {
    [&[kind], text.as_bytes()].concat()
}

/// Runs a text whose statements have no rows, and returns the first byte of each answer.
fn run(raw: &mut Raw<Tls>, sql: &str) -> Vec<u8> {
    raw.send(0, &command(0x03, sql));
    let mut firsts = Vec::new();
    loop {
        let (_, body) = raw.packet();
        firsts.push(body[0]);
        // Numbers of rows and of the last id have one byte here.
        if body[0] != 0 || body[3] & 8 == 0 {
            return firsts;
        }
    }
}

/// Prepares a statement without parameters and columns, and returns its number.
pub fn prepare(raw: &mut Raw<Tls>, sql: &str) -> Vec<u8> {
    raw.send(0, &command(0x16, sql));
    let (_, body) = raw.packet();
    assert_eq!((body[0], &body[5..9]), (0, [0; 4].as_slice()), "{sql}: {}", text(&body));
    body[1..5].to_vec()
}

fn execute(raw: &mut Raw<Tls>, number: &[u8]) {
    raw.send(0, &[&[0x17], number, &EXECUTE].concat());
}

pub fn is_reset(raw: &mut Raw<Tls>, what: &str) {
    let error = raw.try_packet().expect_err(what);
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what}: {error}");
}

pub fn insert(way: &str) -> String {
    format!("/* c */ insert into orders values ('{way}', 1, NULL)")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_is_struck_before_it_runs() {
    let (server, _folder) = world().await;
    for way in ["text", "several", "compound", "for", "prepared", "executed"] {
        let mut raw = session(&server);
        let sql = insert(way);
        let number = (way == "executed").then(|| prepare(&mut raw, &sql));
        server.gate.set_fault(Fault::ResetBeforeQuery);
        for harmless in ["begin", "SET @a = 1", "SET @a = 1; commit", "use sample_db"] {
            assert!(run(&mut raw, harmless).iter().all(|first| *first == 0), "{harmless}");
        }
        let commit = prepare(&mut raw, "COMMIT");
        execute(&mut raw, &commit);
        assert_eq!(raw.packet().1[0], 0);
        raw.send(0, &[&[0x19], commit.as_slice()].concat());
        raw.send(0, b"\x0e");
        assert_eq!(raw.packet().1[0], 0);
        match way {
            "text" => raw.send(0, &command(0x03, &sql)),
            "several" => raw.send(0, &command(0x03, &format!("BEGIN; {sql}; COMMIT"))),
            "compound" => raw.send(0, &command(0x03, &format!("BEGIN NOT ATOMIC {sql}; END"))),
            "for" => {
                let sql = format!("SET STATEMENT max_statement_time = 9 FOR {sql}");
                raw.send(0, &command(0x03, &sql));
            }
            "prepared" => raw.send(0, &command(0x16, &sql)),
            _ => execute(&mut raw, &number.unwrap()),
        }
        is_reset(&mut raw, way);
        assert_eq!(count(&server, way).await, "0", "{way}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_is_struck_when_all_of_it_has_run() {
    let (server, _folder) = world().await;
    for more in [MORE, MORE | DEPRECATE_EOF] {
        for way in ["text", "several", "with rows", "executed", "pipelined", "failed", "bulky"] {
            let mut raw = session_with(&server, more);
            let way = format!("{way}{more}");
            let sql = insert(&way);
            server.gate.set_fault(Fault::ResetBeforeAnswer);
            // To prepare a statement is not to run it.
            let number = prepare(&mut raw, &sql);
            let several = format!("{sql}; DO SLEEP(0.2); {}", insert(&format!("{way}2")));
            let (sent, expected) = match way.trim_end_matches(char::is_numeric) {
                "text" => (command(0x03, &sql), "1"),
                "several" => (command(0x03, &several), "2"),
                "with rows" => {
                    (command(0x03, &format!("SELECT 1; SELECT NULL, 2 FROM customers; {sql}")), "1")
                }
                "failed" => (command(0x03, &format!("{sql}; SELECT * FROM nothing")), "1"),
                // More than the gate holds.
                "bulky" => {
                    let rows = "SELECT REPEAT('x', 1000) FROM seq_1_to_3000";
                    (command(0x03, &format!("{rows}; {sql}; {rows}")), "1")
                }
                _ => ([&[0x17], number.as_slice(), &EXECUTE].concat(), "1"),
            };
            raw.send(0, &sent);
            if way.starts_with("pipelined") {
                raw.send(0, &command(0x03, "SELECT 1"));
            }
            is_reset(&mut raw, &way);
            assert_eq!(count(&server, &way).await, expected, "{way}");
        }
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_commit_is_struck_when_it_has_run() {
    let (server, _folder) = world().await;
    for (number, way) in [
        "COMMIT",
        "commit;",
        "/* a */ COMMIT WORK # b",
        "COMMIT AND CHAIN",
        "/*! COMMIT */",
        "INSERT INTO orders VALUES ('NUMBER2', 1, NULL); COMMIT",
        "SELECT 1; COMMIT",
        "COMMIT; SELECT 1",
        "COMMIT; SELECT * FROM nothing",
        "ROLLBACK; BEGIN; INSERT INTO orders VALUES ('NUMBER', 1, NULL); COMMIT; SELECT 1",
        "executed",
    ]
    .into_iter()
    .enumerate()
    {
        let mut raw = session(&server);
        let id = format!("commit{number}x");
        run(&mut raw, "BEGIN");
        run(&mut raw, &insert(&id));
        let commit = prepare(&mut raw, "commit");
        server.gate.set_fault(Fault::ResetAtCommit);
        match way {
            "executed" => execute(&mut raw, &commit),
            text => raw.send(0, &command(0x03, &text.replace("NUMBER", &id))),
        }
        is_reset(&mut raw, way);
        let expected = if way.contains("NUMBER2") { "2" } else { "1" };
        assert_eq!(count(&server, &id).await, expected, "{way}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_commit_is_not_struck_at_commit() {
    let (server, _folder) = world().await;
    let mut raw = session(&server);
    server.gate.set_fault_once(Fault::ResetAtCommit);
    for (sql, answers) in [
        ("BEGIN", &[0][..]),
        ("DO 'COMMIT'", &[0]),
        ("ROLLBACK; SET @commit = 1", &[0, 0]),
        // The text stops before its COMMIT.
        ("DO 1; INSERT INTO nothing VALUES (1); COMMIT", &[0, 0xff]),
    ] {
        assert_eq!(run(&mut raw, sql), answers, "{sql}");
    }
    // More than the gate holds, before a COMMIT that fails.
    let rows = "SELECT REPEAT('x', 1000) FROM seq_1_to_3000; DO nothing(); COMMIT";
    raw.send(0, &command(0x03, rows));
    while raw.packet().1[0] != 0xff {}
    // So the fault is still there, for one connection.
    let mut other = session_without_change(&server);
    raw.send(0, &command(0x03, "COMMIT"));
    is_reset(&mut raw, "COMMIT");
    assert_eq!(run(&mut other, "COMMIT"), [0]);
    server.stop().await.unwrap();
}

fn session_without_change(server: &Server) -> Raw<Tls> {
    let token = Recipe::good(server).with(|r| r.user = READ_WRITE_USER.into()).token();
    logged_in_as(server, READ_WRITE_USER, &token, MORE)
}

const LOAD: &str = "LOAD DATA LOCAL INFILE 'a' INTO TABLE orders (order_id, total)";

/// Sends a file of so many packets, all of which begin as COM_CHANGE_USER or COM_QUIT do.
fn send_file(raw: &mut Raw<Tls>, way: &str, packets: usize) {
    let (sequence, question) = raw.packet();
    assert_eq!(question, b"\xfba", "{}", text(&question));
    for number in 0..packets {
        let byte = if number % 2 == 0 { '\x11' } else { '\x01' };
        let sequence = sequence.wrapping_add(1).wrapping_add(u8::try_from(number % 256).unwrap());
        raw.send(sequence, format!("{byte}\t1\n{way}{number}\t2\n").as_bytes());
        if number == 0 {
            // The key of the next such line is a duplicate, which LOCAL ignores.
            continue;
        }
    }
    let end = sequence.wrapping_add(1).wrapping_add(u8::try_from(packets % 256).unwrap());
    raw.send(end, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_file_is_no_command() {
    let (server, folder) = world().await;
    let mut raw = session(&server);
    for (way, packets) in [("none", 0), ("few", 3), ("many", 600)] {
        raw.send(0, &command(0x03, LOAD));
        send_file(&mut raw, way, packets);
        assert_eq!(raw.packet().1[0], 0, "{way}");
        assert_eq!(count(&server, way).await, packets.to_string());
        // What follows is a command again.
        assert_eq!(run(&mut raw, "DO 1; DO 2"), [0, 0]);
    }
    // As the second statement of a text, and behind an error: then no file is asked for.
    raw.send(0, &command(0x03, &format!("DO 1; {LOAD}; DO 2")));
    assert_eq!(raw.packet().1[0], 0);
    send_file(&mut raw, "second", 300);
    assert_eq!((raw.packet().1[0], raw.packet().1[0]), (0, 0));
    assert_eq!(run(&mut raw, &LOAD.replace("orders", "nothing")), [0xff]);
    raw.send(0, b"\x11root\0\0mysql\0\x2d\0mysql_native_password\0");
    assert!(text(&raw.packet().1).contains("28000Access denied"));
    let log = std::fs::read_to_string(folder.path().join("gate.log")).unwrap();
    assert_eq!(log.matches("COM_CHANGE_USER is refused").count(), 1, "{log}");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_strikes_a_file_when_it_is_loaded_not_when_it_is_asked_for() {
    let (server, _folder) = world().await;
    for (way, before) in [("file", ""), ("secondfile", "DO 1; ")] {
        let mut raw = session(&server);
        server.gate.set_fault(Fault::ResetBeforeAnswer);
        raw.send(0, &command(0x03, &format!("{before}{LOAD}")));
        if !before.is_empty() {
            assert_eq!(raw.packet().1[0], 0);
        }
        send_file(&mut raw, way, 3);
        is_reset(&mut raw, way);
        assert_eq!(count(&server, way).await, "3");
    }
    let mut raw = session(&server);
    run(&mut raw, "BEGIN");
    server.gate.set_fault(Fault::ResetAtCommit);
    raw.send(0, &command(0x03, &format!("{LOAD}; COMMIT")));
    send_file(&mut raw, "committed", 3);
    is_reset(&mut raw, "COMMIT behind a file");
    assert_eq!(count(&server, "committed").await, "3");
    let mut raw = session(&server);
    server.gate.set_fault(Fault::ResetBeforeQuery);
    raw.send(0, &command(0x03, LOAD));
    is_reset(&mut raw, "before it is asked for");
    server.stop().await.unwrap();
}

/// Prints what came of an INSERT and a COMMIT: `text`, `prepared` or `file`.
const PYTHON: &str = r#"
import os, sys, boto3
env = os.environ
token = boto3.client("rds").generate_db_auth_token(
    DBHostname=env["MYSQL_HOST"], Port=int(env["MYSQL_TCP_PORT"]), DBUsername=env["MYSQL_USER"])
where = dict(host="localhost", port=int(env["MYSQL_TCP_PORT"]), user=env["MYSQL_USER"],
             password=token, database=env["MYSQL_DATABASE"], ssl_ca=env["MYSQL_SSL_CA"])
way, name = sys.argv[1:]
insert = "INSERT INTO orders VALUES (%s, 1, NULL)"
try:
    if way == "prepared":
        import mysql.connector
        connection = mysql.connector.connect(use_pure=True, **where)
        connection.cursor(prepared=True).execute(insert, (name,))
    else:
        import pymysql
        connection = pymysql.connect(ssl_verify_identity=True, local_infile=True, **where)
        cursor = connection.cursor()
        if way == "file":
            cursor.execute(f"LOAD DATA LOCAL INFILE '{env['FILE']}' IGNORE INTO TABLE orders (order_id, total)")
        else:
            cursor.execute(insert, (name,))
    print("inserted", end=" ")
    connection.commit()
    print("committed", end=" ")
except Exception as error:
    print(type(error).__name__, file=sys.stderr)
"#;

#[tokio::test]
async fn every_driver_meets_each_fault_where_it_strikes() {
    let (server, folder) = world().await;
    let program = folder.path().join("client.py");
    std::fs::write(&program, PYTHON).unwrap();
    // 5 MB: more packets than their numbers count, and each chunk that a driver reads begins with 0x11.
    let file = folder.path().join("file");
    let mut lines = std::fs::File::create(&file).unwrap();
    for number in 0..1300 {
        let line = format!("\x11{number:04}{}\t1\n", "\x11".repeat(90));
        lines.write_all(line.as_bytes()).unwrap();
        lines.write_all("\x11".repeat(4096 - line.len() - 3).as_bytes()).unwrap();
        lines.write_all(b"\t1\n").unwrap();
    }
    drop(lines);
    for (fault, name, printed, rows) in [
        (Fault::None, "none", "inserted committed", "1"),
        (Fault::ResetBeforeQuery, "query", "", "0"),
        (Fault::ResetBeforeAnswer, "answer", "", "0"),
        (Fault::ResetAtCommit, "commit", "inserted", "1"),
    ] {
        for way in ["text", "prepared", "file", "node"] {
            server.gate.set_fault(fault);
            let name = format!("{name} {way}");
            let program = match way {
                "node" => format!("{} '{name}'", node("mysql_faults.cjs")),
                way => format!("python '{}' {way} '{name}'", program.display()),
            };
            let script = format!("export FILE='{}'; {program}", file.display());
            let output = with_env_sourced(folder.path(), &script).await;
            let told = format!("{name}: {}", text(&output.stderr));
            let words: Vec<_> = printed.split_whitespace().collect();
            let stdout = text(&output.stdout);
            assert_eq!(stdout.split_whitespace().collect::<Vec<_>>(), words, "{told}");
            if way == "file" && fault == Fault::None {
                assert_eq!(count(&server, "\x11").await, "1301", "{told}");
                server
                    .database
                    .mariadb()
                    .unwrap()
                    .run("sample_db", "DELETE FROM orders")
                    .await
                    .unwrap();
            } else if way == "file" {
                let loaded = count(&server, "\x11").await;
                assert_eq!(loaded != "0", rows != "0", "{told}");
            } else {
                assert_eq!(count(&server, &name).await, rows, "{told}");
            }
        }
    }
    server.stop().await.unwrap();
}
