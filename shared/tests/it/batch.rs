//! Batches on one connection: each statement succeeds or fails alone, and a message takes effect once.

use crate::common;

use std::time::Duration;

use common::{Database, prepare};
use rds_iam::Report;
use rds_iam::Work;
use rds_iam::deadline::Deadline;
use rds_iam::query::Answer;
use rds_iam::query::{Delivered, Parameters, Query};
use rds_iam::session::{BatchItem, Outcome};
use rds_iam::{ErrorKind, Session};
use rds_local::gate::Fault;

const COUNT: &str = "SELECT count(*) FROM marks";
const INSERT: &str = "/*+++\nmode = \"write\"\nparams = [{ name = \"id\" }]\n+++*/
    INSERT INTO marks (id) VALUES ($1) RETURNING id";
/// The same, which is sent step by step.
const AFFECTED: &str =
    "/*+++\nmode = \"write\"\nresult = \"affected\"\nparams = [{ name = \"id\" }]\n+++*/
    INSERT INTO marks (id) VALUES ($1)";
const READ: &str = "/*+++\nparams = [{ name = \"id\" }]\n+++*/ SELECT $1::int AS id";

type Prepared = (Query, Parameters, String);

fn message(text: &str, value: &str, message_id: &str) -> Prepared {
    let (query, parameters) = prepare(text, &format!(r#"{{"id":{value}}}"#));
    (query, parameters, message_id.to_owned())
}

async fn run(session: &Session, left: Duration, messages: &[Prepared]) -> (Vec<Outcome>, Report) {
    let items: Vec<BatchItem<'_>> = messages
        .iter()
        .map(|(query, parameters, message_id)| BatchItem {
            query,
            parameters,
            message_id,
            keeps_rows: false,
        })
        .collect();
    let mut work = Work::new(Deadline::after(left));
    let outcomes = session.run_batch(&items, &mut work).await.unwrap();
    (outcomes, work.report)
}

const LONG: Duration = Duration::from_secs(20);

/// Enough for rows of 50 MB beside other work.
const HUGE: Duration = Duration::from_secs(120);

/// `ok`, `duplicate` or an error's type, for each.
fn kinds(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(Delivered::Answered(_)) => "ok",
            Ok(Delivered::Duplicate) => "duplicate",
            Err(error) => error.kind().error_type(),
        })
        .collect()
}

