//! Sessions behind MySQL's gate: the line of each that ends, and users that are made in every spelling of
//! Aurora's plugin.

use crate::common;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use common::recipe::Recipe;
use common::{start_mysql, text, with_env_sourced};
use rds_local::gate::Fault;
use rds_local::iam::{Identity, dbuser_arn};

use crate::gate_mysql::{logged_in, login};

/// Lines of gate.log that tell of a session's end. They come after the client's own end.
async fn ended_sessions(folder: &Path, expected: usize) -> usize {
    let count = || {
        let log = std::fs::read_to_string(folder.join("gate.log")).unwrap();
        log.matches("session ended: ").count()
    };
    for _ in 0..100 {
        if count() >= expected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_session_that_ends_has_a_line_in_the_log() {
    let (server, folder) = start_mysql(|options| options).await;
    let folder = folder.path();
    let token = Recipe::good(&server).token();
    for _ in 0..10 {
        login(folder, "iam_ro_user", &token, &[]).await.unwrap();
    }
    assert_eq!(ended_sessions(folder, 10).await, 10);
    // A client that says goodbye, one that only ends TLS, one that only closes, and one that resets.
    for _ in 0..5 {
        logged_in(&server, &token).send(0, b"\x01");
        logged_in(&server, &token).0.shutdown().unwrap();
        drop(logged_in(&server, &token).0.get_ref().try_clone().unwrap());
        let raw = logged_in(&server, &token);
        let socket = socket2::SockRef::from(raw.0.get_ref()).try_clone().unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop((raw, socket));
    }
    assert_eq!(ended_sessions(folder, 30).await, 30);
    // Those that a fault ends: at once, or at a statement.
    let mut open = [logged_in(&server, &token), logged_in(&server, &token)];
    server.gate.set_fault(Fault::ResetBeforeQuery);
    open[0].send(0, b"\x03SELECT 1");
    assert_eq!(ended_sessions(folder, 31).await, 31);
    server.gate.set_fault(Fault::Reset);
    assert_eq!(ended_sessions(folder, 32).await, 32);
    let log = std::fs::read_to_string(folder.join("gate.log")).unwrap();
    assert_eq!(log.matches("session ended: connection reset: fault injection").count(), 2, "{log}");
    server.stop().await.unwrap();
}

/// The plugin as AWS writes it, as SHOW CREATE USER prints it, and as others do.
const SPELLINGS: [&str; 11] = [
    "CREATE USER 'u'@'%' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'",
    "CREATE USER 'u'@'%' IDENTIFIED WITH 'AWSAuthenticationPlugin' AS 'RDS' REQUIRE SSL",
    "create user `u`@`%` identified with AWSAuthenticationPlugin as \"RDS\"",
    "CREATE USER IF NOT EXISTS u IDENTIFIED WITH `AWSAuthenticationPlugin` AS 'RDS'",
    "CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin /* a comment */ BY 'RDS'",
    "CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin AS 0x524453",
    "CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin AS x'524453'",
    "CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin REQUIRE SSL",
    "SET STATEMENT max_statement_time = 9 FOR CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'",
    "BEGIN NOT ATOMIC CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'; END",
    "CREATE USER u IDENTIFIED BY 'a password'; ALTER USER u IDENTIFIED WITH \"AWSAuthenticationPlugin\" AS 'RDS'",
];

#[tokio::test]
async fn users_of_the_plugin_are_made_in_every_spelling_before_and_at_run_time() {
    let scripts = tempfile::tempdir().unwrap();
    let init = scripts.path().join("init.sql");
    let mut script = String::from(
        "CREATE USER 'admin'@'%' IDENTIFIED WITH 'AWSAuthenticationPlugin' AS 'RDS';\n\
         GRANT ALL ON *.* TO 'admin'@'%' WITH GRANT OPTION;\n",
    );
    let named = |sql: &str, name: &str| {
        sql.replace("'u'", &format!("'{name}'"))
            .replace("`u`", &format!("`{name}`"))
            .replace(" u ", &format!(" {name} "))
    };
    for (index, spelling) in SPELLINGS.iter().enumerate() {
        // The client itself would cut a compound statement at its semicolon.
        let spelling = named(spelling, &format!("before{index}"));
        writeln!(script, "DELIMITER ;;\n{spelling};;\nDELIMITER ;").unwrap();
    }
    std::fs::write(&init, script).unwrap();
    let (server, folder) = start_mysql(|options| rds_local::Options {
        init: Some(init),
        user: "admin".into(),
        ..options
    })
    .await;
    let anyone = Identity::with_key("AKIAANY", "secret", None, "arn:any", &[dbuser_arn("*")]);
    server.iam.add(anyone.clone());
    let token =
        |user: &str| Recipe::good(&server).with(|r| r.user = user.into()).identity(&anyone).token();
    for (index, spelling) in SPELLINGS.iter().enumerate() {
        let name = format!("during{index}");
        let create = named(spelling, &name);
        // A delimiter that no statement holds, so that the client sends all of it.
        let create = format!("{create}$$");
        let options = ["--database=mysql", "--delimiter=$$", "--execute", &create];
        login(folder.path(), "admin", &token("admin"), &options)
            .await
            .unwrap_or_else(|error| panic!("{create}: {error}"));
        for user in [name, format!("before{index}")] {
            let in_no_database = ["--database=information_schema"];
            let logged_in = login(folder.path(), &user, &token(&user), &in_no_database).await;
            assert_eq!(logged_in, Ok(()), "{user}: {spelling}");
        }
    }
    // MariaDB's own messages stay.
    let other = ["--execute", "CREATE USER x IDENTIFIED WITH other_plugin AS 'RDS';"];
    let refused = login(folder.path(), "admin", &token("admin"), &other).await.unwrap_err();
    assert!(refused.contains("ERROR 1524"), "{refused}");
    server.stop().await.unwrap();
}

/// Runs texts one by one, and prints their rows and errors.
const PYTHON: &str = r#"
import os, pymysql
from pymysql.constants import CLIENT
env = os.environ
connection = pymysql.connect(
    host="localhost", port=int(env["MYSQL_TCP_PORT"]), user="iam_ro_user", password=env["TOKEN"],
    database="sample_db", ssl_ca=env["MYSQL_SSL_CA"], ssl_verify_identity=True,
    client_flag=CLIENT.MULTI_STATEMENTS)
cursor = connection.cursor()
plugin = "IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'"
def run(sql):
    try:
        cursor.execute(sql)
        print(*cursor.fetchall())
        while cursor.nextset():
            print(*cursor.fetchall())
    except pymysql.Error as error:
        # 1227 is MariaDB's refusal of a user without rights, after it has understood the statement.
        print(error.args[0])
run(f"CREATE USER u {plugin}")
run(f"CREATE USER u /* {'x' * 300_000} */ {plugin}")
run(f"SELECT LENGTH('{'x' * 300_000}'); CREATE USER u {plugin}")
# A backslash escapes, and so the plugin is in a string.
run(r"SELECT 'a\\', ' IDENTIFIED WITH AWSAuthenticationPlugin AS ', 'b'")
run(r"SELECT 'a\' IDENTIFIED WITH AWSAuthenticationPlugin AS '")
run("SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
# It does not escape.
run(r"SELECT 'a\', ' IDENTIFIED WITH AWSAuthenticationPlugin AS ', 'RDS', '\'")
run(r"SELECT 'a\'; SELECT 1")
run(r"SELECT 1 AS 'a\'; CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'")
"#;

#[tokio::test]
async fn a_text_is_read_as_mariadb_reads_it() {
    let (server, folder) = start_mysql(|options| options).await;
    let program = folder.path().join("client.py");
    std::fs::write(&program, PYTHON).unwrap();
    let token = Recipe::good(&server).token();
    let script = format!("export TOKEN='{token}'; python '{}'", program.display());
    let output = with_env_sourced(folder.path(), &script).await;
    let expected = r#"1227
1227
(300000,)
1227
('a\\', ' IDENTIFIED WITH AWSAuthenticationPlugin AS ', 'b')
("a' IDENTIFIED WITH AWSAuthenticationPlugin AS ",)

('a\\', ' IDENTIFIED WITH AWSAuthenticationPlugin AS ', 'RDS', '\\')
('a\\',)
(1,)
(1,)
1227
"#;
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    server.stop().await.unwrap();
}
