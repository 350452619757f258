//! Sessions behind MySQL's gate: the line of each that ends, and users that are made in every spelling of
//! Aurora's plugin.

use crate::common;

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use common::recipe::Recipe;
use common::{start_mysql, text, with_env_sourced};
use rds_local::Server;
use rds_local::gate::Fault;
use rds_local::iam::{Identity, dbuser_arn};

use crate::gate_mysql::{
    CAPABILITIES, asked_for_token, first, logged_in, login, response_with, secure,
};

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
        logged_in(&server, &token).end_tls();
        drop(logged_in(&server, &token).0.sock.try_clone().unwrap());
        let raw = logged_in(&server, &token);
        let socket = socket2::SockRef::from(&raw.0.sock).try_clone().unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop((raw, socket));
    }
    assert_eq!(ended_sessions(folder, 30).await, 30);
    // One whose program is killed in the middle of a statement.
    let mut client = std::process::Command::new("mysql");
    client.arg(format!("--defaults-file={}", folder.join("my.cnf").display()));
    client.args(["--user=iam_ro_user", "--execute=SELECT SLEEP(600)"]);
    client.arg(format!("--port={}", server.address.port())).env("MYSQL_PWD", &token);
    let mut client = client.spawn().unwrap();
    let mariadb = server.database.mariadb().unwrap();
    let sleeps =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'";
    while mariadb.run("mysql", sleeps).await.unwrap().trim() != "1" {
        assert!(client.try_wait().unwrap().is_none(), "the client has ended by itself");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    client.kill().unwrap();
    client.wait().unwrap();
    assert_eq!(ended_sessions(folder, 31).await, 31);
    // Those that a fault ends: at once, or at a statement.
    let mut open = [logged_in(&server, &token), logged_in(&server, &token)];
    server.gate.set_fault(Fault::ResetBeforeQuery);
    open[0].send(0, b"\x03SELECT 1");
    assert_eq!(ended_sessions(folder, 32).await, 32);
    server.gate.set_fault(Fault::Reset);
    assert_eq!(ended_sessions(folder, 33).await, 33);
    let log = std::fs::read_to_string(folder.join("gate.log")).unwrap();
    assert_eq!(log.matches("session ended: connection reset: fault injection").count(), 2, "{log}");
    // Those that the server's own end finds open.
    server.gate.set_fault(Fault::None);
    let _open = [logged_in(&server, &token), logged_in(&server, &token)];
    server.stop().await.unwrap();
    assert_eq!(ended_sessions(folder, 35).await, 35);
}

/// Clients report an end of the connection without TLS's own as an error.
#[tokio::test(flavor = "multi_thread")]
async fn every_connection_ends_with_tls_own_end() {
    let (server, _folder) = start_mysql(|options| options).await;
    let token = Recipe::good(&server).token();
    // A client that knows no plugins cannot send a token.
    let mut raw = secure(&server);
    let old = [first(0x200 | 0x800 | 0x8000), b"iam_ro_user\0\x00".to_vec()].concat();
    raw.send(2, &old);
    assert!(text(&raw.packet().1).contains("08004Client does not support"));
    assert!(raw.is_ended());
    // A database that does not exist, with a good token.
    let mut raw = secure(&server);
    raw.send(2, &response_with(CAPABILITIES, "admin", "no_such_database"));
    raw.packet();
    let of_admin = administrator(&server).await("admin");
    raw.send(4, &[of_admin.as_bytes(), &[0]].concat());
    assert!(text(&raw.packet().1).contains("42000Unknown database 'no_such_database'"));
    assert!(raw.is_ended());
    // A token that is none.
    let mut raw = asked_for_token(&server);
    raw.send(4, b"x\0");
    raw.packet();
    assert!(raw.is_ended());
    // What is no login.
    let mut raw = secure(&server);
    raw.send(2, &[0; 3]);
    raw.packet();
    assert!(raw.is_ended());
    // A session that the client ends with COM_QUIT, or only with TLS's end.
    let mut raw = logged_in(&server, &token);
    raw.send(0, b"\x01");
    assert!(raw.is_ended());
    let mut raw = logged_in(&server, &token);
    raw.end_tls();
    assert!(raw.is_ended());
    // One that the server ends.
    let mut raw = logged_in(&server, &token);
    raw.send(0, b"\x03KILL CONNECTION_ID()");
    assert!(text(&raw.packet().1).contains("Connection was killed"));
    assert!(raw.is_ended());
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
    host="localhost", port=int(env["MYSQL_TCP_PORT"]), user="admin", password=env["TOKEN"],
    database="mysql", ssl_ca=env["MYSQL_SSL_CA"], ssl_verify_identity=True,
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
        print(*error.args)
run(f"CREATE USER long1 /* {'x' * 300_000} */ {plugin}")
run(f"SELECT LENGTH('{'x' * 2_000_000}'); CREATE USER long2 {plugin}")
# A backslash escapes, and so the plugin is in a string.
run(r"CREATE TEMPORARY TABLE a SELECT 'a\\' AS a, 'x\' IDENTIFIED WITH AWSAuthenticationPlugin AS ' AS b; SELECT * FROM a")
run("SET sql_mode = CONCAT(@@sql_mode, ',NO_BACKSLASH_ESCAPES')")
# It does not escape.
run(r"CREATE TEMPORARY TABLE b SELECT 'a\' AS a, ' IDENTIFIED WITH AWSAuthenticationPlugin AS ' AS b, 'RDS', '\'; SELECT * FROM b")
run(r"SELECT 'a\' AS a; CREATE USER standard IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'")
"#;

#[tokio::test]
async fn a_text_is_read_as_mariadb_reads_it() {
    let (server, folder) = start_mysql(|options| options).await;
    let program = folder.path().join("client.py");
    std::fs::write(&program, PYTHON).unwrap();
    let token = administrator(&server).await;
    let script = format!("export TOKEN='{}'; python '{}'", token("admin"), program.display());
    let output = with_env_sourced(folder.path(), &script).await;
    let expected = r#"
(2000000,)


('a\\', "x' IDENTIFIED WITH AWSAuthenticationPlugin AS ")


('a\\', ' IDENTIFIED WITH AWSAuthenticationPlugin AS ', 'RDS', '\\')
('a\\',)

"#;
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    for user in ["long1", "long2", "standard"] {
        let in_no_database = ["--database=information_schema"];
        let logged_in = login(folder.path(), user, &token(user), &in_no_database).await;
        assert_eq!(logged_in, Ok(()), "{user}");
    }
    server.stop().await.unwrap();
}

/// Makes a user `admin`, and returns what signs tokens of every user.
async fn administrator(server: &Server) -> impl Fn(&str) -> String + use<> {
    let create = "CREATE USER admin IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'; \
                  GRANT ALL ON *.* TO admin WITH GRANT OPTION";
    server.database.mariadb().unwrap().run("mysql", create).await.unwrap();
    let anyone = Identity::with_key("AKIAANY", "secret", None, "arn:any", &[dbuser_arn("*")]);
    server.iam.add(anyone.clone());
    let recipe = Recipe::good(server).identity(&anyone);
    move |user: &str| recipe.with(|r| r.user = user.into()).token()
}
