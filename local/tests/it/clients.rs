//! Other people's clients work unchanged with the environment file sourced: psql with a token of
//! the AWS CLI, boto3 with psycopg, and both SDKs against STS.

use crate::common;

use common::{start, text, with_env_sourced};
use rds_local::Options;

const TOKEN: &str = r#"PGPASSWORD="$(aws rds generate-db-auth-token --hostname "$PGHOST" --port "$PGPORT" --username "$PGUSER" --region "$AWS_REGION")"; export PGPASSWORD;"#;

#[tokio::test]
async fn psql_with_a_token_of_the_aws_cli() {
    let (server, folder) = start(|options| options).await;
    let output = with_env_sourced(
        folder.path(),
        &format!("{TOKEN} psql -X -At -c 'SELECT name FROM customers ORDER BY name'"),
    )
    .await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "Alice Smith\nBob Johnson\nCharlie Brown\n");
    let record = server.gate.log().records().pop().unwrap();
    assert_eq!(record.outcome.as_deref(), Ok("arn:aws:iam::123456789012:user/developer"));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn psql_refuses_a_wrong_name_and_an_unknown_authority() {
    let (server, folder) = start(|options| options).await;
    let amazon = common::root().join("shared/roots/amazon.pem");
    for (change, told) in [
        (
            "PGHOST=another.c0example1234.us-east-1.rds.amazonaws.com".to_owned(),
            "does not match host name",
        ),
        (format!("PGSSLROOTCERT='{}'", amazon.display()), "certificate verify failed"),
    ] {
        let output =
            with_env_sourced(folder.path(), &format!("{TOKEN} {change} psql -X -c 'SELECT 1'"))
                .await;
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    }
    assert!(server.gate.log().records().is_empty());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn boto3_and_psycopg() {
    let (server, folder) = start(|options| options).await;
    let script = r#"python - <<'END'
import os, boto3, psycopg
env = os.environ
token = boto3.client("rds").generate_db_auth_token(env["PGHOST"], int(env["PGPORT"]), env["PGUSER"])
with psycopg.connect(password=token, sslmode="verify-full") as connection:
    print([row[0] for row in connection.execute("SELECT age FROM customers ORDER BY age")])
END"#;
    let output = with_env_sourced(folder.path(), script).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "[25, 30, 35]\n");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn psycopg_with_a_token_of_the_aws_cli() {
    let (server, folder) = start(|options| options).await;
    // psycopg takes everything from libpq's variables.
    let script = format!(
        "{TOKEN} python -c 'import psycopg; print(psycopg.connect().execute(\"SELECT current_user\").fetchone()[0])'"
    );
    let output = with_env_sourced(folder.path(), &script).await;
    assert_eq!(text(&output.stdout), "iam_ro_user\n", "{}", text(&output.stderr));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn cancel_requests_reach_postgresql() {
    let (server, folder) = start(|options| options).await;
    let script = r#"python - <<'END'
import os, boto3, psycopg, threading, time
env = os.environ
token = boto3.client("rds").generate_db_auth_token(env["PGHOST"], int(env["PGPORT"]), env["PGUSER"])
with psycopg.connect(password=token, sslmode="verify-full", autocommit=True) as connection:
    def cancel():
        while connection.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
            time.sleep(0.01)
        connection.cancel()
    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        connection.execute("SELECT pg_sleep(60)")
    except psycopg.errors.QueryCanceled:
        print("cancelled")
    thread.join()
END"#;
    let output = with_env_sourced(folder.path(), script).await;
    assert_eq!(text(&output.stdout), "cancelled\n", "{}", text(&output.stderr));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_aws_cli_assumes_the_example_role() {
    let (server, folder) = start(|options| options).await;
    let assume =
        r#"aws sts assume-role --role-arn "$DB_ROLE_ARN_EXAMPLE" --role-session-name test"#;
    let script = format!(
        r#"aws sts get-caller-identity --query Arn --output text
        set -- $({assume} --external-id "$DB_ROLE_EXTERNAL_ID_EXAMPLE" --duration-seconds 900 \
            --query 'Credentials.[AccessKeyId,SecretAccessKey,SessionToken,Expiration]' --output text)
        export AWS_ACCESS_KEY_ID=$1 AWS_SECRET_ACCESS_KEY=$2 AWS_SESSION_TOKEN=$3
        aws sts get-caller-identity --query Arn --output text
        python -c "import datetime as d, sys; print(round((d.datetime.fromisoformat(sys.argv[1]) - d.datetime.now(d.timezone.utc)).total_seconds() / 100))" "$4"
        {TOKEN} psql -X -At -c 'SELECT count(*) FROM customers'"#
    );
    let output = with_env_sourced(folder.path(), &script).await;
    assert_eq!(
        text(&output.stdout),
        "arn:aws:iam::123456789012:user/developer\n\
         arn:aws:sts::123456789012:assumed-role/rds-local-example/test\n9\n3\n",
        "{}",
        text(&output.stderr)
    );

    for (arguments, told) in [
        (r#"--external-id wrong"#, "AccessDenied"),
        ("", "AccessDenied"),
        (
            r#"--external-id "$DB_ROLE_EXTERNAL_ID_EXAMPLE" --duration-seconds 3601"#,
            "ValidationError",
        ),
    ] {
        let output = with_env_sourced(folder.path(), &format!("{assume} {arguments}")).await;
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    }
    for (change, told) in [
        ("AWS_ACCESS_KEY_ID=ASIAUNKNOWN", "InvalidClientTokenId"),
        ("AWS_SECRET_ACCESS_KEY=wrong", "SignatureDoesNotMatch"),
        ("AWS_SESSION_TOKEN=wrong", "InvalidClientTokenId"),
    ] {
        let script = format!("{change} aws sts get-caller-identity");
        let output = with_env_sourced(folder.path(), &script).await;
        assert!(!output.status.success());
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_schema_and_user_of_the_callers_choice() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.sql");
    // As pg_dump writes it: psql's own commands, COPY, a schema of one's own.
    std::fs::write(
        &schema,
        "\\set ON_ERROR_STOP on\nCREATE SCHEMA shop;\nCREATE TABLE shop.orders (id int, total numeric);\n\
         COPY shop.orders FROM stdin;\n1\t9.50\n2\t20\n\\.\n",
    )
    .unwrap();
    let init = Some(schema);
    let schemas = "shop".into();
    let (server, folder) =
        start(|options| Options { init, schemas, user: "report user".into(), ..options }).await;
    let output = with_env_sourced(
        folder.path(),
        &format!("{TOKEN} psql -X -At -c 'SELECT current_user, sum(total) FROM shop.orders'"),
    )
    .await;
    assert_eq!(text(&output.stdout), "report user|29.50\n", "{}", text(&output.stderr));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn psql_with_a_token_of_rds_local() {
    let (server, folder) = start(|options| options).await;
    let local = env!("CARGO_BIN_EXE_rds-local");
    let script = format!(
        "export PGPASSWORD=\"$('{local}' token)\"; psql -X -At -c 'SELECT count(*) FROM customers'; \
         printf %s \"$PGPASSWORD\" | '{local}' token --explain"
    );
    let output = with_env_sourced(folder.path(), &script).await;
    let told = text(&output.stdout);
    assert!(told.starts_with("3\nendpoint "), "{told}{}", text(&output.stderr));
    assert!(
        told.contains("GRANT rds_iam TO \"iam_ro_user\";") && !told.contains("PROBLEM"),
        "{told}"
    );
    server.stop().await.unwrap();
}
