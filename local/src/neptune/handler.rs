//! What the gate does with a request: signature, policy, engine, answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::cypher;
use super::form::Form;
use super::refusal::Refusal;
use super::running::Language;
use super::signature::{Expected, Signature};
use super::{Shared, VERSION};
use crate::iam::{Circumstances, Identity};
use crate::{REGION, sigv4};

/// Neptune's limit for a request.
const LONGEST_BODY: usize = 157_286_400;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Neptune's default `neptune_query_timeout`.
const QUERY_TIMEOUT: Duration = Duration::from_secs(120);

const READ: &str = "neptune-db:ReadDataViaQuery";
const WRITE: &str = "neptune-db:WriteDataViaQuery";
const DELETE: &str = "neptune-db:DeleteDataViaQuery";

/// An answer that is no error.
struct Answer {
    content_type: String,
    body: Bytes,
}

impl Answer {
    fn json(body: impl Into<Bytes>) -> Self {
        Self { content_type: "application/json".into(), body: body.into() }
    }
}

/// A signed request, and who signed it.
struct Caller {
    identity: Identity,
    peer: SocketAddr,
}

/// Answers one request, and logs it.
pub(super) async fn answer(
    shared: Arc<Shared>,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let request_id = uuid::Uuid::new_v4().to_string();
    let what = format!("{} {:?}", parts.method, parts.uri.path());
    let result = shared.respond(peer, &parts, body).await;
    let (status, content_type, body) = match result {
        Ok((answer, principal)) => {
            shared.log(&format!("request accepted {what} principal={principal}"));
            (StatusCode::OK, answer.content_type, answer.body)
        }
        Err(refusal) => {
            let Refusal { status, code, reason, .. } = &refusal;
            let status_text = status.as_u16();
            shared.log(&format!(
                "request refused {what} status={status_text} code={code} reason={reason:?}"
            ));
            (*status, "application/json".to_owned(), refusal.body(&request_id).into())
        }
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::HeaderName::from_static("x-amzn-requestid"), request_id),
    ] {
        if let Ok(value) = value.parse() {
            headers.insert(name, value);
        }
    }
    response
}

impl Shared {
    async fn respond(
        self: &Arc<Self>,
        peer: SocketAddr,
        parts: &Parts,
        body: Incoming,
    ) -> Result<(Answer, String), Refusal> {
        let signature = Signature::find(parts)?;
        let expected = Expected { endpoint: &self.endpoint, region: REGION, now: self.clock.now() };
        let identity = signature.check_claims(parts, &expected, &self.iam)?;
        let body = read(body).await?;
        signature.check(parts, &body, &identity)?;
        let caller = Caller { identity, peer };
        let form = Form::parse(parts, signature.query(), &body)?;
        let answer = self.route(&caller, &parts.method, parts.uri.path(), &form).await?;
        Ok((answer, caller.identity.arn))
    }

