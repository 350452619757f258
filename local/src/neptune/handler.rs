//! A request on its way: signature, path, policies, answer.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::json;

use super::claims::Expected;
use super::form::Form;
use super::refusal::Refusal;
use super::running::{Language, QUERY_TIMEOUT};
use super::shared::Shared;
use super::signature::Signature;
use crate::drain::{self, Unread};
use crate::iam::{Circumstances, Identity};
use crate::{REGION, sigv4};

/// The engine's version in the answer to `/status`.
const VERSION: &str = "1.4.6.0.R1";
/// Neptune's limit for a request.
const LONGEST_BODY: usize = 157_286_400;

/// An answer that is no error.
pub(super) struct Answer {
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(body: impl Into<Bytes>) -> Self {
        Self { content_type: "application/json".into(), body: body.into() }
    }
}

/// A signed request, and who signed it.
pub(super) struct Caller {
    identity: Identity,
    peer: SocketAddr,
}

/// Answers one request, and logs it.
pub(super) async fn answer(
    shared: Arc<Shared>,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Response<Full<Bytes>> {
    let (parts, mut body) = request.into_parts();
    let request_id = uuid::Uuid::new_v4().to_string();
    let what = format!("{} {:?}", parts.method, parts.uri.path());
    let result = shared.respond(peer, &parts, &mut body).await;
    if result.is_err() {
        // The refusal may have been clear from the headers.
        drain::discard(&parts.headers, &mut body).await;
    }
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
        body: &mut Incoming,
    ) -> Result<(Answer, String), Refusal> {
        let signature = Signature::find(parts)?;
        let expected = Expected { endpoint: &self.endpoint, region: REGION, now: self.clock.now() };
        let identity = signature.check_claims(parts, &expected, &self.iam)?;
        let body = read(parts, body).await?;
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
        // AWS's sample in Python sends /status/, and graph-notebook //sparql. What was signed is the path
        // as it was sent.
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
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
            (None, ["statistics", "summary"])
                if matches!(first, "propertygraph" | "pg") && method == Method::GET =>
            {
                self.summary(caller, form).await
            }
            (Some(language), []) if method == Method::POST || method == Method::GET => {
                match language {
                    Language::OpenCypher => self.open_cypher(caller, form).await,
                    Language::Sparql => self.sparql(caller, form).await,
                }
            }
            // The SDKs ask for a plan here, with explain among the parameters.
            (Some(Language::OpenCypher), ["explain"])
                if method == Method::POST && form.get("explain").is_some() =>
            {
                self.open_cypher(caller, form).await
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
    pub(super) fn authorize(
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
}

async fn read(parts: &Parts, body: &mut Incoming) -> Result<Bytes, Refusal> {
    drain::read(&parts.headers, body, LONGEST_BODY).await.map_err(|why| match why {
        Unread::TooLong => Refusal::bad_request(
            format!("Request size exceeds max allowed value of {LONGEST_BODY} bytes."),
            "the body is too long",
        ),
        Unread::Broken => Refusal::bad_request("The request body broke off", "the body broke off"),
        Unread::Late => Refusal::bad_request("The request body did not arrive", "the body is late"),
    })
}

/// `Tue Nov 24 17:00:00 UTC 2026`, as `/status` shows the start.
pub(super) fn start_time(now: std::time::SystemTime) -> String {
    use time::macros::format_description;
    const FORMAT: &[time::format_description::BorrowedFormatItem<'_>] = format_description!(
        "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] UTC [year]"
    );
    time::OffsetDateTime::from(now).format(FORMAT).unwrap_or_else(|_| sigv4::iso8601(now))
}
