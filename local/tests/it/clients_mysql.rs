//! Other people's clients of MySQL log in unchanged, with the environment file sourced and tokens from
//! the AWS CLI, boto3 and both of Node's signers.
//!
//! Oracle's client, which needs `--enable-cleartext-plugin`, is in no registry that this project uses:
//! MariaDB's stands for it here.

use crate::common;

use common::{node, start_mysql, text, with_env_sourced};

const TOKEN: &str = "aws rds generate-db-auth-token --hostname $MYSQL_HOST --port $MYSQL_TCP_PORT \
                     --username $MYSQL_USER --region us-east-1";

/// The driver's extension in C brings an OpenSSL of its own, which loads only if Python has not loaded
/// the system's older one: so it comes first, before boto3.
const PYTHON: &str = r#"
import sys
if sys.argv[1].startswith("extension"):
    import _mysql_connector
import os, boto3
env = os.environ
token = boto3.client("rds").generate_db_auth_token(
    DBHostname=env["MYSQL_HOST"], Port=int(env["MYSQL_TCP_PORT"]), DBUsername=env["MYSQL_USER"])
where = dict(host="localhost", port=int(env["MYSQL_TCP_PORT"]), user=env["MYSQL_USER"],
             password=token, database=env["MYSQL_DATABASE"])
if sys.argv[1] == "pymysql":
    import pymysql
    connection = pymysql.connect(ssl_ca=env["MYSQL_SSL_CA"], ssl_verify_identity=True, **where)
else:
    import mysql.connector
    # The extension loads no plugin that is not named.
    options = {
        "pure": dict(use_pure=True),
        "extension": dict(use_pure=False, auth_plugin="mysql_clear_password"),
        "extension-unnamed": dict(use_pure=False),
    }[sys.argv[1]]
    connection = mysql.connector.connect(
        ssl_ca=env["MYSQL_SSL_CA"], ssl_verify_identity=True, **options, **where)
    print(type(connection).__name__, file=sys.stderr)
cursor = connection.cursor()
cursor.execute("SELECT name FROM customers WHERE age > %s ORDER BY name", (29,))
print([name for (name,) in cursor.fetchall()])
connection.close()
"#;

