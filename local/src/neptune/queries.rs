//! Queries on the engines, their status and their cancellation.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::cypher;
use super::effects::Effects;
use super::form::Form;
use super::handler::{Answer, Caller};
use super::identity::{self, Rewritten};
use super::refusal::Refusal;
use super::running::{Language, QUERY_TIMEOUT};
use super::shared::Shared;
use super::summary;

const READ: &str = "neptune-db:ReadDataViaQuery";
const WRITE: &str = "neptune-db:WriteDataViaQuery";
const DELETE: &str = "neptune-db:DeleteDataViaQuery";

impl Shared {
    fn allow_query(
        &self,
        caller: &Caller,
        language: Language,
        effects: Effects,
        reads: bool,
    ) -> Result<(), Refusal> {
        for (action, needed) in [(READ, reads), (WRITE, effects.writes), (DELETE, effects.deletes)]
        {
            if needed {
                self.authorize(caller, action, Some(language))?;
            }
        }
        Ok(())
    }

    pub(super) async fn open_cypher(
        self: &Arc<Self>,
        caller: &Caller,
        form: &Form,
    ) -> Result<Answer, Refusal> {
        let query = form.query("query")?.to_owned();
        let parameters = form.parameters()?;
        let effects = Effects::of_cypher(&query);
        let reads = effects == Effects::default();
        self.allow_query(caller, Language::OpenCypher, effects, true)?;
        refuse_explain(form)?;
        let rewritten = Rewritten::of(&query);
        let body = command(&rewritten.statement, &parameters);
        let shared = self.clone();
        let work = async move { shared.engines.cypher(reads, body).await };
        let answer = self.run(Language::OpenCypher, None, &query, work).await?;
        let rows = cypher::rows(&answer)?;
        let ids = self.own_ids(&rows).await?;
        Ok(Answer::json(cypher::answer(&query, &rewritten, &rows, &ids)))
    }

    /// The ids that the user gave to nodes at the ends of relationships: ArcadeDB shows its own.
    async fn own_ids(&self, rows: &[Value]) -> Result<cypher::OwnIds, Refusal> {
        let records = cypher::ends(rows);
        if records.is_empty() {
            return Ok(cypher::OwnIds::new());
        }
        let found = self.ask(identity::OWN_IDS, &json!({ "records": records })).await?;
        let pair = |row: &Value| Some((row["record"].as_str()?.to_owned(), row["id"].clone()));
        Ok(found.iter().filter_map(pair).collect())
    }

