//! What an administrator runs: it may be run again, and it grants what it says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use common::{root, start};

#[tokio::test]
async fn the_scripts_are_repeatable_and_grant_the_documented_rights() {
    let (server, _folder) = start(|options| options).await;
    for _ in 0..2 {
        for script in ["sql/roles.sql", "sql/proxy.sql", "sql/ledger.sql"] {
            server.postgres.run_script("sample_db", &root().join(script)).await.unwrap();
        }
    }
    let admin = server.postgres.superuser("sample_db").await.unwrap();
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
    server.postgres.run_script("sample_db", &root().join("sql/ledger.sql")).await.unwrap();
    let admin = server.postgres.superuser("sample_db").await.unwrap();
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