#[tokio::test]
async fn mysql_and_its_python_drivers() {
    let (server, folder) = start_mysql(|options| options).await;
    let folder = folder.path();
    let program = folder.join("client.py");
    std::fs::write(&program, PYTHON).unwrap();
    let python = |driver: &str| format!("python '{}' {driver}", program.display());
    // As a program passes it: word for word, but for the host and the roots.
    let mysql = |options: &str| {
        format!(
            "RDSHOST=localhost; TOKEN=\"$({TOKEN})\"; mysql --host=$RDSHOST --port=$MYSQL_TCP_PORT \
             --ssl-ca=$MYSQL_SSL_CA --user=$MYSQL_USER --password=\"$TOKEN\" {options} \
             -N -e 'SELECT name FROM customers WHERE age > 29 ORDER BY name'"
        )
    };
    let (rows, list) = ("Alice Smith\nCharlie Brown\n", "['Alice Smith', 'Charlie Brown']\n");
    for (script, expected) in [
        (mysql("sample_db"), rows),
        (mysql("--default-auth=mysql_clear_password sample_db"), rows),
        // The option file that the environment names says the rest.
        (format!("MYSQL_PWD=\"$({TOKEN})\" mysql -N -e 'SELECT 1'"), "1\n"),
        (python("pymysql"), list),
        (python("pure"), list),
        (python("extension"), list),
    ] {
        let output = with_env_sourced(folder, &script).await;
        let told = (text(&output.stdout), text(&output.stderr));
        assert_eq!(told.0, expected, "{script}: {}", told.1);
    }
    let extension = with_env_sourced(folder, &python("extension")).await;
    assert!(text(&extension.stderr).contains("CMySQLConnection"), "{extension:?}");
    let unnamed = text(&with_env_sourced(folder, &python("extension-unnamed")).await.stderr);
    assert!(unnamed.contains("2059") && unnamed.contains("plugin not enabled"), "{unnamed}");

    let wrong = format!("AWS_SECRET_ACCESS_KEY=wrong {}", python("pymysql"));
    let told = text(&with_env_sourced(folder, &wrong).await.stderr);
    let denied = "Access denied for user 'iam_ro_user'@'127.0.0.1' (using password: YES)";
    assert!(told.contains("1045") && told.contains(denied), "{told}");

    let developer = "arn:aws:iam::123456789012:user/developer";
    let (accepted, refused): (Vec<_>, Vec<_>) =
        server.gate.log().records().into_iter().partition(|record| record.outcome.is_ok());
    assert!(accepted.iter().all(|record| record.outcome.as_deref() == Ok(developer)));
    assert_eq!((accepted.len(), refused.len()), (7, 1));

    // Ctrl-C of the client: a second connection, and the id from the greeting.
    let script = format!(
        "export MYSQL_PWD=\"$({TOKEN})\"; mysql -N -e 'SELECT SLEEP(60)' & \
         until id=$(mysql -N -e \"SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(60)'\") \
         && [ -n \"$id\" ]; do sleep 0.1; done; mysql -e \"KILL QUERY $id\"; wait $! || echo ended"
    );
    let output = with_env_sourced(folder, &script).await;
    assert_eq!(text(&output.stdout), "ended\n", "{output:?}");
    assert!(text(&output.stderr).contains("ERROR 1317 (70100)"), "{output:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn both_signers_with_mysql2_and_sequelize() {
    let (server, folder) = start_mysql(|options| options).await;
    let program = node("mysql.cjs");
    for (signer, driver, way) in [
        ("old", "mysql2", "option"),
        ("new", "mysql2", "handler"),
        ("new", "sequelize", "option"),
        ("old", "sequelize", "handler"),
    ] {
        let script = format!("{program} {signer} {driver} {way}");
        let output = with_env_sourced(folder.path(), &script).await;
        let told = (text(&output.stdout), text(&output.stderr));
        assert_eq!(told.0, "Alice Smith\n", "{signer} {driver} {way}: {}", told.1);
    }
    let script = format!("AWS_SECRET_ACCESS_KEY=wrong {program} new mysql2 option");
    let output = with_env_sourced(folder.path(), &script).await;
    assert!(text(&output.stderr).contains("Access denied for user 'iam_ro_user'"), "{output:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_schema_and_a_user_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.sql");
    let sql = "CREATE TABLE mine (id int);\nINSERT INTO mine VALUES (7);\n\
               CREATE USER 'o\\'neill'@'%' IDENTIFIED WITH\n  AWSAuthenticationPlugin AS 'RDS';\n\
               ALTER USER 'o\\'neill'@'%' REQUIRE SSL;\nGRANT SELECT ON mine TO 'o\\'neill'@'%';\n";
    std::fs::write(&schema, sql).unwrap();
    let (server, dir) = start_mysql(|options| rds_local::Options {
        init: Some(schema.clone()),
        user: "o'neill".into(),
        ..options
    })
    .await;
    let token = "aws rds generate-db-auth-token --hostname $MYSQL_HOST --port $MYSQL_TCP_PORT \
                 --username \"$MYSQL_USER\" --region us-east-1";
    let script = format!("MYSQL_PWD=\"$({token})\" mysql -N -e 'SELECT id FROM mine'");
    let output = with_env_sourced(dir.path(), &script).await;
    assert_eq!(text(&output.stdout), "7\n", "{}", text(&output.stderr));
    server.stop().await.unwrap();

    std::fs::write(&schema, "SELECT 1;\nCREATE TABEL x ();\n").unwrap();
    let options = rds_local::Options {
        init: Some(schema.clone()),
        engine: rds_local::database::Engine::Mysql,
        ..rds_local::Options::new(folder.path().join("broken"))
    };
    let error = rds_local::Server::start(options).await.unwrap_err();
    assert!(error.contains("schema.sql failed") && error.contains("line 2"), "{error}");
    assert!(
        !folder.path().join("broken/mariadb").exists()
            && !folder.path().join("broken/env").exists()
    );
}
