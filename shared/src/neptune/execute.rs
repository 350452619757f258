//! One statement on a connection, and its cancellation if it takes too long.

use std::pin::pin;

use aws_credential_types::Credentials;
use aws_smithy_async::time::SharedTimeSource;
use serde::Deserialize;
use tokio::time::{Duration, Instant, timeout_at};

use super::http::{Connection, Connector, Lost, Response};
use super::neptune_error::{outcome_unknown, timed_out};
use super::parameters::{Values, form};
use super::sign::{Call, Signed};
use super::{Language, Statement};
use crate::config::NeptuneConfig;
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::query::{MAX_RESPONSE_BYTES, Mode};
use crate::work::{LoginSteps, Work};

/// How long a cancellation may take: a connection of its own, and up to two requests.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest list of running queries that is read: each has 1,024 characters of its text.
const LONGEST_STATUS: usize = 4 * 1024 * 1024;

/// The longest answer that is read. openCypher's rows go into the response as they are; SPARQL's JSON
/// spells out each value's type, so that rows which fit may be several times as long.
const fn longest_answer(language: Language) -> usize {
    match language {
        Language::Cypher => MAX_RESPONSE_BYTES + 64 * 1024,
        Language::Sparql => 4 * MAX_RESPONSE_BYTES,
    }
}

/// Why a request on a connection has no answer.
pub(crate) enum Failed {
    /// Nothing was sent, or nothing was changed: it may run again on a new connection.
    Repeat(Error),
    /// It may not run again.
    Final(Error),
}

/// A cluster, as one sandbox reaches it.
pub(crate) struct Cluster {
    pub(crate) config: NeptuneConfig,
    connector: Connector,
    clock: SharedTimeSource,
    /// Marks the sandbox's queries, so that it can cancel them.
    sandbox: String,
}

impl Cluster {
    pub(crate) fn new(config: NeptuneConfig, clock: SharedTimeSource) -> Result<Self, Error> {
        let connector = Connector::new(&config)?;
        let sandbox = format!("rds-iam-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        Ok(Self { config, connector, clock, sandbox })
    }

    /// Opens a connection, before this bound and within the configuration's.
    pub(crate) async fn connect(&self, bound: Instant) -> Result<(Connection, LoginSteps), Error> {
        self.connector.connect(&self.config, bound).await
    }

    fn sign(&self, call: &Call, credentials: &Credentials) -> Result<Signed, Error> {
        call.sign(&self.config, credentials, self.clock.now())
    }

    /// Asks Neptune to stop the sandbox's queries, on a connection of its own.
    async fn cancel(
        &self,
        language: Language,
        credentials: &Credentials,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let (mut connection, _) = self.connect(deadline.cancel_by()).await?;
        let mut ask = async |target: String| {
            let request = self.sign(&Call::get(target), credentials)?;
            connection.send(request, LONGEST_STATUS).await.map_err(|_| broken(&self.config))
        };
        match language {
            // Its id is the sandbox's.
            Language::Sparql => {
                ask(format!("/sparql/status?cancelQuery=true&queryId={}", self.sandbox)).await?;
            }
            Language::Cypher => {
                let list = ask("/openCypher/status".into()).await?;
                let list: Running = serde_json::from_slice(list.body()).unwrap_or_default();
                let own = list.queries.into_iter().filter(|q| q.text.contains(&self.sandbox));
                for query in own.filter(|query| is_id(&query.id)) {
                    ask(format!("/openCypher/status?cancelQuery=true&queryId={}", query.id))
                        .await?;
                }
            }
        }
        Ok(())
    }
}

/// A statement as a request to a cluster.
pub(crate) struct Execution<'a> {
    cluster: &'a Cluster,
    statement: &'a Statement,
    call: Call,
}

impl<'a> Execution<'a> {
    /// The request of a statement with these values.
    ///
    /// # Errors
    /// Those of values that the statement's parameters do not take.
    pub(crate) fn new(
        cluster: &'a Cluster,
        statement: &'a Statement,
        values: &Values,
    ) -> Result<Self, Error> {
        let body = form(statement, values, &cluster.sandbox)?;
        let target = match statement.language {
            Language::Cypher => "/openCypher",
            Language::Sparql => "/sparql",
        };
        let call = Call { method: "POST", target: target.into(), body: body.into() };
        Ok(Self { cluster, statement, call })
    }

    /// Sends the request, signed anew. Cancels the query if it does not answer before the deadline, or within
    /// its own `timeout`.
    pub(crate) async fn send(
        &self,
        connection: &mut Connection,
        credentials: &Credentials,
        work: &mut Work,
    ) -> Result<Response, Failed> {
        let Self { cluster, statement, call } = self;
        let deadline = work.deadline;
        let Some(time) = deadline.statement_timeout() else {
            return Err(Failed::Final(timed_out(statement, "no time was left to run it")));
        };
        let time = statement.query.timeout.map_or(time, |own| own.min(time));
        let start = Instant::now();
        let request = cluster.sign(call, credentials).map_err(Failed::Final)?;
        work.report.sign = Some(start.elapsed());
        let start = Instant::now();
        let mut exchange = pin!(connection.send(request, longest_answer(statement.language)));
        let mut result = timeout_at(start + time, &mut exchange).await;
        if result.is_err() {
            // The answer says whether the cancellation came in time.
            let bound = deadline.cancel_by().min(Instant::now() + CANCEL_TIMEOUT);
            let cancel = cluster.cancel(statement.language, credentials, deadline);
            let (cancel, late) = (timeout_at(bound, cancel), timeout_at(bound, &mut exchange));
            result = futures_util::future::join(cancel, late).await.1;
        }
        work.report.query = Some(start.elapsed());
        let writes = statement.query.mode == Mode::Write;
        match result {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Lost::TooLong)) => Err(Failed::Final(too_long(statement))),
            Ok(Err(Lost::Sent)) | Err(_) if writes => {
                Err(Failed::Final(outcome_unknown(statement)))
            }
            Ok(Err(Lost::Unsent | Lost::Sent)) => Err(Failed::Repeat(broken(&cluster.config))),
            Err(_) => Err(Failed::Final(timed_out(statement, "Neptune did not answer in time"))),
        }
    }
}

/// The running openCypher queries.
#[derive(Default, Deserialize)]
struct Running {
    #[serde(default)]
    queries: Vec<RunningQuery>,
}

#[derive(Deserialize)]
struct RunningQuery {
    #[serde(rename = "queryId")]
    id: String,
    #[serde(rename = "queryString", default)]
    text: String,
}

/// Ids go into a URL as they are.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn broken(config: &NeptuneConfig) -> Error {
    let what = format!("the connection to {} broke", config.target());
    Error::new(ErrorKind::NetworkUnreachable, what)
        .because("it was closed before the answer")
        .remedy("Try again; a cluster that restarts or fails over closes its connections")
}

fn too_long(statement: &Statement) -> Error {
    let what = format!("the rows of query {} do not fit into a response", statement.query.name);
    Error::new(ErrorKind::ResultTooLarge, what)
        .because("Neptune's answer is longer than Lambda's limit of 6 MB")
        .remedy("Select fewer rows or properties, aggregate, or add a LIMIT")
}
