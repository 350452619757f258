//! The MySQL gate knows where each answer of MariaDB's ends, whatever the command and the client's
//! capabilities: a fault strikes behind the right one.

use std::io::ErrorKind;

use rds_local::Server;
use rds_local::gate::Fault;

use crate::gate_mysql::{Raw, Tls};
use crate::gate_mysql_faults::{DEPRECATE_EOF, MORE, command, count, insert, session_with, world};

/// MariaDB's MARIADB_CLIENT_EXTENDED_METADATA and MARIADB_CLIENT_CACHE_METADATA, and its progress reports.
const METADATA: u64 = 0b11001 << 32;
/// PS_MULTI_RESULTS
const OUT_PARAMETERS: u64 = 0x4_0000;

const PROCEDURES: &str = "DELIMITER //
    CREATE PROCEDURE results() BEGIN SELECT 1; SELECT NULL, 2 FROM customers; DO 1; END//
    CREATE PROCEDURE answers(OUT a int) BEGIN SELECT 3; SET a = 4; END//
    CREATE PROCEDURE fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45000'; END//
    DELIMITER ;
    GRANT EXECUTE ON sample_db.* TO iam_rw_user";

/// Commands whose answers nobody reads before the next is sent.
fn send(raw: &mut Raw<Tls>, what: &str) {
    let query = |sql: &str| command(0x03, sql);
    match what {
        "rows" => raw.send(0, &query("SELECT NULL, name FROM customers")),
        "no rows" => raw.send(0, &query("SELECT name FROM customers WHERE 1 = 0")),
        "many rows" => raw.send(0, &query("SELECT seq, NULL FROM seq_1_to_70000")),
        "a row of two packets" => raw.send(0, &query("SELECT REPEAT('x', 16777215), 1")),
        "results" => raw.send(0, &query("DO 1; SELECT 1; SELECT 2 WHERE 1 = 0; DO 2")),
        "an error" => raw.send(0, &query("DO 1; SELECT * FROM nothing; DO 2")),
        "nothing" => raw.send(0, &query("")),
        "a procedure" => raw.send(0, &query("CALL results(); DO 1")),
        "a procedure that fails" => raw.send(0, &query("CALL fails(); DO 1")),
        "show" => raw
            .send(0, &query("SHOW WARNINGS; EXPLAIN SELECT * FROM customers; CHECK TABLE orders")),
        "ping" => raw.send(0, &[0x0e]),
        "statistics" => raw.send(0, &[0x09]),
        "fields" => raw.send(0, &command(0x04, "customers\0%")),
        "fields of nothing" => raw.send(0, &command(0x04, "nothing\0%")),
        "processes" => raw.send(0, &[0x0a]),
        "database" => raw.send(0, &command(0x02, "sample_db")),
        "option" => raw.send(0, &[0x1b, 0, 0]),
        "debug" => raw.send(0, &[0x0d]),
        "unknown" => raw.send(0, &[0x30]),
        "empty" => raw.send(0, &[]),
        "reset" => raw.send(0, &[0x1f]),
        "prepared" => {
            // Twice, so that MariaDB may leave the columns out; and what has no answer.
            raw.send(0, &command(0x16, "SELECT name, NULL FROM customers"));
            for _ in 0..2 {
                raw.send(0, &[0x17, 0xff, 0xff, 0xff, 0xff, 0, 1, 0, 0, 0]);
            }
            raw.send(0, &[0x18, 1, 0, 0, 0, 0, 0, b'x']);
            raw.send(0, &[0x1a, 1, 0, 0, 0]);
            raw.send(0, &[0x19, 1, 0, 0, 0]);
        }
        "parameters" => {
            raw.send(0, &command(0x16, "SELECT ?, ? FROM customers"));
            let types_and_values = [0, 1, 0xfd, 0, 0xfd, 0, 1, b'a', 1, b'b'];
            raw.send(0, &[&[0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0][..], &types_and_values].concat());
        }
        "out parameters" => {
            raw.send(0, &command(0x16, "CALL answers(?)"));
            raw.send(0, &[0x17, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 3, 0]);
        }
        "cursor" => {
            raw.send(0, &command(0x16, "SELECT name FROM customers"));
            raw.send(0, &[0x17, 1, 0, 0, 0, 1, 1, 0, 0, 0]);
            raw.send(0, &[0x1c, 1, 0, 0, 0, 2, 0, 0, 0]);
            raw.send(0, &[0x1c, 1, 0, 0, 0, 9, 0, 0, 0]);
            raw.send(0, &[0x1c, 9, 0, 0, 0, 9, 0, 0, 0]);
        }
        "prepared in vain" => {
            raw.send(0, &command(0x16, "SELECT * FROM nothing"));
            raw.send(0, &[0x17, 7, 0, 0, 0, 0, 1, 0, 0, 0]);
        }
        _ => panic!("{what}"),
    }
}

const COMMANDS: [&str; 26] = [
    "rows",
    "no rows",
    "many rows",
    "a row of two packets",
    "results",
    "an error",
    "nothing",
    "a procedure",
    "a procedure that fails",
    "show",
    "ping",
    "statistics",
    "fields",
    "fields of nothing",
    "processes",
    "database",
    "option",
    "debug",
    "unknown",
    "empty",
    "reset",
    "prepared",
    "parameters",
    "out parameters",
    "cursor",
    "prepared in vain",
];

async fn strikes_behind(server: &Server, more: u64, what: &[&str], way: &str) {
    let mut raw = session_with(server, more);
    server.gate.set_fault(Fault::ResetAtCommit);
    what.iter().for_each(|what| send(&mut raw, what));
    // Too early, and the row is not there yet.
    raw.send(0, &command(0x03, &format!("DO SLEEP(0.3); {}; COMMIT", insert(way))));
    let error = loop {
        match raw.try_packet() {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{what:?} {more:x}: {error}");
    assert_eq!(count(server, way).await, "1", "{what:?} {more:x}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_strikes_behind_the_right_answer() {
    let (server, _folder) = world().await;
    let mariadb = server.database.mariadb().unwrap();
    mariadb.run("sample_db", PROCEDURES).await.unwrap();
    let capabilities = [MORE, MORE | DEPRECATE_EOF, MORE | DEPRECATE_EOF | METADATA];
    for (round, more) in capabilities.into_iter().enumerate() {
        for (half, commands) in COMMANDS.chunks(COMMANDS.len() / 2).enumerate() {
            let way = format!("{round}.{half}.");
            strikes_behind(&server, more | OUT_PARAMETERS, commands, &way).await;
        }
    }
    server.stop().await.unwrap();
}