#[tokio::test]
async fn one_failure_is_alone_and_a_message_takes_effect_once() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    for text in [INSERT, AFFECTED] {
        database.admin("DELETE FROM marks; DELETE FROM message_ledger").await;
        let batch = [
            message(text, "1", "a"),
            message(text, "\"x\"", "b"),
            message(READ, "5", ""),
            message(text, "1", "c"),
            message(text, "2", "d"),
            message(text, "3", "a"),
        ];
        let (outcomes, _) = run(&session, LONG, &batch).await;
        let expected = ["ok", "Query.BadParameter", "ok", "Query.Failed", "ok", "duplicate"];
        assert_eq!(kinds(&outcomes), expected, "{outcomes:?}");
        assert!(matches!(outcomes[0], Ok(Delivered::Answered(Answer::Affected(1)))));
        assert_eq!(database.number(COUNT).await, 2);
        // What failed has no entry, and may succeed when it arrives again.
        assert_eq!(database.number("SELECT count(*) FROM message_ledger").await, 2);
        let again = [message(text, "1", "a"), message(text, "9", "c"), message(text, "2", "d")];
        let (outcomes, report) = run(&session, LONG, &again).await;
        assert_eq!(kinds(&outcomes), ["duplicate", "ok", "duplicate"]);
        assert!(report.reused);
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_lost_in_the_middle_changes_nothing() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let mut next = 0;
    for fault in [Fault::ResetBeforeQuery, Fault::ResetBeforeAnswer, Fault::ResetAtCommit] {
        for text in [INSERT, AFFECTED] {
            run(&session, LONG, &[message(READ, "1", "")]).await;
            let batch: Vec<Prepared> = (0..60)
                .map(|_| {
                    next += 1;
                    message(text, &next.to_string(), &next.to_string())
                })
                .collect();
            database.server.gate.set_fault_once(fault);
            let (outcomes, _) = run(&session, LONG, &batch).await;
            assert!(
                kinds(&outcomes).iter().all(|kinds_seen| matches!(*kinds_seen, "ok" | "duplicate")),
                "{fault:?}: {outcomes:?}"
            );
            database.server.gate.set_fault(Fault::None);
            assert_eq!(database.number(COUNT).await, next);
        }
    }
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn statements_without_time_are_errors_and_run_once_when_they_arrive_again() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let slow = "/*+++\nmode = \"write\"\nparams = [{ name = \"id\" }]\n+++*/
        INSERT INTO marks (id) SELECT $1::int FROM pg_sleep(0.2) RETURNING id";
    let batch: Vec<Prepared> =
        (0..60).map(|n| message(slow, &n.to_string(), &n.to_string())).collect();
    let (outcomes, _) = run(&session, Duration::from_secs(3), &batch).await;
    let kinds_seen = kinds(&outcomes);
    let done = kinds_seen.iter().filter(|kinds_seen| **kinds_seen == "ok").count();
    assert!(done > 3 && done < 30, "{done}");
    // What was sent may have been committed; what was not sent has changed nothing.
    let sent = kinds_seen[done..]
        .iter()
        .take_while(|kinds_seen| **kinds_seen == "Query.OutcomeUnknown")
        .count();
    assert!((1..=25).contains(&sent), "{kinds_seen:?}");
    assert!(
        kinds_seen[done + sent..].iter().all(|kinds_seen| *kinds_seen == "Query.Timeout"),
        "{kinds_seen:?}"
    );
    // They arrive again, and take effect once.
    let (outcomes, _) = run(&session, Duration::from_secs(60), &batch).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(database.number(COUNT).await, 60);
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn one_huge_row_fails_its_record_only() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let params = "params = [{ name = \"id\" }]";
    let read = format!("/*+++\n{params}\n+++*/ SELECT repeat('x', $1::int * 1000000) AS t");
    let write = format!(
        "/*+++\nmode = \"write\"\nresult = \"one\"\n{params}\n+++*/
         INSERT INTO marks (id, note) VALUES ($1, repeat('x', 50000000)) RETURNING *"
    );
    let batch = [
        message(INSERT, "1", "a"),
        message(&read, "2", "b"),
        message(&read, "50", "c"),
        message(&read, "3", "d"),
        message(INSERT, "4", "e"),
    ];
    let (outcomes, _) = run(&session, HUGE, &batch).await;
    assert_eq!(kinds(&outcomes), ["ok", "ok", "Result.TooLarge", "ok", "ok"], "{outcomes:?}");
    let (outcomes, _) = run(&session, HUGE, &[message(&write, "5", "f")]).await;
    assert_eq!(kinds(&outcomes), ["Result.TooLarge"], "{outcomes:?}");
    assert_eq!(database.number(COUNT).await, 2);
    assert_eq!(database.number("SELECT count(*) FROM message_ledger").await, 2);
    database.server.stop().await.unwrap();
}

/// The ledger's own values once had the numbers after the file's, and a file that used such a number
/// stored the query's name.
#[tokio::test]
async fn other_parameters_than_declared_are_invalid_on_every_path() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let insert = "INSERT INTO marks (id, note) SELECT $1::int, $2::text";
    for front in [
        "mode = \"write\"",
        "mode = \"write\"\nresult = \"one\"",
        "mode = \"write\"\nresult = \"affected\"",
    ] {
        let returning = if front.contains("affected") { "" } else { "RETURNING id" };
        let too_many = declaring(front, 2, &format!("{insert} WHERE $3::text <> '' {returning}"));
        let too_few = declaring(front, 3, &format!("{insert} {returning}"));
        for wrong in [too_many, too_few] {
            let mut work = Work::new(Deadline::after(LONG));
            let alone = session.run(&wrong.0, &wrong.1, &mut work).await.unwrap_err();
            assert_eq!(alone.kind(), ErrorKind::QueryInvalid, "{front}: {alone}");
            let (outcomes, _) = run(&session, LONG, &[wrong]).await;
            assert_eq!(kinds(&outcomes), ["Query.Invalid"], "{front}: {outcomes:?}");
            assert!(alone.to_string().contains("declare"), "{alone}");
        }
    }
    for (count, sql) in [(1, "SELECT $1::int AS a, $2::int AS b"), (2, "SELECT $1::int AS a")] {
        let (outcomes, _) = run(&session, LONG, &[declaring("", count, sql)]).await;
        assert_eq!(kinds(&outcomes), ["Query.Invalid"], "{outcomes:?}");
    }
    assert_eq!(database.number(COUNT).await, 0);
    assert_eq!(database.number("SELECT count(*) FROM message_ledger").await, 0);
    database.server.stop().await.unwrap();
}

