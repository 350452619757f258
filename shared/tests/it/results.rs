//! Every kind of result, through the crate's own API, and the repository's example of each.

use crate::common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use common::{Database, rows, run, run_within};
use rds_iam::deadline::Deadline;
use rds_iam::query::{Answer, SHOWN_VIOLATIONS};
use rds_iam::query::{Parameters, Query, ResultKind};
use rds_iam::{ErrorKind, Session, Work};

const COUNT: &str = "SELECT count(*) FROM marks";

fn write(front: &str, sql: &str) -> String {
    format!("/*+++\nmode = \"write\"\n{front}\n+++*/ {sql}")
}

fn read(front: &str, sql: &str) -> String {
    format!("/*+++\n{front}\n+++*/ {sql}")
}

/// Values for the parameters that an example query requires.
fn example_parameters(query: &Query) -> Parameters {
    let name = &query.name;
    // Each query that records an order records a different one.
    let own = format!("\"{name}\"");
    let value = |param: &str| match param {
        "order_id" => own.as_str(),
        "name" => "\"Dora\"",
        "email" => "\"dora@example.com\"",
        "age" => "41",
        "total" => "9.5",
        "bucket" | "key" => "\"here\"",
        "received_at" | "uploaded_at" => "null",
        _ => panic!("{name}: {param}"),
    };
    let required = query.params.iter().filter(|param| param.required);
    let params = required
        .map(|param| {
            let raw = serde_json::value::RawValue::from_string(value(&param.name).into());
            (param.name.clone(), raw.unwrap())
        })
        .collect();
    Parameters::bind(query, &params).unwrap()
}