    async fn route(
        self: &Arc<Self>,
        caller: &Caller,
        method: &Method,
        path: &str,
        form: &Form,
    ) -> Result<Answer, Refusal> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        // The documentation writes openCypher, and the SDKs send opencypher.
        let first = segments.first().copied().unwrap_or_default();
        let language = match first {
            "openCypher" | "opencypher" => Some(Language::OpenCypher),
            "sparql" => Some(Language::Sparql),
            _ => None,
        };
        match (language, segments.get(1..).unwrap_or_default()) {
            (None, []) if first == "status" && method == Method::GET => self.status(caller),
            (None, []) if first == "gremlin" => Err(Refusal::bad_request(
                "rds-local has no Gremlin engine; it has /openCypher and /sparql",
                "there is no Gremlin engine",
            )),
            (Some(language), []) if method == Method::POST || method == Method::GET => {
                match language {
                    Language::OpenCypher => self.open_cypher(caller, form).await,
                    Language::Sparql => self.sparql(caller, form).await,
                }
            }
            (Some(language), ["status"]) => {
                self.query_status(caller, language, method, form.get("queryId"), form)
            }
            (Some(language), ["status", id]) => {
                self.query_status(caller, language, method, Some(id), form)
            }
            _ => Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "BadRequestException",
                "There is no such operation",
                "no such path or method",
            )),
        }
    }

    /// Asks the policies.
    fn authorize(
        &self,
        caller: &Caller,
        action: &str,
        language: Option<Language>,
    ) -> Result<(), Refusal> {
        let source_ip = Some(caller.peer.ip());
        let at = Circumstances { now: self.clock.now(), region: REGION, source_ip };
        let mut context = caller.identity.context(&at);
        context.set("aws:ResourceAccount", self.account.as_str());
        if let Some(language) = language {
            context.set("neptune-db:QueryLanguage", language.name());
        }
        let resource = &self.resource;
        let refused = |why: String| {
            let message = format!(
                "User: {} is not authorized to perform: {action} on resource: {resource}",
                caller.identity.arn
            );
            let reason = format!("{message} {why}");
            Refusal::denied(message, reason)
        };
        if caller.identity.principal.account != self.account {
            return Err(refused("because it belongs to another account: assume a role".into()));
        }
        caller
            .identity
            .may(action, resource, &self.account, None, &context)
            .map_err(|denial| refused(denial.to_string()))
    }

    fn status(&self, caller: &Caller) -> Result<Answer, Refusal> {
        self.authorize(caller, "neptune-db:GetEngineStatus", None)?;
        let settings = json!({
            "clusterQueryTimeoutInMs": QUERY_TIMEOUT.as_millis().to_string(),
            "SlowQueryLogsThreshold": "5000",
        });
        let status = json!({
            "status": "healthy",
            "startTime": self.started,
            "dbEngineVersion": VERSION,
            "role": "writer",
            "dfeQueryEngine": "viaQueryHint",
            "sparql": { "version": "sparql-1.1" },
            "opencypher": { "version": "Neptune-9.0.20190305-1.0" },
            "labMode": { "ObjectIndex": "disabled", "ReadWriteConflictDetection": "enabled" },
            "features": {
                "SlowQueryLogs": "disabled",
                "ResultCache": { "status": "disabled" },
                "IAMAuthentication": "enabled",
                "Streams": "disabled",
                "AuditLog": "disabled",
            },
            "settings": settings,
        });
        Ok(Answer::json(status.to_string()))
    }

    fn allow_query(
        &self,
        caller: &Caller,
        language: Language,
        effects: cypher::Effects,
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

    async fn open_cypher(
        self: &Arc<Self>,
        caller: &Caller,
        form: &Form,
    ) -> Result<Answer, Refusal> {
        let query = form.query("query")?.to_owned();
        let parameters = form.parameters()?;
        let effects = cypher::cypher_effects(&query);
        let reads = effects == cypher::Effects::default();
        self.allow_query(caller, Language::OpenCypher, effects, true)?;
        let body = json!({
            "language": "opencypher", "command": query, "params": parameters, "limit": -1
        });
        let shared = self.clone();
        let work = async move { shared.engines.cypher(reads, body.to_string()).await };
        let answer = self.run(Language::OpenCypher, None, &query, work).await?;
        cypher::answer(&query, &answer).map(Answer::json)
    }

    async fn sparql(self: &Arc<Self>, caller: &Caller, form: &Form) -> Result<Answer, Refusal> {
        let (kind, text) = match (form.get("query"), form.get("update")) {
            (Some(text), None) => ("query", text.to_owned()),
            (None, Some(text)) => ("update", text.to_owned()),
            _ => {
                let message = "Exactly one of the parameters query and update is needed";
                return Err(Refusal::bad_request(message, "neither query nor update, or both"));
            }
        };
        let mut effects = cypher::Effects::default();
        if kind == "update" {
            effects = cypher::sparql_effects(&text);
            effects.writes |= !effects.deletes;
        }
        self.allow_query(caller, Language::Sparql, effects, kind == "query")?;
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

    fn query_status(
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

    pub(super) fn log(&self, text: &str) {
        self.log.line(text, self.clock.now());
    }
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let body = timeout(BODY_TIMEOUT, Limited::new(body, LONGEST_BODY).collect()).await;
    match body {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(Refusal::bad_request(
            format!("Request size exceeds max allowed value of {LONGEST_BODY} bytes."),
            "the body is too long, or broke off",
        )),
        Err(_) => Err(Refusal::bad_request("The request body did not arrive", "the body is late")),
    }
}

/// `Tue Nov 24 17:00:00 UTC 2026`, as `/status` shows the start.
pub(super) fn start_time(now: std::time::SystemTime) -> String {
    use time::macros::format_description;
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] UTC [year]"
    );
    time::OffsetDateTime::from(now).format(FORMAT).unwrap_or_else(|_| sigv4::iso8601(now))
}
