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
