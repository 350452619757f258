//! Sessions behind MySQL's gate: the line of each that ends, and users that are made in every spelling of
//! Aurora's plugin.

use crate::common;

use std::path::Path;
use std::time::Duration;

use common::recipe::Recipe;
use common::start_mysql;
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
        std::mem::forget(raw);
        drop(socket);
    }
    assert_eq!(ended_sessions(folder, 25).await, 25);
    server.stop().await.unwrap();
}

/// The plugin as AWS writes it, as SHOW CREATE USER prints it, and as others do.
const SPELLINGS: [&str; 6] = [
    "CREATE USER 'u'@'%' IDENTIFIED WITH AWSAuthenticationPlugin AS 'RDS'",
    "CREATE USER 'u'@'%' IDENTIFIED WITH 'AWSAuthenticationPlugin' AS 'RDS' REQUIRE SSL",
    "create user `u`@`%` identified with AWSAuthenticationPlugin as \"RDS\"",
    "CREATE USER IF NOT EXISTS u IDENTIFIED WITH `AWSAuthenticationPlugin` AS 'RDS'",
    "CREATE USER u IDENTIFIED WITH AWSAuthenticationPlugin /* a comment */ BY 'RDS'",
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
        script.push_str(&named(spelling, &format!("before{index}")));
        script.push_str(";\n");
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
        let create = format!("{};", named(spelling, &name));
        login(folder.path(), "admin", &token("admin"), &["--database=mysql", "--execute", &create])
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
