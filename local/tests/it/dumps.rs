//! Scripts of pg_dump's, as `serve --init` loads them: with the owners and rights of another server.

use crate::common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::{start, text};
use rds_local::database::Database;
use rds_local::{DATABASE, Options, Server};
use tempfile::TempDir;

/// A database as it is on RDS: its tables belong to a role without a login, a group reads them, and it has an
/// extension that only RDS has.
const SHOP: [(&str, &str); 3] = [
    ("postgres", "CREATE ROLE app_owner; CREATE ROLE \"Report group\"; CREATE ROLE report_reader"),
    ("postgres", "CREATE DATABASE shop OWNER app_owner"),
    (
        "shop",
        r#"CREATE SCHEMA billing AUTHORIZATION app_owner;
        SET ROLE app_owner;
        CREATE TABLE billing.invoices (id serial PRIMARY KEY, note text);
        INSERT INTO billing.invoices (note) VALUES ('GRANT SELECT ON t TO nobody;'), (E'two\nlines');
        CREATE FUNCTION billing.total() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM billing.invoices $$;
        CREATE POLICY mine ON billing.invoices TO "Report group" USING (true);
        GRANT USAGE ON SCHEMA billing TO "Report group";
        GRANT SELECT ON billing.invoices TO "Report group", report_reader;
        ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT SELECT ON TABLES TO "Report group";
        RESET ROLE;
        INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
            VALUES (99999, 'aws_s3', 10, 'public'::regnamespace, false, '1.2');
        COMMENT ON EXTENSION aws_s3 IS 'AWS S3 extension for importing data from S3'"#,
    ),
];

/// The real pg_dump's output for that database.
async fn dump(folder: &Path, arguments: &[&str]) -> PathBuf {
    let (server, _folder) = start(|options| options).await;
    for (database, sql) in SHOP {
        let admin = server.database.superuser(database).await.unwrap();
        admin.batch_execute(sql).await.unwrap();
    }
    let Database::Postgres(postgres) = &server.database else { panic!("not PostgreSQL") };
    let mut pg_dump = Command::new("pg_dump");
    pg_dump.args(["-U", "postgres", "-d", "shop"]).args(arguments).arg("-h");
    let output = pg_dump.arg(postgres.socket_folder()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    server.stop().await.unwrap();
    let script = folder.join("dump.sql");
    let dump = text(&output.stdout);
    assert!(dump.contains("\nCREATE EXTENSION IF NOT EXISTS aws_s3"), "{dump}");
    // As pg_dump 17 begins, whatever this one is.
    std::fs::write(&script, format!("SET transaction_timeout = 0;\n{dump}")).unwrap();
    script
}

async fn load(script: &Path) -> rds_local::Result<(Server, TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        init: Some(script.to_owned()),
        schemas: "public,billing".into(),
        user: "report_reader".into(),
        ..Options::new(folder.path())
    };
    Ok((Server::start(options).await?, folder))
}

#[tokio::test]
async fn a_dump_with_owners_rights_and_an_extension_of_rds_loads() {
    let folder = tempfile::tempdir().unwrap();
    let script = dump(folder.path(), &[]).await;
    let (server, _folder) = load(&script).await.unwrap();
    assert_eq!(server.loaded.adapted.roles, ["Report group", "app_owner", "report_reader"]);
    assert_eq!(server.loaded.adapted.extensions, ["aws_s3"]);
    assert!(server.loaded.ungranted.is_empty());
    let admin = server.database.superuser(DATABASE).await.unwrap();
    let sql = "SELECT tableowner = 'app_owner', billing.total() = 2,
            has_table_privilege('Report group', 'billing.invoices', 'SELECT'),
            (SELECT rolcanlogin FROM pg_roles WHERE rolname = 'report_reader')
                AND pg_has_role('report_reader', 'rds_iam', 'MEMBER')
                AND has_schema_privilege('report_reader', 'billing', 'USAGE'),
            NOT EXISTS (SELECT FROM pg_roles WHERE rolname IN ('app_owner', 'Report group') AND rolcanlogin),
            NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'aws_s3')
        FROM pg_tables WHERE tablename = 'invoices'";
    let row = admin.query_one(sql, &[]).await.unwrap();
    let holds: [bool; 6] = std::array::from_fn(|index| row.get(index));
    assert_eq!(holds, [true; 6]);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_dump_with_a_database_of_its_own_says_what_to_leave_out() {
    let folder = tempfile::tempdir().unwrap();
    let script = dump(folder.path(), &["--create"]).await;
    let error = load(&script).await.unwrap_err();
    assert!(error.contains("in the database shop"), "{error}");
    assert!(error.contains("without --create"), "{error}");
}

#[tokio::test]
async fn a_script_that_needs_a_missing_extension_names_line_statement_and_extension() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("places.sql");
    let text = "create extension if not exists missing_here;\n\nCREATE TABLE places (\n  at missing_type\n);\n";
    std::fs::write(&script, text).unwrap();
    let error = load(&script).await.unwrap_err();
    let place = format!("{}:5: ERROR", script.display());
    for part in [place.as_str(), "STATEMENT:  CREATE TABLE places", "--no-owner", "missing_here"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
}