    /// The rows of a statement of the gate's own.
    async fn ask(&self, statement: &str, parameters: &Value) -> Result<Vec<Value>, Refusal> {
        let asked = self.engines.cypher(true, command(statement, parameters));
        let answer = timeout(QUERY_TIMEOUT, asked).await.ok().flatten().ok_or_else(|| {
            let (status, code) = (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailureException");
            let message = "The request processing has failed.";
            Refusal::new(status, code, message, "the engine does not answer")
        })?;
        cypher::rows(&answer)
    }

    pub(super) async fn summary(&self, caller: &Caller, form: &Form) -> Result<Answer, Refusal> {
        self.authorize(caller, "neptune-db:GetGraphSummary", None)?;
        let detailed = match form.get("mode") {
            None | Some("basic") => false,
            Some("detailed") => true,
            Some(_) => {
                let message = "The parameter mode is neither basic nor detailed";
                let code = "InvalidParameterException";
                return Err(Refusal::new(StatusCode::BAD_REQUEST, code, message, message));
            }
        };
        let nodes = self.ask(summary::NODES, &json!({})).await?;
        let edges = self.ask(summary::EDGES, &json!({})).await?;
        Ok(Answer::json(summary::summary(&nodes, &edges, detailed, self.clock.now())))
    }

    pub(super) async fn sparql(
        self: &Arc<Self>,
        caller: &Caller,
        form: &Form,
    ) -> Result<Answer, Refusal> {
        let (kind, text) = match (form.get("query"), form.get("update")) {
            (Some(text), None) => ("query", text.to_owned()),
            (None, Some(text)) => ("update", text.to_owned()),
            _ => {
                let message = "Exactly one of the parameters query and update is needed";
                return Err(Refusal::bad_request(message, "neither query nor update, or both"));
            }
        };
        let mut effects = Effects::default();
        if kind == "update" {
            effects = Effects::of_sparql(&text);
            effects.writes |= !effects.deletes;
        }
        self.allow_query(caller, Language::Sparql, effects, kind == "query")?;
        refuse_explain(form)?;
        let accept = form.accept.clone();
        let (shared, statement) = (self.clone(), text.clone());
        let work = async move { shared.engines.sparql(kind, &accept, &statement).await };
        let answer = self.run(Language::Sparql, form.get("queryId"), &text, work).await?;
        match answer.status {
            StatusCode::OK => Ok(Answer { content_type: answer.content_type, body: answer.body }),
            StatusCode::NO_CONTENT => Ok(Answer::json("[]")),
            _ => Err(Refusal::query(
                StatusCode::BAD_REQUEST,
                "MalformedQueryException",
                &String::from_utf8_lossy(&answer.body),
            )),
        }
    }

    /// Runs a statement until it ends, times out or is cancelled: as on Neptune, a client that goes away
    /// does not stop it.
    async fn run(
        self: &Arc<Self>,
        language: Language,
        id: Option<&str>,
        text: &str,
        work: impl Future<Output = Option<super::engines::Answer>> + Send + 'static,
    ) -> Result<super::engines::Answer, Refusal> {
        let failed = |code, message: &str| {
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, code, message, message)
        };
        let (entry, cancelled) = self.running.add(language, id, text).ok_or_else(|| {
            Refusal::bad_request("A query with this queryId is running", "the queryId is in use")
        })?;
        let task = tokio::spawn(async move {
            let result = tokio::select! {
                answer = timeout(QUERY_TIMEOUT, work) => match answer {
                    Ok(answer) => answer.ok_or(("InternalFailureException", "The request processing has failed.")),
                    Err(_) => Err(("TimeLimitExceededException", "The request processing timed out.")),
                },
                _ = cancelled => Err(("CancelledByUserException", "The request processing was cancelled by an authorized client.")),
            };
            drop(entry);
            result
        });
        match task.await {
            Ok(result) => result.map_err(|(code, message)| failed(code, message)),
            Err(_) => Err(failed("InternalFailureException", "The request processing has failed.")),
        }
    }

    pub(super) fn query_status(
        &self,
        caller: &Caller,
        language: Language,
        method: &Method,
        id: Option<&str>,
        form: &Form,
    ) -> Result<Answer, Refusal> {
        let cancels = method == Method::DELETE || form.get("cancelQuery").is_some();
        let action = if cancels { "neptune-db:CancelQuery" } else { "neptune-db:GetQueryStatus" };
        self.authorize(caller, action, Some(language))?;
        let unknown = || {
            let message = "Supplied queryId is invalid";
            Refusal::bad_request(message, "no such query is running")
        };
        if cancels {
            let id = id.ok_or_else(|| {
                let message = "The parameter queryId is missing";
                Refusal::new(StatusCode::BAD_REQUEST, "MissingParameterException", message, message)
            })?;
            let silent = form.get("silent") == Some("true");
            if !self.running.cancel(language, id) && !silent {
                return Err(unknown());
            }
            return Ok(Answer::json(r#"{"status":"200 OK","payload":true}"#));
        }
        let list = self.running.list(language, Instant::now());
        match id {
            None => Ok(Answer::json(
                json!({
                    "acceptedQueryCount": list.len(), "runningQueryCount": list.len(), "queries": list
                })
                .to_string(),
            )),
            Some(id) => list
                .iter()
                .find(|query| query["queryId"] == id)
                .map(|query| Answer::json(query.to_string()))
                .ok_or_else(unknown),
        }
    }
}

/// A statement as ArcadeDB takes it.
fn command(statement: &str, parameters: &Value) -> String {
    json!({ "language": "opencypher", "command": statement, "params": parameters, "limit": -1 })
        .to_string()
}

/// A request that asks for a plan must not run the statement, and the engines' plans are not Neptune's.
fn refuse_explain(form: &Form) -> Result<(), Refusal> {
    if form.get("explain").is_none() {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::BAD_REQUEST,
        "UnsupportedOperationException",
        "rds-local does not explain queries; the query was not run",
        "explain is not supported",
    ))
}
