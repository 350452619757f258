//! The error for each SQLSTATE, as a query file's author reads it: its kind, and its remedy.

use crate::common;

use common::{Database, run};
use rds_iam::ErrorKind;

/// SQL, its SQLSTATE, the kind, and words of the remedy.
type Case = (&'static str, &'static str, ErrorKind, &'static str);

async fn all_are(setup: &str, front: &str, cases: &[Case]) {
    let database = Database::start(|options| options).await;
    database.admin(setup).await;
    let session = database.session(&[]);
    let mut wrong = Vec::new();
    for (sql, code, kind, told) in cases {
        match run(&session, &format!("/*+++\n{front}\n+++*/ {sql}"), "{}").await {
            Err(error)
                if error.kind() == *kind
                    && !error.is_transient()
                    && error.to_string().contains(code)
                    && error.to_string().contains(told) => {}
            other => wrong.push(format!("{sql}: {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_statement_that_is_wrong_has_its_own_remedy() {
    use ErrorKind::QueryInvalid;
    let cases: [Case; 19] = [
        ("SELEC 1", "42601", QueryInvalid, "one statement, with one semicolon at its end or none"),
        ("SELECT 1 AS n; SELECT 2", "42601", QueryInvalid, "one statement"),
        ("SELECT nothing FROM customers", "42703", QueryInvalid, "Check the column's spelling"),
        ("SELECT 1 AS n FROM nowhere", "42P01", QueryInvalid, "search_path"),
        ("SELECT nothing(1)", "42883", QueryInvalid, "types of its arguments"),
        ("SELECT age + name FROM customers", "42883", QueryInvalid, "cast them"),
        ("SELECT age, count(*) FROM customers", "42803", QueryInvalid, "GROUP BY"),
        ("SELECT 1 AS n WHERE count(*) > 1", "42803", QueryInvalid, "HAVING"),
        ("SELECT 1 AS n WHERE rank() OVER () > 1", "42P20", QueryInvalid, "filter outside"),
        (
            "SELECT age FROM customers a, customers b",
            "42702",
            QueryInvalid,
            "in front of the column",
        ),
        ("SELECT 1 AS n FROM customers, customers", "42712", QueryInvalid, "its own alias"),
        (
            "SELECT CASE WHEN true THEN 1 ELSE now() END AS n",
            "42804",
            QueryInvalid,
            "Cast one side",
        ),
        ("SELECT now()::int AS n", "42846", QueryInvalid, "no cast"),
        ("SELECT $1::nothing AS n", "42704", QueryInvalid, "Check its spelling"),
        ("SELECT DISTINCT age FROM customers ORDER BY name", "42P10", QueryInvalid, "select list"),
        ("SELECT remove()", "42809", QueryInvalid, "CALL"),
        (
            "WITH RECURSIVE r AS (SELECT 1 AS n FROM r) SELECT * FROM r",
            "42P19",
            QueryInvalid,
            "UNION ALL",
        ),
        (
            "SELECT name < (email COLLATE \"C\") AND (name COLLATE \"POSIX\") < (email COLLATE \"C\") AS n FROM customers",
            "42P21",
            QueryInvalid,
            "COLLATE",
        ),
        ("SELECT 1 AS n FROM nowhere.t", "42P01", QueryInvalid, "put the schema in front"),
    ];
    let setup = "CREATE PROCEDURE remove() LANGUAGE sql AS 'DELETE FROM customers'";
    all_are(setup, "", &cases).await;
}

#[tokio::test]
async fn a_parameter_of_two_types_must_be_cast() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let text = |min: &str| {
        format!(
            "/*+++\nparams = [{{ name = \"min_age\", required = false }}]\n+++*/
             SELECT count(*) AS n FROM customers WHERE {min} IS NULL OR age >= {min}"
        )
    };
    let error = run(&session, &text("$1"), "{}").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{error}");
    assert!(error.to_string().contains("42P08") && error.to_string().contains("line 4"), "{error}");
    assert!(error.to_string().contains("cast it at each"), "{error}");
    run(&session, &text("$1::int"), "{}").await.unwrap();
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_value_that_does_not_fit_has_its_own_remedy() {
    use ErrorKind::QueryFailed;
    let cases: [Case; 20] = [
        ("SELECT 1 / 0 AS n", "22012", QueryFailed, "nullif"),
        ("SELECT 'x'::text::int AS n FROM customers", "22P02", QueryFailed, "the type can read"),
        ("SELECT 99999999999::int AS n", "22003", QueryFailed, "wider type"),
        ("SELECT 'next week'::text::date AS n", "22007", QueryFailed, "YYYY-MM-DD"),
        ("SELECT '2026-02-30'::text::date AS n", "22008", QueryFailed, "a date that exists"),
        ("SELECT now() AT TIME ZONE 'Mars' AS n", "22023", QueryFailed, "time zone"),
        ("SELECT generate_series(1, 2, 0) AS n", "22023", QueryFailed, "a step of 0"),
        ("SELECT 1 AS n LIMIT (SELECT -1)", "2201W", QueryFailed, "LIMIT of 0 or more"),
        ("SELECT 1 AS n OFFSET (SELECT -1)", "2201X", QueryFailed, "OFFSET of 0 or more"),
        ("SELECT 'x' ~ '(' AS n", "2201B", QueryFailed, "regular expression"),
        ("SELECT 'xy' LIKE 'x\\' AS n", "22025", QueryFailed, "backslash twice"),
        ("SELECT 'x' LIKE 'x' ESCAPE 'ab' AS n", "22025", QueryFailed, "ESCAPE"),
        ("SELECT ln(0) AS n", "2201E", QueryFailed, "above 0"),
        ("SELECT power(0, -1) AS n", "2201F", QueryFailed, "whole exponents"),
        ("SELECT substring('x' FROM 1 FOR -1) AS n", "22011", QueryFailed, "length of 0 or more"),
        ("SELECT ntile(0) OVER () AS n", "22014", QueryFailed, "above 0"),
        ("SELECT (ARRAY[1,2] || ARRAY[[1],[2]])::text AS n", "2202E", QueryFailed, "dimensions"),
        ("SELECT jsonb_object_agg(NULL, 1) AS n", "22023", QueryFailed, "Correct the argument"),
        ("SELECT '{\"a\":\"\\u0000\"}'::text::jsonb AS n", "22P05", QueryFailed, "\\u0000"),
        ("SELECT (SELECT age FROM customers) AS n", "21000", QueryFailed, "LIMIT 1"),
    ];
    all_are("SELECT 1", "", &cases).await;
}

#[tokio::test]
async fn what_the_transaction_or_the_database_does_not_allow_has_its_own_remedy() {
    use ErrorKind::{QueryFailed, QueryInvalid};
    let setup = "CREATE PROCEDURE commits() LANGUAGE plpgsql AS 'BEGIN COMMIT; END';
        CREATE FUNCTION commits(int) RETURNS int LANGUAGE plpgsql AS 'BEGIN ROLLBACK; RETURN 1; END';
        CREATE MATERIALIZED VIEW empty AS SELECT 1 AS n WITH NO DATA;
        CREATE SEQUENCE numbers MINVALUE 0 MAXVALUE 1 START 1; SELECT nextval('numbers');
        CREATE TABLE fixed (id int GENERATED ALWAYS AS IDENTITY, name varchar(3) NOT NULL CHECK (name > 'a'));
        GRANT ALL ON empty, numbers, fixed TO iam_rw_user; GRANT CREATE ON SCHEMA public TO iam_rw_user; GRANT CREATE ON DATABASE sample_db TO iam_rw_user";
    let cases: [Case; 22] = [
        ("VACUUM marks", "25001", QueryInvalid, "psql or pg_cron"),
        ("CREATE INDEX CONCURRENTLY i ON marks (id)", "25001", QueryInvalid, "psql or pg_cron"),
        ("CALL commits()", "2D000", QueryInvalid, "out of the procedure"),
        ("SELECT commits(1)", "2D000", QueryInvalid, "out of the procedure"),
        ("SELECT * FROM empty", "55000", QueryFailed, "REFRESH"),
        ("SELECT lastval()", "55000", QueryFailed, "this file's own nextval"),
        ("SET max_connections = 1", "55P02", QueryInvalid, "start of the server"),
        ("SELECT nextval('numbers')", "2200H", QueryFailed, "ALTER SEQUENCE"),
        ("INSERT INTO fixed (id, name) VALUES (1, 'x')", "428C9", QueryInvalid, "OVERRIDING"),
        ("INSERT INTO fixed (name) VALUES ('long')", "22001", QueryFailed, "left("),
        ("INSERT INTO fixed (name) VALUES (NULL)", "23502", QueryFailed, "DEFAULT"),
        ("INSERT INTO fixed (name) VALUES ('A')", "23514", QueryFailed, "constraint allows"),
        ("INSERT INTO marks VALUES (1), (1)", "23505", QueryFailed, "ON CONFLICT"),
        (
            "INSERT INTO marks VALUES (1) ON CONFLICT (note) DO NOTHING",
            "42P10",
            QueryInvalid,
            "unique index",
        ),
        ("CREATE TABLE marks (n int)", "42P07", QueryInvalid, "IF NOT EXISTS"),
        ("CREATE TABLE t (n int, n int)", "42701", QueryInvalid, "each column once"),
        ("CREATE SCHEMA pg_mine", "42939", QueryInvalid, "pg_"),
        ("CREATE TABLE nowhere.t (n int)", "3F000", QueryInvalid, "Create the schema"),
        ("EXECUTE p", "26000", QueryFailed, "PREPARE lasts for one run"),
        ("FETCH c", "34000", QueryFailed, "cursor lasts for one run"),
        ("SET app.x TO y; COMMIT", "42601", QueryInvalid, "one statement"),
        ("SELECT '2026-01-01 00:00+99'::text::timestamptz AS t", "22009", QueryFailed, "offset"),
    ];
    all_are(setup, "mode = \"write\"\nresult = \"affected\"", &cases).await;
}

/// One error's text, of a read.
async fn told(session: &rds_iam::Session, sql: &str) -> String {
    run(session, sql, "{}").await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_name_that_is_not_found_has_its_nearest_names() {
    let database = Database::start(|options| options).await;
    let setup = "CREATE SCHEMA billing; CREATE TABLE billing.invoices (id int); CREATE TABLE billing.secrets (id int);
        CREATE SCHEMA hidden; CREATE TABLE hidden.ledgers (id int); GRANT SELECT ON hidden.ledgers TO iam_rw_user;
        CREATE FUNCTION billing.sum_up() RETURNS int LANGUAGE sql AS 'SELECT 1';
        GRANT USAGE ON SCHEMA billing TO iam_rw_user; GRANT SELECT ON billing.invoices TO iam_rw_user";
    database.admin(setup).await;
    let session = database.session(&[]);
    for (sql, expected) in [
        ("SELECT * FROM custmers", "the nearest names are customers"),
        ("SELECT *\nFROM \"Customers\"", "the nearest names are customers"),
        ("SELECT * FROM invoices", "there is billing.invoices"),
        ("SELECT * FROM public.invoices", "there is billing.invoices"),
        ("SELECT * FROM invoises", "the nearest names are billing.invoices"),
        ("SELECT * FROM billing.invoises", "the nearest names are billing.invoices"),
        ("SELECT sum_up()", "there is billing.sum_up"),
        ("SELECT uppper('x')", "the nearest names are upper"),
        (
            "SELECT nmae FROM customers",
            "perhaps you meant to reference the column \"customers.name\"",
        ),
        (
            "SELECT customers.name FROM customers AS c",
            "perhaps you meant to reference the table alias \"c\"",
        ),
        ("SELECT c.name FROM customers AS d, customers AS cc", "missing FROM-clause entry"),
    ] {
        let error = told(&session, sql).await;
        assert!(error.contains(expected), "{sql}: {error}");
    }
    // What the user may not see, and what is not near, is not told.
    for sql in [
        "SELECT * FROM secrets",
        "SELECT * FROM ledgers",
        "SELECT * FROM completely_different",
        "SELECT * FROM cu",
        "SELECT upper(1, 2, 3)",
        "SELECT age + name FROM customers",
    ] {
        let error = told(&session, sql).await;
        let names = ["nearest", "there is ", "billing", "hidden"];
        assert!(names.iter().all(|name| !error.contains(name)), "{sql}: {error}");
    }
    let write = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/";
    for (sql, expected) in [
        ("DELETE FROM invoices", "there is billing.invoices"),
        ("INSERT INTO marcs VALUES (1)", "the nearest names are marks"),
        ("CREATE TABLE biling.t (n int)", "the nearest names are billing"),
    ] {
        let error = told(&session, &format!("{write} {sql}")).await;
        assert!(error.contains(expected), "{sql}: {error}");
    }
    // One login served all of them, and serves on.
    run(&session, "SELECT 1 AS n", "{}").await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'iam_rw_user'";
    assert_eq!(database.number(sessions).await, 1);
    let error = told(&session, "SELECT * FROM billing.secrets").await;
    assert!(
        error.contains("permission denied") && error.contains("USAGE on the schema"),
        "{error}"
    );
    database.server.stop().await.unwrap();
}

/// The question takes no longer than the invocation has, and the first error stays.
#[tokio::test]
async fn a_catalogue_that_does_not_answer_hides_no_error() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    // The schema's name is known to the session from now on.
    run(&session, "SELECT * FROM public.customers", "{}").await.unwrap();
    let admin = database.server.database.superuser(rds_local::DATABASE).await.unwrap();
    admin
        .batch_execute("BEGIN; LOCK TABLE pg_catalog.pg_namespace IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let error = told(&session, "SELECT * FROM public.custmers").await;
    admin.batch_execute("ROLLBACK").await.unwrap();
    assert!(error.contains("42P01") && !error.contains("nearest"), "{error}");
    let error = told(&session, "SELECT * FROM public.custmers").await;
    assert!(error.contains("42P01") && error.contains("customers"), "{error}");
    database.server.stop().await.unwrap();
}
