//! Failures of MySQL and Neptune, each staged, diagnosed and remedied: the right cause comes first, and the
//! login works once the test has done what the remedies say. No two causes of an engine have the same remedies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};

use serde_json::Value;

pub type Variables = BTreeMap<String, String>;

/// Variables, by name, and their changed values.
pub type Changes<'a> = &'a [(&'a str, &'a str)];

/// The gate's clock: this machine's cannot be set.
#[derive(Clone, Debug, Default)]
pub struct Off(Arc<AtomicI64>);

impl Off {
    /// Ahead of this machine's by so many seconds.
    pub fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl TimeSource for Off {
    fn now(&self) -> SystemTime {
        let off = self.0.load(Ordering::Relaxed);
        let by = Duration::from_secs(off.unsigned_abs());
        let here = SharedTimeSource::default().now();
        if off > 0 { here + by } else { here - by }
    }
}

pub struct Staged {
    /// The variables with which a login works.
    pub healthy: Variables,
    /// The causes that were seen, by their remedies.
    remedies: BTreeMap<String, String>,
    causes: BTreeSet<String>,
    outputs: Vec<String>,
}

/// A failure that was diagnosed.
pub struct Failure {
    pub name: String,
    pub variables: Variables,
    /// The cause that the doctor names first.
    pub first: Value,
}

impl Staged {
    pub fn new(mut healthy: Variables) -> Self {
        for (name, value) in [
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            healthy.insert(name.into(), value.into());
        }
        Self { healthy, remedies: BTreeMap::new(), causes: BTreeSet::new(), outputs: Vec::new() }
    }

    pub async fn report(&mut self, variables: &Variables) -> Value {
        let (report, text) = super::doctor(variables).await;
        self.outputs.push(text);
        report
    }

    /// The healthy variables with these changes give this cause first.
    pub async fn fails(&mut self, name: &str, cause: &str, changes: Changes<'_>) -> Failure {
        let failure = self.shows(name, cause, changes, false).await;
        assert_ne!(failure.first["likelihood"], "warning", "{name}: {:#}", failure.first);
        failure
    }

    /// The same where the login works all the same.
    pub async fn warns(&mut self, name: &str, cause: &str, changes: Changes<'_>) -> Failure {
        self.shows(name, cause, changes, true).await
    }

    async fn shows(&mut self, name: &str, cause: &str, changes: Changes<'_>, ok: bool) -> Failure {
        let mut variables = self.healthy.clone();
        variables.extend(changes.iter().map(|(name, value)| ((*name).into(), (*value).into())));
        let report = self.report(&variables).await;
        let first = report["causes"][0].clone();
        assert_eq!(first["cause"], cause, "{name}: {report:#}");
        assert_eq!(report["ok"], ok, "{name}: {report:#}");
        self.remember(name, cause, &first["remedies"]);
        Failure { name: name.to_owned(), variables, first }
    }

    /// The same remedies under another cause would mean that one of the two names is too many.
    fn remember(&mut self, name: &str, cause: &str, remedies: &Value) {
        assert!(remedies.as_array().is_some_and(|all| !all.is_empty()), "{name}: no remedy");
        self.causes.insert(cause.to_owned());
        let remedies = remedies.to_string();
        let other = self.remedies.insert(remedies.clone(), cause.to_owned());
        let other = other.filter(|other| other != cause && is_own(other) && is_own(cause));
        assert!(other.is_none(), "{name}: {other:?} has the same remedies: {remedies}");
    }

    /// Applies what the remedies say of variables, and finds that the login works.
    pub async fn repairs(&mut self, failure: Failure, fill: Changes<'_>) {
        let Failure { name, mut variables, first } = failure;
        for remedy in first["remedies"].as_array().unwrap() {
            let text = |key: &str| filled(remedy[key].as_str().unwrap(), fill);
            match remedy["kind"].as_str().unwrap() {
                "variable" => {
                    assert!(!text("value").contains('<'), "{name}: what is {}?", text("value"));
                    variables.insert(text("name"), text("value"));
                }
                "command" => super::broken_setup::export(&text("command"), &mut variables),
                _ => {}
            }
        }
        let after = self.report(&variables).await;
        assert_eq!(after["ok"], true, "{name}, after {first:#}: {after:#}");
        assert_ne!(after["causes"][0]["cause"], first["cause"], "{name}: {after:#}");
    }

    /// How many causes of the engine's own were seen, each with its own remedies, and how many in all. No
    /// output holds a secret.
    pub fn close(self) -> (usize, usize) {
        for output in &self.outputs {
            assert!(!output.contains("X-Amz-Signature"), "{output}");
            for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
                assert!(!output.contains(self.healthy[name].as_str()), "{name} in {output}");
            }
        }
        println!("{} causes: {:?}", self.causes.len(), self.causes);
        (self.causes.iter().filter(|cause| is_own(cause)).count(), self.causes.len())
    }
}

/// Whether only one engine has the cause. Those of every engine are told once, in the stages before.
fn is_own(cause: &str) -> bool {
    ["mysql-", "neptune-"].iter().any(|engine| cause.starts_with(engine))
}

/// The statements of a failure's remedies.
pub fn sql(failure: &Failure) -> String {
    let remedies = failure.first["remedies"].as_array().unwrap().iter();
    let sql: Vec<&str> = remedies.filter_map(|remedy| remedy["sql"].as_str()).collect();
    assert!(!sql.is_empty(), "{}: no SQL in {:#}", failure.name, failure.first);
    sql.join("\n")
}

/// Fills a remedy's `<…>` with the values that the test knows, by a part of their text.
fn filled(text: &str, fill: Changes<'_>) -> String {
    super::broken_setup::filled(text, fill)
}
