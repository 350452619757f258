//! One connection for a sandbox, kept across warm invocations, and the queries that run on it.

use std::pin::pin;

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::time::SharedTimeSource;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant, timeout_at};

use super::answer::answer;
use super::config::NeptuneConfig;
use super::http::{Connection, Connector, Lost, Response};
use super::neptune_error::{outcome_unknown, refused, timed_out};
use super::parameters::{Values, form};
use super::sign::Call;
use super::{Language, Statement};
use crate::credentials::{CachingProvider, unavailable};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind};
use crate::query::{Answer, Chooser, MAX_RESPONSE_BYTES, Mode};
use crate::work::Work;

/// How long a cancellation may take: a connection of its own, and up to two requests.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);
/// After this idle time, the load balancers and firewalls on the way may have forgotten a connection.
/// A frozen sandbox does not notice: it then makes a new one, which costs two round trips.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

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

/// A Neptune cluster, ready for queries: it connects when it must.
pub struct NeptuneSession {
    config: NeptuneConfig,
    connector: Connector,
    credentials: CachingProvider<SharedCredentialsProvider>,
    clock: SharedTimeSource,
    idle: Mutex<Option<Idle>>,
    /// Marks this sandbox's queries, so that it can cancel them.
    id: String,
}

struct Idle {
    connection: Connection,
    /// By the wall clock: a frozen sandbox has no other.
    since: std::time::SystemTime,
}

/// How a request on a connection ended.
enum Failed {
    /// Nothing was sent, or nothing was changed: it may run again on a new connection.
    Repeat(Error),
    /// As it is.
    Final(Error),
}

