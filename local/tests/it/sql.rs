//! What an administrator runs: it may be run again, and it grants what it says. On the machine's own
//! PostgreSQL and on PostgreSQL 17: version 16 changed who may grant a role.

use crate::common;

use std::path::{Path, PathBuf};

use common::{root, start};
use rds_iam::query::{Mode, Query};
use rds_local::testing::postgres_17;
use rds_local::{Options, Server};
use tempfile::TempDir;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, error::SqlState};

/// The servers to test on: the folders of their programs, `None` for the machine's own.
fn servers() -> Vec<Option<PathBuf>> {
    [None].into_iter().chain(postgres_17(&root()).map(Some)).collect()
}

async fn start_on(postgres_bin: Option<PathBuf>) -> (Server, TempDir) {
    let expected = postgres_bin.is_some();
    let (server, folder) = start(|options| Options { postgres_bin, ..options }).await;
    if expected {
        assert_eq!(version(&server).await, 17);
    }
    (server, folder)
}

/// The server's major version.
async fn version(server: &Server) -> i32 {
    let admin = server.database.superuser("postgres").await.unwrap();
    let sql = "SELECT current_setting('server_version_num')::int / 10000";
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn the_scripts_are_repeatable_and_grant_the_documented_rights() {
    for bin in servers() {
        let (server, _folder) = start_on(bin).await;
        check_repeated_scripts(&server).await;
        server.stop().await.unwrap();
    }
}

async fn check_repeated_scripts(server: &Server) {
    for _ in 0..2 {
        for script in ["sql/roles.sql", "sql/proxy.sql", "sql/ledger.sql", "sql/jobs.sql"] {
            server.database.run_script("sample_db", &root().join(script)).await.unwrap();
        }
    }
    let admin = server.database.superuser("sample_db").await.unwrap();
    admin.batch_execute("CREATE TABLE later (id serial)").await.unwrap();
    let may = |user: &'static str, table: &'static str, right: &'static str| {
        let admin = &admin;
        async move {
            let sql = "SELECT has_table_privilege($1, $2, $3)";
            admin.query_one(sql, &[&user, &table, &right]).await.unwrap().get::<_, bool>(0)
        }
    };
    for table in ["customers", "later"] {
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
}

#[tokio::test]
async fn the_named_schemas_are_granted_to_the_named_users_and_no_other() {
    for bin in servers() {
        let (server, folder) = start_on(bin).await;
        check_named_schemas(&server, folder.path()).await;
        server.stop().await.unwrap();
    }
}

async fn check_named_schemas(server: &Server, folder: &Path) {
    make_shop(server, "master").await;
    let admin = server.database.superuser("shop").await.unwrap();
    let tables = "CREATE SCHEMA billing AUTHORIZATION app; CREATE SCHEMA audit AUTHORIZATION app;
        CREATE TABLE billing.invoices (id serial); CREATE TABLE audit.log (id serial);
        ALTER TABLE billing.invoices OWNER TO app; ALTER TABLE audit.log OWNER TO app";
    admin.batch_execute(tables).await.unwrap();
    let run = async |variables: &str| {
        let script = format!(
            "{variables}\nSET SESSION AUTHORIZATION master;\n\\i '{}'\n",
            root().join("sql/roles.sql").display()
        );
        std::fs::write(folder.join("named.sql"), script).unwrap();
        server.database.run_script("shop", &folder.join("named.sql")).await
    };
    let unknown = run("\\set schemas 'billing, biling'").await.unwrap_err();
    assert!(unknown.contains("database shop has no schema biling"), "{unknown}");
    let names = "\\set schemas 'billing, public'\n\\set reader 'Shop''s reader'\n\\set writer shop_rw\n\\set readers shop_readers";
    for _ in 0..2 {
        run(names).await.unwrap();
    }
    let later = "SET ROLE app; CREATE TABLE billing.later (id serial); RESET ROLE";
    admin.batch_execute(later).await.unwrap();
    for table in ["billing.invoices", "billing.later", "items"] {
        assert_eq!(rights(server, "Shop's reader", table).await, ["SELECT"], "{table}");
        assert_eq!(rights(server, "shop_rw", table).await, WRITE, "{table}");
        // Of another stack on the same server.
        assert!(rights(server, "iam_ro_user", table).await.is_empty(), "{table}");
    }
    assert!(rights(server, "shop_rw", "audit.log").await.is_empty());
    let used = "SELECT has_schema_privilege(u, 'billing', 'USAGE') AND NOT has_schema_privilege(u, 'audit', 'USAGE')
        AND pg_has_role(u, 'rds_iam', 'MEMBER') FROM unnest(ARRAY['Shop''s reader', 'shop_rw']) u";
    for row in admin.query(used, &[]).await.unwrap() {
        assert!(row.get::<_, bool>(0));
    }
}

/// What a function may do here, it may do on RDS: `serve` grants by running sql/roles.sql.
#[tokio::test]
async fn a_schema_of_ones_own_is_granted_only_if_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("schema.sql");
    let tables = "CREATE SCHEMA billing; CREATE TABLE billing.invoices (id int); CREATE TABLE plain (id int)";
    std::fs::write(&script, tables).unwrap();
    for (schemas, granted) in [("public", false), ("public, billing", true)] {
        for user in ["iam_ro_user", "one of mine"] {
            let (server, _folder) = start(|options| Options {
                init: Some(script.clone()),
                schemas: schemas.into(),
                user: user.into(),
                ..options
            })
            .await;
            let missing: &[&str] = if granted { &[] } else { &["billing"] };
            assert_eq!(server.loaded.ungranted, missing);
            let admin = server.database.superuser("sample_db").await.unwrap();
            let sql = "SELECT has_table_privilege($1, 'plain', 'SELECT'),
                has_schema_privilege($1, 'billing', 'USAGE') AND has_table_privilege($1, 'billing.invoices', 'SELECT'),
                has_table_privilege($1, 'plain', 'INSERT')";
            let row = admin.query_one(sql, &[&user]).await.unwrap();
            let rights: [bool; 3] = std::array::from_fn(|index| row.get(index));
            assert_eq!(rights, [true, granted, false], "{schemas} {user}");
            server.stop().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_ledger_takes_a_message_once_for_each_query() {
    for bin in servers() {
        let (server, _folder) = start_on(bin).await;
        check_ledger(&server).await;
        server.stop().await.unwrap();
    }
}

async fn check_ledger(server: &Server) {
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
}

/// Makes the database `shop` of `master`, who is what RDS makes of its administrator: no superuser, with
/// CREATEROLE, and able to grant rds_iam. It has a table of `app`, which `creator` has created.
async fn make_shop(server: &Server, creator: &str) {
    let admin = server.database.superuser("postgres").await.unwrap();
    let roles = "CREATE ROLE master LOGIN CREATEROLE; GRANT rds_iam TO master WITH ADMIN OPTION";
    admin.batch_execute(roles).await.unwrap();
    let owner = format!("SET ROLE {creator}; CREATE ROLE app; RESET ROLE");
    admin.batch_execute(&owner).await.unwrap();
    admin.batch_execute("CREATE DATABASE shop OWNER master").await.unwrap();
    let admin = server.database.superuser("shop").await.unwrap();
    let tables = "GRANT CREATE ON SCHEMA public TO app; SET ROLE app; \
        CREATE TABLE items (id serial); RESET ROLE";
    admin.batch_execute(tables).await.unwrap();
}

/// Drops a database and these roles, so that the scripts find a server where they have never run.
async fn forget(server: &Server, database: &str, roles: &str) {
    let admin = server.database.superuser("postgres").await.unwrap();
    admin.batch_execute(&format!("DROP DATABASE {database} WITH (FORCE)")).await.unwrap();
    admin.batch_execute(&format!("DROP OWNED BY {roles}; DROP ROLE {roles}")).await.unwrap();
}

/// Runs scripts of `sql/` in `shop` as `master`, until one fails.
async fn as_master(server: &Server, folder: &Path, scripts: &[&str]) -> rds_local::Result<()> {
    let mut wrapper = String::from("SET SESSION AUTHORIZATION master;\n");
    for script in scripts {
        wrapper += &format!("\\i '{}'\n", root().join(script).display());
    }
    let file = folder.join("as_master.sql");
    std::fs::write(&file, wrapper).unwrap();
    server.database.run_script("shop", &file).await
}

/// The rights of a user on a table of `shop`.
async fn rights(server: &Server, user: &str, table: &str) -> Vec<String> {
    let admin = server.database.superuser("shop").await.unwrap();
    let sql = "SELECT array_agg(r) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', \
        'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) r WHERE has_table_privilege($1, $2, r)";
    let row = admin.query_one(sql, &[&user, &table]).await.unwrap();
    row.get::<_, Option<Vec<String>>>(0).unwrap_or_default()
}

/// How many memberships in `app` exist. From version 16 on, its creator has one that cannot use its rights.
async fn members_of_app(server: &Server) -> i64 {
    let admin = server.database.superuser("postgres").await.unwrap();
    let sql = "SELECT count(*) FROM pg_auth_members WHERE roleid = 'app'::regrole";
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

const IAM_ROLES: &str = "iam_ro_user, iam_rw_user, readonly_role";
const WRITE: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

#[tokio::test]
async fn a_master_who_owns_no_table_grants_on_anothers_in_any_order() {
    let (roles, ledger, jobs) = ("sql/roles.sql", "sql/ledger.sql", "sql/jobs.sql");
    for bin in servers() {
        let (server, folder) = start_on(bin).await;
        forget(&server, "sample_db", IAM_ROLES).await;
        for order in [
            [roles, ledger, jobs],
            [roles, jobs, ledger],
            [ledger, roles, jobs],
            [jobs, roles, ledger],
            [ledger, jobs, roles],
            [jobs, ledger, roles],
        ] {
            make_shop(&server, "master").await;
            let members = members_of_app(&server).await;
            for _ in 0..3 {
                as_master(&server, folder.path(), &order).await.unwrap();
            }
            let admin = server.database.superuser("shop").await.unwrap();
            let later = "SET ROLE app; CREATE TABLE later (id serial); RESET ROLE";
            admin.batch_execute(later).await.unwrap();

            for table in ["items", "later", "job_runs"] {
                let read = rights(&server, "iam_ro_user", table).await;
                assert_eq!(read, ["SELECT"], "{order:?} {table}");
                assert_eq!(rights(&server, "iam_rw_user", table).await, WRITE, "{order:?} {table}");
            }
            let of_ledger = rights(&server, "iam_rw_user", "message_ledger").await;
            assert_eq!(of_ledger, ["INSERT"], "{order:?}");
            let of_reader = rights(&server, "iam_ro_user", "message_ledger").await;
            assert!(of_reader.is_empty(), "{order:?}");
            let row = admin.query_one("SELECT pg_has_role('master', 'app', 'USAGE')", &[]).await;
            assert!(!row.unwrap().get::<_, bool>(0), "the membership ends with the script");
            assert_eq!(members_of_app(&server).await, members, "{order:?}");
            forget(&server, "shop", &format!("{IAM_ROLES}, app, master")).await;
        }
        server.stop().await.unwrap();
    }
}

/// Before version 16, CREATEROLE let its holder grant every role but a superuser.
#[tokio::test]
async fn an_owner_whom_the_master_may_not_grant_is_named_with_the_remedy() {
    for bin in servers() {
        let (server, folder) = start_on(bin).await;
        forget(&server, "sample_db", IAM_ROLES).await;
        make_shop(&server, "postgres").await;
        let first = as_master(&server, folder.path(), &["sql/roles.sql"]).await;
        if version(&server).await >= 16 {
            let error = first.unwrap_err();
            let expected =
                "tables of schema public belong to app, and master may not grant on them";
            assert!(error.contains(expected), "{error}");
            let remedy = "GRANT app TO master";
            assert!(error.contains(remedy), "{error}");
            let admin = server.database.superuser("shop").await.unwrap();
            let made = "SELECT count(*) FROM pg_roles WHERE rolname = 'readonly_role'";
            let made: i64 = admin.query_one(made, &[]).await.unwrap().get(0);
            assert_eq!(made, 0, "nothing changes");
            admin.batch_execute(remedy).await.unwrap();
            as_master(&server, folder.path(), &["sql/roles.sql"]).await.unwrap();
        } else {
            first.unwrap();
        }
        assert_eq!(rights(&server, "iam_rw_user", "items").await, WRITE);
        server.stop().await.unwrap();
    }
}

/// The SQLSTATE of a query with NULL for each parameter, run by this user and rolled back.
async fn run_as(admin: &Client, user: &str, query: &Query) -> Option<SqlState> {
    let start = match query.mode {
        Mode::Read => "BEGIN READ ONLY",
        Mode::Write => "BEGIN",
    };
    admin.batch_execute(&format!("{start}; SET LOCAL ROLE {user}")).await.unwrap();
    let null = None::<&str>;
    let null: (&(dyn ToSql + Sync), Type) = (&null, Type::UNKNOWN);
    let ran = admin.query_typed(&query.sql, &vec![null; query.params.len()]).await;
    admin.batch_execute("ROLLBACK").await.unwrap();
    ran.err().map(|error| error.code().unwrap_or_else(|| panic!("{}: {error}", query.name)).clone())
}

/// On a database that an administrator of RDS has set up, with the rights of sql/roles.sql and no others.
#[tokio::test]
async fn every_shipped_query_runs_with_the_rights_of_roles_sql() {
    let scripts = ["sql/roles.sql", "sql/ledger.sql", "sql/jobs.sql"];
    for bin in servers() {
        let (server, folder) = start_on(bin).await;
        forget(&server, "sample_db", IAM_ROLES).await;
        make_shop(&server, "master").await;
        as_master(&server, folder.path(), &scripts).await.unwrap();
        server.database.run_script("shop", &root().join("sql/examples.sql")).await.unwrap();
        // On RDS, no table belongs to a superuser.
        let admin = server.database.superuser("shop").await.unwrap();
        let tables = "DO $$ DECLARE t name; BEGIN
            FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tableowner = 'postgres'
            LOOP EXECUTE format('ALTER TABLE %I OWNER TO app', t); END LOOP; END $$";
        admin.batch_execute(tables).await.unwrap();
        // Again, as its comment says when another role has begun to own tables.
        as_master(&server, folder.path(), &scripts[..1]).await.unwrap();
        admin.batch_execute("CREATE ROLE nobody_else").await.unwrap();
        let mut ran = [0, 0];
        for entry in std::fs::read_dir(root().join("queries")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "sql") {
                continue;
            }
            let name = path.file_stem().unwrap().to_str().unwrap();
            let query = Query::load(path.parent().unwrap(), name).unwrap();
            let (user, other) = match query.mode {
                Mode::Read => ("iam_ro_user", "nobody_else"),
                Mode::Write => ("iam_rw_user", "iam_ro_user"),
            };
            let failed = run_as(&admin, user, &query).await;
            // NULL may break a constraint, which is checked after the rights.
            let allowed = failed.as_ref().is_none_or(|code| *code == SqlState::NOT_NULL_VIOLATION);
            assert!(allowed, "{name} as {user}: {failed:?}");
            // Of a database, not of its tables.
            if name != "connection" {
                let refused = run_as(&admin, other, &query).await;
                assert_eq!(refused, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{name} as {other}");
            }
            ran[usize::from(query.mode == Mode::Write)] += 1;
        }
        assert!(ran[0] >= 5 && ran[1] >= 5, "{ran:?}");
        server.stop().await.unwrap();
    }
}
