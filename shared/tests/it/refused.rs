//! Statements that no connection can take: refused for good, before any login, and alone.

use crate::common;

use std::time::Duration;

use common::{Database, prepare, run};
use rds_iam::deadline::Deadline;
use rds_iam::postgres::RowForm;
use rds_iam::query::{Parameters, Query};
use rds_iam::session::{BatchItem, JobReport, JobRun, Overlap, Step};
use rds_iam::{Error, ErrorKind, Session, Work};

const FRONTS: [&str; 4] = [
    "result = \"affected\"",
    "mode = \"write\"\nresult = \"affected\"",
    "mode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"",
    "mode = \"write\"",
];
const COPIES: [&str; 5] = [
    "COPY marks TO STDOUT",
    "copy marks FROM stdin",
    "-- all\n/* of /* it */ */ COPY(SELECT 1) TO STDOUT;",
    "; COPY marks TO STDOUT",
    "COPY marks TO PROGRAM 'cat'",
];
/// Texts that close the parenthesis around them, and go on behind it.
const ESCAPES: [&str; 3] = [
    "SELECT 1 AS a) x, (SELECT 2 AS b",
    "SELECT ')' AS a /* ( */\n) x, (SELECT 2 AS b",
    "SELECT 1 AS a), x AS (DELETE FROM marks RETURNING *",
];

fn work() -> Work {
    Work::new(Deadline::after(Duration::from_secs(10)))
}

fn record<'a>((query, parameters): &'a (Query, Parameters), message_id: &'a str) -> BatchItem<'a> {
    BatchItem { query, parameters, message_id, keeps_rows: false }
}

fn is_refused(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{error}");
    let told = error.to_string();
    let why = told.contains("COPY") || told.contains(") that closes no parenthesis");
    assert!(!error.is_transient() && why, "{error}");
}

async fn job(session: &Session, texts: &[&str]) -> Error {
    let steps = texts.iter().map(|text| {
        let (query, parameters) = prepare(text, "{}");
        Step { query, parameters }
    });
    let steps: Vec<Step> = steps.collect();
    let (overlap, lease) = (Overlap::Skip, Duration::from_secs(1));
    let run = JobRun { job: "j", run: "r", steps: &steps, input: "i", overlap, lease };
    session.run_job(&run, &mut work(), &mut JobReport::default()).await.unwrap_err()
}

#[tokio::test]
async fn copies_and_escapes_are_refused_by_every_call_before_a_login() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    for front in FRONTS {
        for refused in COPIES.iter().chain(&ESCAPES) {
            let text = format!("/*+++\n{front}\n+++*/ {refused}");
            is_refused(&run(&session, &text, "{}").await.unwrap_err());
            is_refused(&job(&session, &[&text]).await);
            is_refused(&job(&session, &["SELECT 1 AS n", &text]).await);
            let prepared = prepare(&text, "{}");
            let one = record(&prepared, "m");
            let outcomes = session.run_batch(&[one, one], &mut work()).await.unwrap();
            outcomes.iter().for_each(|outcome| is_refused(outcome.as_ref().unwrap_err()));
        }
    }
    for refused in COPIES.iter().chain(&ESCAPES) {
        let (query, parameters) = prepare(refused, "{}");
        is_refused(&session.read(&query, &parameters, &mut work()).await.unwrap_err());
        for form in [RowForm::Json, RowForm::Members, RowForm::Fields, RowForm::Values] {
            let stream = session.stream(&query, &parameters, form, &mut work()).await;
            is_refused(&stream.unwrap_err());
        }
    }
    assert!(database.server.gate.log().records().is_empty());
    assert_eq!(database.number("SELECT count(*) FROM job_runs").await, 0);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn the_word_copy_and_parentheses_elsewhere_are_not_refused() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    for text in [
        "SELECT 'COPY marks TO STDOUT' AS copy",
        "-- COPY marks TO STDOUT\nSELECT 1 AS n",
        "WITH copy AS (SELECT 1 AS copy) SELECT copy FROM copy",
        "/*+++\nresult = \"affected\"\n+++*/ TABLE marks",
        "SELECT ')' AS a, E'\\')' AS b, $x$ ) $x$ AS \"c)\" -- )\n/* ) /* ) */ ) */ FROM (VALUES (1)) v (n)",
    ] {
        run(&session, text, "{}").await.unwrap();
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn no_other_statement_of_a_batch_fails_with_a_refused_one() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let affected = "/*+++\nmode = \"write\"\nresult = \"affected\"\n+++*/";
    let [insert, copy, rows] = [
        format!("{affected} INSERT INTO marks SELECT count(*) FROM marks"),
        format!("{affected} COPY marks FROM STDIN"),
        "/*+++\nmode = \"write\"\n+++*/ INSERT INTO marks SELECT count(*) FROM marks RETURNING id"
            .into(),
    ]
    .map(|text: String| prepare(&text, "{}"));
    let jobs = [
        record(&insert, "1"),
        record(&copy, "2"),
        record(&insert, "3"),
        record(&rows, "4"),
        record(&copy, "5"),
        record(&rows, "6"),
    ];
    let outcomes = session.run_batch(&jobs, &mut work()).await.unwrap();
    for (index, outcome) in outcomes.iter().enumerate() {
        match (index, outcome) {
            (1 | 4, Err(error)) => is_refused(error),
            (_, outcome) => assert!(outcome.is_ok(), "{index}: {outcome:?}"),
        }
    }
    assert_eq!(database.number("SELECT count(*) FROM marks").await, 4);
    assert_eq!(database.server.gate.log().records().len(), 1);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_step_that_cannot_end_is_refused_before_a_login() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let front = "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\n+++*/";
    for sql in [
        "WITH d AS (DELETE FROM marks RETURNING *) SELECT count(*) FROM d",
        "WITH d AS (DELETE FROM marks RETURNING *) INSERT INTO marks SELECT count(*) FROM d",
        "DELETE FROM marks WHERE id IN (SELECT id FROM marks LIMIT 0)",
    ] {
        let error = job(&session, &["SELECT 1 AS n", &format!("{front} {sql}")]).await;
        assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{error}");
        // Once, it is right.
        run(&session, &format!("{front} {sql}"), "{}").await.unwrap();
    }
    assert_eq!(database.number("SELECT count(*) FROM job_runs").await, 0);
    database.server.stop().await.unwrap();
}