/// A file that declares this many parameters `p1`, `p2` …, with the values 1, 2 ….
fn declaring(front: &str, count: usize, sql: &str) -> Prepared {
    let params: Vec<String> = (1..=count).map(|n| format!("{{ name = \"p{n}\" }}")).collect();
    let text = format!("/*+++\n{front}\nparams = [{}]\n+++*/\n{sql}", params.join(", "));
    let values: Vec<String> = (1..=count).map(|n| format!("\"p{n}\":{n}")).collect();
    let (query, parameters) = prepare(&text, &format!("{{{}}}", values.join(",")));
    (query, parameters, "m".to_owned())
}

#[tokio::test]
async fn a_message_id_of_any_text_goes_into_the_ledger_as_it_is() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let hostile = "'; DROP TABLE marks; -- $1 \\ é\n$$";
    let (outcomes, _) = run(&session, LONG, &[message(INSERT, "1", hostile)]).await;
    assert_eq!(kinds(&outcomes), ["ok"], "{outcomes:?}");
    let admin = database.server.database.superuser(rds_local::DATABASE).await.unwrap();
    let row = admin.query_one("SELECT query, message_id FROM message_ledger", &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("q", hostile));
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn one_statements_timeout_does_not_end_its_neighbours() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let short = "/*+++\nmode = \"write\"\ntimeout = 0.2\nparams = [{ name = \"id\" }]\n+++*/
        INSERT INTO marks (id) SELECT $1::int FROM pg_sleep(5) RETURNING id";
    let slow = "/*+++\nmode = \"write\"\nparams = [{ name = \"id\" }]\n+++*/
        INSERT INTO marks (id) SELECT $1::int FROM pg_sleep(0.6) RETURNING id";
    let batch = [message(slow, "1", "a"), message(short, "2", "b"), message(slow, "3", "c")];
    let (outcomes, _) = run(&session, LONG, &batch).await;
    assert_eq!(kinds(&outcomes), ["ok", "Query.Timeout", "ok"], "{outcomes:?}");
    database.server.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_ledger_nothing_is_written() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    for (change, why) in [
        ("REVOKE ALL ON message_ledger FROM PUBLIC, iam_rw_user", "may not INSERT"),
        ("ALTER TABLE message_ledger RENAME TO another_name", "missing"),
    ] {
        database.admin(change).await;
        for text in [INSERT, AFFECTED] {
            let (outcomes, _) = run(&session, LONG, &[message(text, "1", "a")]).await;
            let error = outcomes[0].as_ref().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryDenied);
            let text = error.to_string();
            assert!(text.contains("sql/ledger.sql") && text.contains(why), "{text}");
        }
    }
    assert_eq!(database.number(COUNT).await, 0);
    database.server.stop().await.unwrap();
}

/// The database's own code can write any field of an error, and a parameter any text.
#[tokio::test]
async fn an_error_that_looks_like_the_ledgers_is_not_taken_for_it() {
    let database = Database::start(|options| options).await;
    database
        .admin(
            "CREATE FUNCTION forge() RETURNS int LANGUAGE plpgsql AS $$BEGIN
             RAISE unique_violation USING CONSTRAINT = 'message_ledger_pkey', TABLE = 'message_ledger';
             END$$",
        )
        .await;
    let session = database.session(&[]);
    let value = r#""\"a message_ledger s3cret\"""#;
    for (result, returning) in [("rows", "RETURNING 1 AS one"), ("affected", "")] {
        let front =
            format!("mode = \"write\"\nresult = \"{result}\"\nparams = [{{ name = \"id\" }}]");
        let write = |value: &str| {
            format!("/*+++\n{front}\n+++*/ INSERT INTO marks (id, note) SELECT {value} {returning}")
        };
        let batch = [
            message(&write("forge(), $1::text"), "1", "a"),
            message(&write("1, $1::text::regclass::text"), value, "b"),
        ];
        let (outcomes, _) = run(&session, LONG, &batch).await;
        assert_eq!(kinds(&outcomes), ["Query.Failed", "Query.Invalid"], "{outcomes:?}");
        assert!(!format!("{outcomes:?}").contains("s3cret"), "{outcomes:?}");
    }
    database.server.stop().await.unwrap();
}