impl NeptuneSession {
    /// A session that has not connected yet, with the credentials that the environment names.
    ///
    /// # Errors
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid) when TLS cannot be set up.
    pub fn new(config: NeptuneConfig) -> Result<Self, Error> {
        let clock = SharedTimeSource::default();
        let credentials = CachingProvider::new(config.credentials(), clock.clone());
        let connector = Connector::new(&config)?;
        let id = format!("rds-iam-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        Ok(Self { config, connector, credentials, clock, idle: Mutex::default(), id })
    }

    /// Reads a statement of the query folder: the one that is named, or else the default one, if the chooser
    /// may choose it.
    ///
    /// # Errors
    /// [`EventInvalid`](ErrorKind::EventInvalid) if there is neither a name nor a default,
    /// [`QueryDenied`](ErrorKind::QueryDenied) if the chooser may not; otherwise as [`Statement::load`].
    pub fn choose(&self, name: Option<&str>, chooser: Chooser) -> Result<Statement, Error> {
        let library = self.config.library();
        let (folder, file) = library.locate(name)?;
        let statement = Statement::load(folder, file)?;
        library.allow(name, &statement.query, chooser)?;
        Ok(statement)
    }

    /// Runs a statement: one round trip on a warm connection. Neptune runs it in a transaction of its
    /// own.
    ///
    /// A read on a connection that turns out dead runs again on a new one, once; a write only if it was
    /// never sent. A refused signature is made once more, with credentials resolved anew.
    ///
    /// # Errors
    /// Those of [`Session::run`](crate::Session::run), less what only SQL has. A write whose answer was
    /// lost is [`QueryOutcomeUnknown`](ErrorKind::QueryOutcomeUnknown).
    ///
    /// # Cancel safety
    /// A dropped future closes its connection, and Neptune runs the query to its end, or to the
    /// cluster's `neptune_query_timeout`.
    pub async fn run(
        &self,
        statement: &Statement,
        values: &Values,
        work: &mut Work,
    ) -> Result<Answer, Error> {
        let body = form(statement, values, &self.id)?;
        let target = match statement.language {
            Language::Cypher => "/openCypher",
            Language::Sparql => "/sparql",
        };
        let call = Call { method: "POST", target: target.into(), body: body.into() };
        let mut renewed = false;
        let mut replaced = false;
        // A call that runs holds the lock: a sandbox has one connection.
        let mut idle = self.idle.lock().await;
        loop {
            let credentials = self.credentials(work).await?;
            let (mut connection, reused) = self.connection(&mut idle, work).await?;
            work.report.reused = reused;
            match self.attempt(&mut connection, &call, &credentials, statement, work).await {
                Ok(response) => {
                    *idle = Some(Idle { connection, since: self.clock.now() });
                    if response.status.is_success() {
                        return answer(statement, &response.body, &mut work.report.violations);
                    }
                    let refused = refused(statement, &self.config.target(), &response);
                    if !refused.credentials || renewed {
                        return Err(refused.error);
                    }
                    renewed = true;
                    self.credentials.invalidate(&credentials).await;
                }
                Err(Failed::Repeat(_)) if reused && !replaced => replaced = true,
                Err(Failed::Repeat(error) | Failed::Final(error)) => return Err(error),
            }
        }
    }

    async fn credentials(&self, work: &mut Work) -> Result<Credentials, Error> {
        let start = Instant::now();
        let loaded = timeout_at(work.deadline.answer_by(), self.credentials.get()).await;
        work.report.resolve = Some(start.elapsed());
        let loaded = loaded.map_err(|_| {
            Error::new(ErrorKind::CredentialsUnavailable, "no AWS credentials in time")
                .because("their source did not answer before the deadline")
                .remedy("With DB_ROLE_ARN, the subnet needs a VPC endpoint of STS")
        })?;
        loaded.map_err(|error| unavailable(&error))
    }

    /// The kept connection, if it can still be alive, or a new one.
    async fn connection(
        &self,
        idle: &mut Option<Idle>,
        work: &mut Work,
    ) -> Result<(Connection, bool), Error> {
        if let Some(Idle { connection, since }) = idle.take() {
            let age = self.clock.now().duration_since(since).unwrap_or(IDLE_LIMIT);
            if age < IDLE_LIMIT && !connection.is_closed() {
                return Ok((connection, true));
            }
        }
        work.report.login_attempts += 1;
        let bound = work.deadline.answer_by();
        let (connection, steps) = self.connector.connect(&self.config, bound).await?;
        work.report.login = Some(steps);
        Ok((connection, false))
    }

    async fn attempt(
        &self,
        connection: &mut Connection,
        call: &Call,
        credentials: &Credentials,
        statement: &Statement,
        work: &mut Work,
    ) -> Result<Response, Failed> {
        let deadline = work.deadline;
        let Some(time) = deadline.statement_timeout() else {
            return Err(Failed::Final(timed_out(statement, "no time was left to run it")));
        };
        let time = statement.query.timeout.map_or(time, |own| own.min(time));
        let start = Instant::now();
        let request =
            call.sign(&self.config, credentials, self.clock.now()).map_err(Failed::Final)?;
        work.report.sign = Some(start.elapsed());
        let start = Instant::now();
        let mut exchange = pin!(connection.send(request, longest_answer(statement.language)));
        let mut result = timeout_at(start + time, &mut exchange).await;
        if result.is_err() {
            // The answer says whether the cancellation came in time.
            let bound = deadline.cancel_by().min(Instant::now() + CANCEL_TIMEOUT);
            let cancel = timeout_at(bound, self.cancel(statement.language, credentials, deadline));
            let (_, late) = futures_util::join!(cancel, timeout_at(bound, &mut exchange));
            result = late;
        }
        work.report.query = Some(start.elapsed());
        let writes = statement.query.mode == Mode::Write;
        let lost = || outcome_unknown(statement);
        match result {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Lost::TooLong)) => Err(Failed::Final(too_long(statement))),
            Ok(Err(Lost::Sent)) if writes => Err(Failed::Final(lost())),
            Ok(Err(Lost::Unsent | Lost::Sent)) => Err(Failed::Repeat(broken(&self.config))),
            Err(_) if writes => Err(Failed::Final(lost())),
            Err(_) => Err(Failed::Final(timed_out(statement, "Neptune did not answer in time"))),
        }
    }

    /// Asks Neptune to stop what this sandbox runs, on a connection of its own.
    async fn cancel(
        &self,
        language: Language,
        credentials: &Credentials,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let (mut connection, _) =
            self.connector.connect(&self.config, deadline.cancel_by()).await?;
        let mut ask = async |target: String| {
            let request = Call::get(target).sign(&self.config, credentials, self.clock.now())?;
            connection.send(request, LONGEST_STATUS).await.map_err(|_| broken(&self.config))
        };
        match language {
            // Its id is this sandbox's.
            Language::Sparql => {
                ask(format!("/sparql/status?cancelQuery=true&queryId={}", self.id)).await?;
            }
            Language::Cypher => {
                let list = ask("/openCypher/status".into()).await?;
                let list: Running = serde_json::from_slice(&list.body).unwrap_or_default();
                let own = list.queries.into_iter().filter(|q| q.text.contains(&self.id));
                for query in own.filter(|query| is_id(&query.id)) {
                    ask(format!("/openCypher/status?cancelQuery=true&queryId={}", query.id))
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// Closes the connection: for when the sandbox ends.
    pub async fn close(&self) {
        if let Ok(mut idle) = self.idle.try_lock() {
            idle.take();
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

impl std::fmt::Debug for NeptuneSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NeptuneSession").field("config", &self.config).finish_non_exhaustive()
    }
}
