//! Hostile parameters: no value changes the statement.
//! `HOSTILE` sets how many cases.

use crate::common;

use std::time::Duration;

use common::{Database, prepare, rows};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rds_iam::Work;
use rds_iam::deadline::Deadline;
use rds_iam::query::{Parameters, Query};
use rds_iam::{Error, ErrorKind, Session};
use serde_json::value::RawValue;

const INJECTIONS: [&str; 12] = [
    "'; DROP TABLE marks; --",
    "1; DELETE FROM marks",
    "') OR 1=1 --",
    "\\'; TRUNCATE marks; --",
    "$1",
    "$$; DROP TABLE marks; $$",
    "*/ DROP TABLE marks /*",
    "+++*/ DROP TABLE marks",
    "%s%s%n",
    "{{7*7}}",
    "\u{202e}\u{0}\u{feff}",
    "x'); UPDATE marks SET note = 'gone' WHERE ('1'='1",
];
const ECHO: [(&str, &str); 3] = [
    ("", "SELECT $1::text AS v"),
    (", type = \"json\"", "SELECT $1::json AS v"),
    (", type = \"array\"", "SELECT $1::text[] AS v"),
];

/// An event's text for a parameter: JSON, mostly.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        prop::sample::select(&INJECTIONS[..]).prop_map(str::to_owned),
        any::<String>(),
        "[';\"\\\\$/*\\-\u{0}\n a-z]{0,40}",
    ];
    let quoted = text.prop_map(|text| serde_json::to_string(&text).unwrap());
    let scalar = prop_oneof![
        6 => quoted,
        1 => any::<f64>().prop_map(|n| serde_json::to_string(&n).unwrap()),
        1 => any::<i64>().prop_map(|n| n.to_string()),
        1 => prop::sample::select(vec!["true", "false", "null", "1e400", "-0", "\"\\ud800\"", "\"\\u0000\""])
            .prop_map(str::to_owned),
    ];
    let nested = scalar.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|all| {
                let members: Vec<String> = all
                    .into_iter()
                    .map(|(name, value)| {
                        format!("{}:{value}", serde_json::to_string(&name).unwrap())
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    });
    prop_oneof![
        60 => nested,
        1 => (1usize..2000).prop_map(|depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth))),
    ]
}

/// Runs one case; whether it was taken.
async fn attempt(session: &Session, query: &Query, json: &str) -> Result<String, Error> {
    let raw = RawValue::from_string(json.to_owned())
        .map_err(|_| Error::new(ErrorKind::EventInvalid, "not JSON: no event holds it"))?;
    let parameters = Parameters::bind(query, &[("v".to_owned(), raw)].into())?;
    let deadline = Deadline::after(Duration::from_secs(60));
    let answer = session.run(query, &parameters, &mut Work::new(deadline)).await?;
    Ok(rows(&answer)[0].to_owned())
}

#[tokio::test]
async fn parameters_stay_parameters() {
    let cases: usize = std::env::var("HOSTILE").map_or(3000, |text| text.parse().unwrap());
    let database = Database::start(|options| options).await;
    database.admin("INSERT INTO marks VALUES (1, 'kept')").await;
    let session = database.session(&[]);
    // Its user may write, so that an injection would show.
    let queries = ECHO.map(|(declared, sql)| {
        let front =
            format!("mode = \"write\"\nparams = [{{ name = \"v\", required = false{declared} }}]");
        prepare(&format!("/*+++\n{front}\n+++*/ {sql}"), "{}").0
    });
    let mut runner = TestRunner::deterministic();
    let strategy = value();
    let mut cases: Vec<String> =
        (0..cases).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    cases.extend(INJECTIONS.iter().map(|text| serde_json::to_string(text).unwrap()));
    cases.push(serde_json::to_string(&"';--\"".repeat(1024 * 1024 / 5)).unwrap());
    let (mut taken, mut refused) = (0, 0);
    for (number, json) in cases.iter().enumerate() {
        for (query, (declared, _)) in queries.iter().zip(ECHO) {
            match attempt(&session, query, json).await {
                Ok(row) => {
                    taken += 1;
                    // A string comes back as it went in.
                    if let (Ok(text), "") = (serde_json::from_str::<String>(json), declared) {
                        let back: serde_json::Value = serde_json::from_str(&row).unwrap();
                        assert_eq!(back["v"], text, "case {number}");
                    }
                }
                Err(error) => {
                    refused += 1;
                    let known = [ErrorKind::QueryBadParameter, ErrorKind::EventInvalid];
                    assert!(known.contains(&error.kind()), "case {number}, {json}: {error:?}");
                    let told = error.to_string();
                    assert!(
                        error.kind() == ErrorKind::EventInvalid || told.contains("parameter v"),
                        "{told}"
                    );
                    assert!(json.len() < 12 || !told.contains(json.trim_matches('"')), "{told}");
                }
            }
        }
    }
    println!("{} cases in three types: {taken} taken, {refused} refused", cases.len());
    assert!(taken > cases.len() && refused > 0);
    assert_eq!(
        database.number("SELECT count(*) FROM marks WHERE id = 1 AND note = 'kept'").await,
        1
    );
    assert_eq!(database.number("SELECT count(*) FROM marks").await, 1);
    database.server.stop().await.unwrap();
}