#[test]
fn debug_of_a_job_shows_no_id() {
    let (query, parameters, message_id) = message(INSERT, "1", "id:s3cret");
    let item = BatchItem {
        query: &query,
        parameters: &parameters,
        message_id: &message_id,
        keeps_rows: false,
    };
    assert!(!format!("{item:?}").contains("s3cret"), "{item:?}");
}

#[tokio::test]
async fn an_abandoned_write_is_not_committed_with_the_next() {
    let database = Database::start(|options| options).await;
    let session = database.session(&[]);
    let huge = "/*+++\nmode = \"write\"\nresult = \"metric\"\nparams = [{ name = \"id\" }]\n+++*/
        INSERT INTO marks (id, note) SELECT $1::int + n, repeat('x', 1000) FROM generate_series(1, 9000) n RETURNING *";
    let batch = [message(huge, "100", "a"), message(AFFECTED, "1", "b")];
    let (outcomes, _) = run(&session, LONG, &batch).await;
    assert_eq!(kinds(&outcomes), ["Result.TooLarge", "ok"], "{outcomes:?}");
    assert_eq!(database.number(COUNT).await, 1);
    assert_eq!(database.number("SELECT count(*) FROM message_ledger").await, 1);
    database.server.stop().await.unwrap();
}

/// The entry of the ledger and the file's statement are one: neither sees the other's names.
#[tokio::test]
async fn no_name_of_a_record_is_taken_for_the_entry() {
    let database = Database::start(|options| options).await;
    database
        .admin(
            "CREATE TABLE rds_iam_entry (_ int); CREATE TABLE message_ledger_entry (_ int);
             INSERT INTO rds_iam_entry VALUES (5); INSERT INTO message_ledger_entry VALUES (6);
             GRANT ALL ON rds_iam_entry, message_ledger_entry TO iam_rw_user",
        )
        .await;
    let session = database.session(&[]);
    let insert = |values: &str| {
        let text = format!(
            "/*+++\nmode = \"write\"\nparams = [{{ name = \"id\" }}]\n+++*/
             INSERT INTO marks (id) SELECT {values} + $1 RETURNING NULL::marks AS _, NULL::marks AS rds_iam_rows"
        );
        message(&text, "1", &format!("{values}{}", fastrand::u64(..)))
    };
    let batch =
        [insert("(SELECT _ FROM rds_iam_entry)"), insert("(SELECT _ FROM message_ledger_entry)")];
    let (outcomes, _) = run(&session, LONG, &batch).await;
    assert_eq!(kinds(&outcomes), ["ok", "ok"], "{outcomes:?}");
    let Ok(Delivered::Answered(Answer::Affected(1))) = outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(database.number("SELECT sum(id) FROM marks").await, 13);
    let (outcomes, _) = run(&session, LONG, &batch).await;
    assert_eq!(kinds(&outcomes), ["duplicate", "duplicate"]);
    // A position behind a statement of several lines is the entry's, one inside it the file's.
    let (outcomes, _) = run(&session, LONG, &[insert("nothing"), insert("1, 2")]).await;
    assert!(
        outcomes[0].as_ref().unwrap_err().to_string().contains("42703) at line 5"),
        "{outcomes:?}"
    );
    database.admin("DROP TABLE message_ledger").await;
    let (outcomes, _) = run(&session, LONG, &[insert("3")]).await;
    assert!(
        outcomes[0].as_ref().unwrap_err().to_string().contains("sql/ledger.sql"),
        "{outcomes:?}"
    );
    database.server.stop().await.unwrap();
}
