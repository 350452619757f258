//! What an administrator runs: it may be run again, and it grants what it says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use common::{root, start};

#[tokio::test]
async fn the_scripts_are_repeatable_and_grant_the_documented_rights() {
    let (server, _folder) = start(|options| options).await;
    for _ in 0..2 {
        for script in ["sql/roles.sql", "sql/proxy.sql", "sql/ledger.sql", "sql/jobs.sql"] {
            server.database.run_script("sample_db", &root().join(script)).await.unwrap();
        }
    }
    let admin = server.database.superuser("sample_db").await.unwrap();
    admin.batch_execute("CREATE SCHEMA later; CREATE TABLE later.t (id serial)").await.unwrap();
    let may = |user: &'static str, table: &'static str, right: &'static str| {
        let admin = &admin;
        async move {
            let sql = "SELECT has_table_privilege($1, $2, $3)";
            admin.query_one(sql, &[&user, &table, &right]).await.unwrap().get::<_, bool>(0)
        }
    };
    for table in ["customers", "later.t"] {
        assert!(may("iam_ro_user", table, "SELECT").await, "{table}");
        for right in ["INSERT", "UPDATE", "DELETE", "TRUNCATE"] {
            assert!(!may("iam_ro_user", table, right).await, "{table} {right}");
        }
        assert!(may("iam_rw_user", table, "INSERT").await, "{table}");
        assert!(!may("iam_rw_user", table, "TRUNCATE").await, "{table}");
    }
    for (right, given) in
        [("INSERT", true), ("UPDATE", false), ("DELETE", false), ("SELECT", false)]
    {
        assert_eq!(may("iam_rw_user", "message_ledger", right).await, given, "{right}");
        assert!(!may("iam_ro_user", "message_ledger", right).await, "{right}");
    }
    let settings = "SELECT count(*) FROM pg_db_role_setting WHERE setdatabase = 0";
    assert_eq!(admin.query_one(settings, &[]).await.unwrap().get::<_, i64>(0), 2);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_ledger_takes_a_message_once_for_each_query() {
    let (server, _folder) = start(|options| options).await;
    server.database.run_script("sample_db", &root().join("sql/ledger.sql")).await.unwrap();
    let admin = server.database.superuser("sample_db").await.unwrap();
    let record = |query: &'static str| {
        let admin = &admin;
        async move {
            let sql = "INSERT INTO message_ledger (query, message_id) VALUES ($1, 'm1')";
            admin.execute(sql, &[&query]).await
        }
    };
    record("a").await.unwrap();
    record("b").await.unwrap();
    let twice = record("a").await.unwrap_err();
    assert_eq!(twice.as_db_error().unwrap().constraint(), Some("message_ledger_pkey"));
    server.stop().await.unwrap();
}

/// Runs scripts of `sql/` in a database of its own as `master`, who is what RDS makes of its
/// administrator: no superuser, with CREATEROLE, the owner of the database and of none of its tables.
async fn as_master(server: &rds_local::Server, folder: &std::path::Path, scripts: &[&str]) {
    let mut wrapper = String::from("SET SESSION AUTHORIZATION master;\n\\set ON_ERROR_STOP off\n");
    for script in scripts {
        wrapper += &format!("\\i '{}'\n", root().join(script).display());
    }
    let file = folder.join("as_master.sql");
    std::fs::write(&file, wrapper).unwrap();
    server.database.run_script("shop", &file).await.unwrap();
}

#[tokio::test]
async fn a_master_who_owns_no_table_grants_on_anothers_in_any_order() {
    for order in [
        ["sql/roles.sql", "sql/ledger.sql", "sql/jobs.sql"],
        ["sql/jobs.sql", "sql/ledger.sql", "sql/roles.sql"],
    ] {
        let (server, folder) = start(|options| options).await;
        let admin = server.database.superuser("postgres").await.unwrap();
        let roles = "DROP OWNED BY iam_ro_user, iam_rw_user, readonly_role; \
            CREATE ROLE master LOGIN CREATEROLE; CREATE ROLE app";
        admin.batch_execute(roles).await.unwrap();
        admin.batch_execute("CREATE DATABASE shop OWNER master").await.unwrap();
        let admin = server.database.superuser("shop").await.unwrap();
        let tables = "GRANT CREATE ON SCHEMA public TO app; SET ROLE app; \
            CREATE TABLE items (id serial); RESET ROLE";
        admin.batch_execute(tables).await.unwrap();
        for _ in 0..2 {
            as_master(&server, folder.path(), &order).await;
        }
        admin
            .batch_execute("SET ROLE app; CREATE TABLE later (id serial); RESET ROLE")
            .await
            .unwrap();

        let rights = |user: &'static str, table: &'static str| {
            let admin = &admin;
            async move {
                let sql = "SELECT array_agg(r) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', \
                    'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) r WHERE has_table_privilege($1, $2, r)";
                let row = admin.query_one(sql, &[&user, &table]).await.unwrap();
                row.get::<_, Option<Vec<String>>>(0).unwrap_or_default()
            }
        };
        for table in ["items", "later", "job_runs"] {
            assert_eq!(rights("iam_ro_user", table).await, ["SELECT"], "{order:?} {table}");
            let write = ["SELECT", "INSERT", "UPDATE", "DELETE"];
            assert_eq!(rights("iam_rw_user", table).await, write, "{order:?} {table}");
        }
        assert_eq!(rights("iam_rw_user", "message_ledger").await, ["INSERT"], "{order:?}");
        assert!(rights("iam_ro_user", "message_ledger").await.is_empty(), "{order:?}");
        let row =
            admin.query_one("SELECT pg_has_role('master', 'app', 'MEMBER')", &[]).await.unwrap();
        assert!(!row.get::<_, bool>(0), "the membership ends with the script");
        server.stop().await.unwrap();
    }
}
