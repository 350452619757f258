//! `rds-local check`: offline, with a database, and what it says of files that are wrong.

use crate::common;

use std::path::Path;
use std::process::Command;

use common::text;
use rds_local::Options;

/// What it printed, and whether all was well.
fn check(arguments: &[&str], variables: &[(String, String)]) -> (String, bool) {
    let output = Command::new(env!("CARGO_BIN_EXE_rds-local"))
        .arg("check")
        .args(arguments)
        .envs(variables.iter().cloned())
        .current_dir(common::root())
        .output()
        .unwrap();
    (text(&output.stdout) + &text(&output.stderr), output.status.success())
}

fn write(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn offline_it_names_file_line_and_the_key_that_was_meant() {
    let (told, well) = check(&[], &[]);
    assert!(well && told.contains("queries/customers.sql: ok"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let good = write(folder.path(), "good.sql", "SELECT 1 AS n");
    let (told, well) = check(&[&good], &[]);
    assert!(well && told.ends_with("1 file, 0 wrong\n"), "{told}");
    write(folder.path(), "typo.sql", "/*+++\ntimeuot = 5\n+++*/\nSELECT 1 AS n");
    write(folder.path(), "bad name.sql", "SELECT 1 AS n");
    write(
        folder.path(),
        "default.sql",
        "/*+++\nparams = [{ name = \"a\", default = [1] }]\n+++*/ SELECT $1",
    );
    write(folder.path(), "notes.txt", "not a query");
    let (told, well) = check(&[&folder.path().display().to_string()], &[]);
    assert!(!well && told.ends_with("4 files, 3 wrong\n"), "{told}");
    for expected in [
        "typo.sql is wrong: line 2: unknown key timeuot; did you mean timeout?",
        "a query's name may hold only",
        "the default of parameter a cannot be used",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    for (arguments, expected) in
        [(["/no/such/file"], "no such file or folder"), (["docs"], "contains no query file")]
    {
        let (told, well) = check(&arguments, &[]);
        assert!(!well && told.contains(expected), "{told}");
    }
}

#[test]
fn of_mysql_it_finds_reads_that_write_and_other_parameters() {
    let (told, well) = check(&["queries/mysql"], &[]);
    assert!(well && told.contains("queries/mysql/customers.sql: ok"), "{told}");
    let folder = tempfile::tempdir().unwrap();
    let truncate = write(folder.path(), "truncate.sql", "-- all\nTRUNCATE TABLE t");
    write(folder.path(), "into.sql", "SELECT 1 /*! INTO OUTFILE 'x' */");
    write(folder.path(), "with.sql", "WITH a AS (SELECT 1) DELETE FROM t");
    write(folder.path(), "two.sql", "/*+++\nparams = [{ name = \"a\" }]\n+++*/\nSELECT ?, '?', ?");
    write(folder.path(), "good.sql", "/*+++\nmode = \"write\"\n+++*/\nTRUNCATE TABLE t");
    let path = folder.path().display().to_string();
    let (told, well) = check(&["--engine", "mysql", &path], &[]);
    assert!(!well && told.ends_with("5 files, 4 wrong\n"), "{told}");
    for expected in [
        "query truncate is not a read: it begins with TRUNCATE",
        "query into is not a read: it has INTO OUTFILE",
        "query with is not a read: it begins with WITH … DELETE",
        "declares 1, and the statement has 2",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // The folder's name tells, and the option is believed.
    let mysql = folder.path().join("mysql");
    std::fs::create_dir(&mysql).unwrap();
    let moved = write(&mysql, "moved.sql", "TRUNCATE TABLE t");
    assert!(!check(&[&moved], &[]).1);
    for (arguments, expected) in
        [(["--engine", "mysql", &truncate], false), (["--engine", "postgres", &moved], true)]
    {
        assert_eq!(check(&arguments, &[]).1, expected, "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_database_it_prints_types_and_refusals() {
    let (server, folder) = common::start(|options| Options { ..options }).await;
    let variables: Vec<(String, String)> = server.variables().into_iter().collect();
    let (told, well) = check(&["--database", "queries"], &variables);
    assert!(well, "{told}");
    for expected in [
        "(min_age integer) -> (customer_id integer, name character varying, email character varying, age integer)",
        "(email text) -> ()",
        "(age_group text, customers bigint, mean_age numeric)",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    let queries = folder.path().join("queries");
    std::fs::create_dir(&queries).unwrap();
    for (name, content) in [
        ("a.sql", "SELECT nothing FROM customers"),
        ("b.sql", "SELECT 1 AS n; SELECT 2 AS n;"),
        ("c.sql", "SELECT $1::int AS n"),
        ("d.sql", "SELECT 1 AS n, 2 AS n"),
        ("e.sql", "SELECT 1 AS n\nFROM missing"),
        ("f.sql", "SELECT ARRAY['a'::name] AS names, now()::date AS day"),
    ] {
        write(&queries, name, content);
    }
    let (told, well) = check(&["--database", &queries.display().to_string()], &variables);
    assert!(!well && told.ends_with("6 files, 5 wrong\n"), "{told}");
    for expected in [
        "column \"nothing\" does not exist (42703) at line 1",
        "query b is not valid",
        "declares 0 parameters, the statement takes 1",
        "two of its columns are named n",
        "relation \"missing\" does not exist (42P01) at line 2",
        "() -> (names name[], day date)",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let (told, well) = check(&["--database", "queries"], &[("PGHOST".into(), String::new())]);
    assert!(!well && told.contains("PGHOST"), "{told}");
    server.stop().await.unwrap();
}

const JOB: &str =
    "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n+++*/\n";

/// Files that people have copied from earlier examples, and what the check says.
#[test]
fn offline_it_finds_purges_that_take_too_much_and_jobs_that_cannot_end() {
    let folder = tempfile::tempdir().unwrap();
    let old = "DELETE FROM orders WHERE ctid = ANY (ARRAY(\n    SELECT ctid FROM orders\n    WHERE received_at < now() - interval '1 year'\n    LIMIT 1000))";
    let by_key = "DELETE FROM orders WHERE order_id IN (\n    SELECT order_id FROM orders WHERE received_at < now() - interval '1 year' LIMIT 1000)";
    let count = "WITH d AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM d";
    for (name, sql, expected) in [
        (
            "old",
            old,
            &["by ctid without tableoid", "WHERE (tableoid, ctid) IN (SELECT o, c FROM due)"][..],
        ),
        (
            "by_key",
            by_key,
            &[
                "its condition on received_at",
                "Repeat the condition on received_at for the rows of orders themselves",
            ],
        ),
        ("count", count, &["would be repeated for ever", "set max_chunks"]),
        (
            "zero",
            "DELETE FROM orders WHERE n IN (SELECT n FROM orders LIMIT 0)",
            &["its LIMIT is 0"],
        ),
        ("vacuum", "VACUUM orders", &["runs in a transaction here, and VACUUM takes none"]),
        ("copy", "-- all\ncopy orders TO STDOUT", &["COPY moves its rows beside the answer"]),
        ("escape", "SELECT 1), x AS (SELECT 2", &["line 6: it has a ) that closes no parenthesis"]),
    ] {
        let file = write(folder.path(), &format!("{name}.sql"), &format!("{JOB}{sql};\n"));
        let (told, well) = check(&[&file], &[]);
        assert!(!well && told.ends_with("1 file, 1 wrong\n"), "{told}");
        for part in expected {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
    let (told, well) = check(&[&folder.path().display().to_string()], &[]);
    assert!(!well && told.ends_with("7 files, 7 wrong\n"), "{told}");
    // Two findings in one file are two lines, and one wrong file.
    let twice = "WITH a AS (DELETE FROM t WHERE ctid = $1), b AS (DELETE FROM u WHERE ctid = $1) SELECT * FROM a";
    let file = write(folder.path(), "twice.sql", &format!("{JOB}{twice}"));
    let (told, _) = check(&[&file], &[]);
    assert!(told.matches("twice.sql: query").count() == 2 && told.ends_with("1 wrong\n"), "{told}");
    // What it cannot parse is not wrong: PostgreSQL may take it.
    let unknown = write(folder.path(), "unknown.sql", &format!("{JOB}DELETE GRADUALLY FROM t"));
    let (told, well) = check(&[&unknown], &[]);
    assert!(well && told.contains("unknown.sql: note: purges are not looked for"), "{told}");
}

/// Triggers and rules that take a write's rows away from it, where they hide: `t` is plain, `p` has them on
/// a partition, `v` is a view of `t`.
const KEEPERS: &str = "
    CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF old.n > 5 THEN UPDATE log SET n = n; RETURN  (NULL); END IF; RETURN old; END';
    CREATE FUNCTION pass() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
    CREATE TABLE log (n int);
    CREATE TABLE t (n int); CREATE TABLE u (n int); CREATE TABLE w (n int);
    CREATE TRIGGER soft BEFORE DELETE ON t FOR EACH ROW EXECUTE FUNCTION keep();
    CREATE TRIGGER after AFTER DELETE ON u FOR EACH ROW EXECUTE FUNCTION keep();
    CREATE TRIGGER passes BEFORE UPDATE ON u FOR EACH ROW EXECUTE FUNCTION pass();
    CREATE TRIGGER same BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
    CREATE TABLE p (n int) PARTITION BY LIST (n);
    CREATE TABLE p1 PARTITION OF p DEFAULT;
    CREATE TRIGGER hidden BEFORE DELETE ON p1 FOR EACH ROW EXECUTE FUNCTION keep();
    CREATE VIEW v AS SELECT * FROM t;
    CREATE RULE gone AS ON DELETE TO w DO INSTEAD UPDATE w SET n = 0 WHERE n = old.n;
    CREATE RULE noted AS ON UPDATE TO w DO ALSO INSERT INTO log VALUES (1);
    CREATE VIEW x AS SELECT * FROM u;
    CREATE RULE through AS ON DELETE TO x DO INSTEAD DELETE FROM u WHERE n = old.n;
    GRANT SELECT, INSERT, UPDATE, DELETE ON t, u, w, p, v, x, log TO iam_ro_user";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_database_it_warns_of_triggers_and_rules_that_hide_rows() {
    let (server, folder) = common::start(|options| options).await;
    let admin = server.database.superuser(rds_local::DATABASE).await.unwrap();
    admin.batch_execute(KEEPERS).await.unwrap();
    let variables: Vec<(String, String)> = server.variables().into_iter().collect();
    for (name, sql, expected) in [
        ("table", "DELETE FROM t WHERE n < 5", &["trigger soft on t may RETURN NULL"][..]),
        ("named", "DELETE FROM ONLY public.\"t\" AS a WHERE n < 5", &["trigger soft on t"]),
        ("partition", "DELETE FROM p WHERE n < 5", &["trigger hidden on p1"]),
        ("view", "DELETE FROM v WHERE n < 5", &["trigger soft on t"]),
        ("update", "UPDATE t SET n = 0 WHERE n < 5", &["trigger same on t"]),
        ("rule", "DELETE FROM w WHERE n < 5", &["rule gone on w does something else INSTEAD"]),
        (
            "with",
            "WITH d AS (DELETE FROM t RETURNING *) INSERT INTO log SELECT * FROM d",
            &["trigger soft on t"],
        ),
        (
            "merge",
            "MERGE INTO t USING u ON t.n = u.n WHEN MATCHED THEN DELETE",
            &["trigger same", "trigger soft"],
        ),
        ("insert", "INSERT INTO t SELECT * FROM u", &[]),
        ("after", "DELETE FROM u WHERE n < 5", &[]),
        ("passes", "UPDATE u SET n = 0 WHERE n < 5", &[]),
        ("also", "UPDATE w SET n = 0 WHERE n < 5", &[]),
        ("through", "DELETE FROM x WHERE n < 5", &[]),
    ] {
        let file = write(folder.path(), &format!("{name}.sql"), &format!("{JOB}{sql}"));
        let (told, well) = check(&["--database", &file], &variables);
        assert!(well, "{told}");
        assert_eq!(told.matches("warning: query").count(), expected.len(), "{name}: {told}");
        for part in expected {
            assert!(told.contains(part), "{name}: {told}");
        }
        let end = match expected.len() {
            0 => "0 wrong\n",
            1 => "0 wrong, 1 warning\n",
            _ => "0 wrong, 2 warnings\n",
        };
        assert!(told.ends_with(end), "{told}");
        // What runs once ends in any case.
        let once = JOB.replace("repeat = \"until-no-rows\"\n", "");
        let file = write(folder.path(), "once.sql", &format!("{once}{sql}"));
        let (told, well) = check(&["--database", &file], &variables);
        assert!(well && told.ends_with("1 file, 0 wrong\n"), "{told}");
    }
    server.stop().await.unwrap();
}

/// Rows that a purge chooses through a view are a second reading of the table behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_database_it_warns_of_purges_through_a_view() {
    let (server, folder) = common::start(|options| options).await;
    let admin = server.database.superuser(rds_local::DATABASE).await.unwrap();
    let tables = "CREATE TABLE o (id int, at timestamptz) PARTITION BY RANGE (at);
        CREATE TABLE o_default PARTITION OF o DEFAULT;
        CREATE TABLE other (id int, at timestamptz);
        CREATE VIEW due AS SELECT * FROM o WHERE at < now() - interval '30 days';
        CREATE VIEW oldest AS SELECT id FROM due WHERE id > 0;
        CREATE VIEW plain AS SELECT * FROM o;
        CREATE VIEW apart AS SELECT * FROM other WHERE at < now();
        GRANT SELECT, UPDATE, DELETE ON o, o_default, other, due, oldest, plain, apart TO iam_ro_user";
    admin.batch_execute(tables).await.unwrap();
    let variables: Vec<(String, String)> = server.variables().into_iter().collect();
    for (name, sql, view) in [
        ("in", "DELETE FROM o WHERE id IN (SELECT id FROM due LIMIT 10)", Some("view due;")),
        ("partition", "DELETE FROM o_default WHERE id IN (SELECT id FROM due)", Some("view due;")),
        ("using", "DELETE FROM o USING public.due AS d WHERE o.id = d.id", Some("view due;")),
        (
            "with",
            "WITH d AS MATERIALIZED (SELECT id FROM due LIMIT 10) UPDATE o SET at = now() WHERE id IN (SELECT id FROM d)",
            Some("view due;"),
        ),
        ("nested", "DELETE FROM o WHERE id IN (SELECT id FROM oldest)", Some("view oldest;")),
        ("locked", "DELETE FROM o WHERE id IN (SELECT id FROM due FOR UPDATE SKIP LOCKED)", None),
        ("plain", "DELETE FROM o WHERE id IN (SELECT id FROM plain)", None),
        ("apart", "DELETE FROM o WHERE id IN (SELECT id FROM apart)", None),
        ("itself", "DELETE FROM due WHERE id < 5", None),
        ("read", "SELECT * FROM due", None),
    ] {
        let front = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/\n";
        let front = if name == "read" { "" } else { front };
        let file = write(folder.path(), &format!("{name}.sql"), &format!("{front}{sql}"));
        let (told, well) = check(&["--database", &file], &variables);
        assert!(well, "{name}: {told}");
        assert_eq!(
            told.matches("warning: query").count(),
            usize::from(view.is_some()),
            "{name}: {told}"
        );
        assert!(view.is_none_or(|view| told.contains(view)), "{name}: {told}");
    }
    server.stop().await.unwrap();
}
