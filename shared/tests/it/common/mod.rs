//! Sessions against a real PostgreSQL behind the gate.

#[cfg(feature = "mysql")]
pub mod mysql;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use rds_iam::Report;
use rds_iam::Work;
use rds_iam::deadline::Deadline;
use rds_iam::query::Answer;
use rds_iam::query::{Parameters, Query};
use rds_iam::{Config, Error, Session};
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::{Options, READ_WRITE_USER, Server};
use serde_json::value::RawValue;
use tempfile::TempDir;

/// A server, and what a client's environment is.
pub struct Database {
    pub server: Server,
    pub variables: BTreeMap<String, String>,
    _folder: TempDir,
}

impl Database {
    /// For a user that may write, with a table `marks (id int PRIMARY KEY, note text)`.
    pub async fn start(change: impl FnOnce(Options) -> Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { user: READ_WRITE_USER.into(), ..Options::new(folder.path()) };
        let server = Server::start(change(options)).await.unwrap();
        let variables = server.variables();
        let database = Self { server, variables, _folder: folder };
        database
            .admin(
                "CREATE TABLE marks (id int PRIMARY KEY, note text);
                 GRANT SELECT, INSERT, UPDATE, DELETE ON marks TO iam_rw_user",
            )
            .await;
        database
    }

    /// Runs SQL as the superuser.
    pub async fn admin(&self, sql: &str) {
        let admin = self.server.database.superuser(rds_local::DATABASE).await.unwrap();
        admin.batch_execute(sql).await.unwrap();
    }

    /// A number that the superuser reads.
    pub async fn number(&self, sql: &str) -> i64 {
        let admin = self.server.database.superuser(rds_local::DATABASE).await.unwrap();
        admin.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// A sandbox's session, with these variables changed.
    pub fn session(&self, changes: &[(&str, &str)]) -> Session {
        let mut variables = self.variables.clone();
        variables.extend(changes.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let config = Config::from_vars(|name| variables.get(name).map(OsString::from)).unwrap();
        let credentials = Credentials::new(
            &variables["AWS_ACCESS_KEY_ID"],
            &variables["AWS_SECRET_ACCESS_KEY"],
            Some(variables["AWS_SESSION_TOKEN"].clone()),
            None,
            "test",
        );
        let provider = SharedCredentialsProvider::new(credentials);
        Session::with_credentials(config, provider, SharedTimeSource::default()).unwrap()
    }

    /// A session with its own keys: all tokens that one key signs in one second are the same, and a token in
    /// use is not throttled.
    pub fn sandbox(&self, changes: &[(&str, &str)]) -> Session {
        let may_connect = vec![dbuser_arn(rds_local::READ_WRITE_USER)];
        let keys =
            Identity::session("arn:aws:iam::123456789012:user/sandbox".into(), None, may_connect);
        self.server.iam.add(keys.clone());
        let token = keys.session_token.unwrap();
        let mut changes = changes.to_vec();
        changes.extend([
            ("AWS_ACCESS_KEY_ID", keys.access_key_id.as_str()),
            ("AWS_SECRET_ACCESS_KEY", &keys.secret_access_key),
            ("AWS_SESSION_TOKEN", &token),
        ]);
        self.session(&changes)
    }
}

/// A query with its parameters, as a JSON object.
pub fn prepare(text: &str, params: &str) -> (Query, Parameters) {
    let query = Query::parse("q", text).unwrap();
    let params: BTreeMap<String, Box<RawValue>> = serde_json::from_str(params).unwrap();
    let parameters = Parameters::bind(&query, &params).unwrap();
    (query, parameters)
}

/// Runs a query in an invocation with this much time.
pub async fn run_within(
    session: &Session,
    left: Duration,
    text: &str,
    params: &str,
) -> (Result<Answer, Error>, Report) {
    let (query, parameters) = prepare(text, params);
    let mut work = Work::new(Deadline::after(left));
    let answer = session.run(&query, &parameters, &mut work).await;
    (answer, work.report)
}

/// Runs a query in an invocation of twenty seconds.
pub async fn run(session: &Session, text: &str, params: &str) -> Result<Answer, Error> {
    run_within(session, Duration::from_secs(20), text, params).await.0
}

/// The rows of an answer.
pub fn rows(answer: &Answer) -> Vec<&str> {
    match answer {
        Answer::Rows(rows) => rows.iter().collect(),
        other => panic!("rows were asked for, not {other:?}"),
    }
}