#[tokio::test]
async fn each_example_returns_its_documented_result() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../queries");
    let mut seen = Vec::new();
    let mut answers = BTreeMap::new();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // Folders hold the queries of other engines.
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in &names {
        let query = Query::load(&folder, name).unwrap();
        let parameters = example_parameters(&query);
        let deadline = Deadline::after(Duration::from_secs(20));
        let answer = session.run(&query, &parameters, &mut Work::new(deadline)).await;
        answers.insert(name.as_str(), answer.unwrap_or_else(|error| panic!("{name}: {error}")));
        seen.push(query.result);
    }
    for kind in [
        ResultKind::Rows,
        ResultKind::One,
        ResultKind::Affected,
        ResultKind::Check { fail: true, show: 10 },
    ] {
        assert!(seen.contains(&kind), "{kind:?}");
    }
    assert!(seen.iter().any(|kind| matches!(kind, ResultKind::Metric(_))));
    let Answer::One(row) = &answers["oldest_customer"] else { panic!("one row") };
    // add_customer came before it, by the alphabet, and remove_customer after.
    assert_eq!(row.get(), r#"{"customer_id":4,"name":"Dora","age":41}"#);
    assert!(matches!(answers["remove_customer"], Answer::Affected(1)));
    assert!(matches!(answers["customers_without_email"], Answer::Check { violations: 0, .. }));
    let Answer::Metrics(metrics) = &answers["customers_by_age_group"] else { panic!("metrics") };
    let lines: Vec<String> = metrics.lines(SystemTime::UNIX_EPOCH).collect();
    assert_eq!((lines.len(), metrics.len()), (2, 4));
    assert!(
        lines
            .iter()
            .any(|line| line.contains(r#""age_group":"under 30","customers":1,"mean_age":25.0"#)),
        "{lines:?}"
    );
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn one_is_neither_none_nor_several() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let one = |sql: &str| read("result = \"one\"", sql);
    let Answer::One(row) = run(&session, &one("SELECT 1 AS n"), "{}").await.unwrap() else {
        panic!("one row")
    };
    assert_eq!(row.get(), r#"{"n":1}"#);
    for (sql, told) in [
        ("SELECT 1 AS n WHERE false", "it returned none"),
        ("SELECT n FROM generate_series(1, 2) AS n", "it returned more than one"),
        ("SELECT generate_series(1, 1000000000) AS n", "it returned more than one"),
    ] {
        let (answer, report) = run_within(&session, Duration::from_secs(20), &one(sql), "{}").await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResultNotOne);
        assert!(error.to_string().contains(told), "{error}");
        assert!(report.reused, "the connection is used on");
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_check_counts_all_violations_and_shows_the_first() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let violations = "SELECT n FROM generate_series(1, 1000) AS n ORDER BY n DESC";
    let front = "result = \"check\"\ndescription = \"No numbers\"";
    let (answer, report) =
        run_within(&session, Duration::from_secs(20), &read(front, violations), "{}").await;
    let Answer::Check { violations: count, rows } = answer.unwrap() else { panic!("a check") };
    assert_eq!((count, report.violations, rows.len()), (1000, Some(1000), SHOWN_VIOLATIONS));
    assert_eq!(rows.iter().next(), Some(r#"{"n":1000}"#));

    for show in [0, 25] {
        let query = read(&format!("{front}\nshow = {show}"), violations);
        let answer = run(&session, &query, "{}").await.unwrap();
        let Answer::Check { violations: 1000, rows } = answer else { panic!("{answer:?}") };
        assert_eq!(rows.len(), show);
    }

    let fail = read(&format!("{front}\nfail = true"), violations);
    let (answer, report) = run_within(&session, Duration::from_secs(20), &fail, "{}").await;
    let error = answer.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CheckViolations);
    assert!(error.to_string().contains("1000 violations: No numbers"), "{error}");
    assert_eq!(report.violations, Some(1000));

    let none = read(&format!("{front}\nfail = true"), "SELECT 1 AS n WHERE false");
    let answer = run(&session, &none, "{}").await.unwrap();
    assert!(matches!(answer, Answer::Check { violations: 0, .. }));
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_rule_that_fails_rolls_the_write_back() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let insert = "INSERT INTO marks (id, note) SELECT n, 'NaN' FROM generate_series(1, 5) AS n RETURNING id, note";
    let fill = "INSERT INTO marks (id, note) SELECT n, repeat('x', 1000) FROM generate_series(1, 9000) AS n RETURNING id, note";
    for (front, sql, kind) in [
        ("result = \"one\"", insert, ErrorKind::ResultNotOne),
        ("result = \"check\"\nfail = true", insert, ErrorKind::CheckViolations),
        ("result = \"metric\"", insert, ErrorKind::QueryInvalid),
        ("result = \"rows\"", fill, ErrorKind::ResultTooLarge),
    ] {
        let error = run(&session, &write(front, sql), "{}").await.unwrap_err();
        assert_eq!(error.kind(), kind, "{front}: {error}");
        assert_eq!(database.number(COUNT).await, 0, "{front}");
    }
    // And one that holds does not.
    let single = "INSERT INTO marks (id, note) VALUES (1, 'eu') RETURNING id, note";
    for (front, delete) in [
        ("result = \"one\"", true),
        ("result = \"check\"", true),
        ("result = \"metric\"", true),
        ("result = \"affected\"", false),
    ] {
        run(&session, &write(front, single), "{}").await.unwrap();
        assert_eq!(database.number(COUNT).await, 1, "{front}");
        if delete {
            database.admin("DELETE FROM marks").await;
        }
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_query_has_its_own_timeout() {
    for proxy in [false, true] {
        let database = Database::start(|options| rds_local::Options { proxy, ..options }).await;
        let session = database.session(&[]);
        let slow = read("timeout = 0.3", "SELECT pg_sleep(600)::text AS s");
        let left = Duration::from_secs(60);
        let (answer, report) = run_within(&session, left, &slow, "{}").await;
        let error = answer.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryTimeout, "{error}");
        assert!(report.query.unwrap() < left / 3, "its own time-out did not end it");
        assert_eq!(rows(&run(&session, "SELECT 1 AS n", "{}").await.unwrap()), [r#"{"n":1}"#]);
        database.server.stop().await.unwrap();
    }
}

/// As rows, as one and as a check, of a read and of a write.
async fn answers_in_every_form(session: &Session, sql: &str, expected: &str) {
    for mode in ["", "mode = \"write\"\n"] {
        let answer = run(session, &read(mode, sql), "{}").await;
        let answer = answer.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows(&answer), [expected], "{mode} {sql}");
        let one = read(&format!("{mode}result = \"one\""), sql);
        let Answer::One(row) = run(session, &one, "{}").await.unwrap() else { panic!("{sql}") };
        assert_eq!(row.get(), expected, "{mode} {sql}");
        let check = read(&format!("{mode}result = \"check\""), sql);
        let answer = run(session, &check, "{}").await.unwrap();
        let Answer::Check { violations: 1, rows } = answer else { panic!("{sql}: {answer:?}") };
        assert_eq!(rows.iter().next(), Some(expected), "{mode} {sql}");
    }
}

/// Names of ours and of PostgreSQL's old habits, in every place where a statement can have a name.
#[tokio::test]
async fn no_name_of_a_statement_is_taken_for_the_row() {
    let database = Database::start(|options| options).await;
    database
        .admin(
            "CREATE TABLE _ (_ int, n int); INSERT INTO _ VALUES (1, 2);
             CREATE TABLE rds_iam_rows (rds_iam_rows int, n int); INSERT INTO rds_iam_rows VALUES (1, 2);
             GRANT ALL ON _, rds_iam_rows TO iam_rw_user",
        )
        .await;
    let session = database.session(&[]);
    for name in ["_", "rds_iam_rows", "\"Rds_Iam_Rows\""] {
        let key = name.trim_matches('"');
        let table = if name.starts_with('"') { "_" } else { name };
        let one = format!(r#"{{"{key}":1,"n":2}}"#);
        let nothing = format!(r#"{{"{key}":null,"n":2}}"#);
        let both = format!(r#"{{"a":{one},"{key}":1}}"#);
        for (sql, expected) in [
            (
                format!(
                    "SELECT {name}, count(*) + 1 AS n FROM (SELECT 1) t ({name}) GROUP BY {name}"
                ),
                &one,
            ),
            (format!("SELECT NULL::customers AS {name}, 2 AS n"), &nothing),
            (format!("SELECT NULL::json AS {name}, 2 AS n"), &nothing),
            (
                format!("WITH {name} AS (SELECT 1 AS {name}, 2 AS n) SELECT {name}.* FROM {name}"),
                &one,
            ),
            (format!("SELECT {name}.* FROM (SELECT 1 AS {name}, 2 AS n) {name}"), &one),
            (format!("SELECT t AS a, t.{name} FROM (SELECT 1 AS {name}, 2 AS n) t"), &both),
        ] {
            answers_in_every_form(&session, &sql, expected).await;
        }
        // The table of that name is the database's.
        if table == name {
            let sql = format!("UPDATE {name} SET n = 2 RETURNING {name}.{name}, n");
            let answer = run(&session, &write("", &sql), "{}").await.unwrap();
            assert_eq!(rows(&answer), [one.as_str()]);
            let sql = format!("SELECT {name}.* FROM {name}");
            assert_eq!(rows(&run(&session, &sql, "{}").await.unwrap()), [one.as_str()]);
        }
    }
    // A sole column, of every kind.
    for (value, json) in [
        ("1", "1"),
        ("'x'", "\"x\""),
        ("NULL::customers", "null"),
        ("ROW(1, 2)", r#"{"f1":1,"f2":2}"#),
    ] {
        let answer = run(&session, &format!("SELECT {value} AS _"), "{}").await.unwrap();
        assert_eq!(rows(&answer), [format!(r#"{{"_":{json}}}"#)]);
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn an_error_names_the_line_of_the_file_in_every_form() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    for result in ["rows", "one", "check", "metric", "affected"] {
        for mode in ["read", "write"] {
            let text = format!(
                "/*+++\nresult = \"{result}\"\nmode = \"{mode}\"\n+++*/\n-- é\nSELECT 1 AS n,\n  é.nothing"
            );
            let error = run(&session, &text, "{}").await.unwrap_err();
            assert!(error.to_string().contains("42P01) at line 7"), "{result}, {mode}: {error}");
        }
    }
    database.server.stop().await.unwrap();
}
