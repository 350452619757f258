//! STS over HTTP, for the real SDKs' clients: `AssumeRole`, with a signature or a web identity, and
//! `GetCallerIdentity`, with AWS's XML
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::SharedTimeSource;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::iam::{Iam, Identity, random};
use crate::sigv4::{self, Request, Scope};
use crate::{ACCOUNT, REGION, Result};

const XMLNS: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
/// How far a request's `X-Amz-Date` may be off, as AWS documents it.
const CLOCK_SKEW: i64 = 300;
const SHORTEST_SESSION: u32 = 900;

/// A running STS. Dropping it closes its listener.
#[derive(Debug)]
pub struct Sts {
    /// Where it listens.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

struct Service {
    iam: Arc<Iam>,
    clock: SharedTimeSource,
}

/// An error as AWS words it: HTTP status, code, message.
struct Refusal(StatusCode, &'static str, String);

impl Sts {
    /// Serves a bound listener.
    pub fn start(listener: TcpListener, iam: Arc<Iam>, clock: SharedTimeSource) -> Result<Self> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let service = Arc::new(Service { iam, clock });
        let router = Router::new().fallback(answer).with_state(service);
        let task = tokio::spawn(async move {
            // It only returns when the listener fails; clients then see a refused connection.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, task })
    }
}

impl Drop for Sts {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(service): State<Arc<Service>>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let (status, xml) = match service.handle(&method, &headers, &body) {
        Ok(xml) => (StatusCode::OK, xml),
        Err(Refusal(status, code, message)) => {
            let fault = if status.is_client_error() { "Sender" } else { "Receiver" };
            let xml = format!(
                "<ErrorResponse xmlns=\"{XMLNS}\">\n  <Error>\n    <Type>{fault}</Type>\n    \
                 <Code>{code}</Code>\n    <Message>{}</Message>\n  </Error>\n  \
                 <RequestId>{}</RequestId>\n</ErrorResponse>\n",
                escape(&message),
                request_id()
            );
            (status, xml)
        }
    };
    (status, [(header::CONTENT_TYPE, "text/xml")], xml).into_response()
}

impl Service {
    fn handle(&self, method: &Method, headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
        let form =
            std::str::from_utf8(body)
                .ok()
                .and_then(|text| sigv4::parse_query(text, true))
                .ok_or_else(|| invalid("MalformedQueryString", "The query string is malformed"))?;
        let get = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        if get("Action") == Some("AssumeRoleWithWebIdentity") {
            // The token is the proof: such a request is not signed.
            return self.assume_role_with_web_identity(get);
        }
        let caller = self.authenticate(method, headers, body)?;
        match get("Action") {
            Some("GetCallerIdentity") => Ok(caller_identity(&caller)),
            Some("AssumeRole") => self.assume_role(&caller, get),
            Some(action) => Err(invalid(
                "InvalidAction",
                &format!(
                    "Could not find operation {action} for version 2011-06-15: rds-local's STS has AssumeRole, AssumeRoleWithWebIdentity and GetCallerIdentity"
                ),
            )),
            None => Err(invalid("MissingAction", "The request is missing an Action")),
        }
    }

    fn authenticate(
        &self,
        method: &Method,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Identity, Refusal> {
        let denied = |code, message: &str| Refusal(StatusCode::FORBIDDEN, code, message.to_owned());
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let incomplete =
            || denied("MissingAuthenticationToken", "Request is missing Authentication Token");
        let authorization = header("authorization").ok_or_else(incomplete)?;
        let fields = authorization.strip_prefix("AWS4-HMAC-SHA256").ok_or_else(incomplete)?;
        let field = |name: &str| {
            fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='))
        };
        let (Some(credential), Some(names), Some(signature), Some(date)) =
            (field("Credential"), field("SignedHeaders"), field("Signature"), header("x-amz-date"))
        else {
            return Err(denied("IncompleteSignature", "The Authorization header is incomplete"));
        };
        let scope = Scope::parse(credential)
            .ok_or_else(|| denied("IncompleteSignature", "Credential must have five parts"))?;
        let unknown = || {
            denied("InvalidClientTokenId", "The security token included in the request is invalid.")
        };
        let identity = self.iam.find(scope.access_key_id).ok_or_else(unknown)?;
        if header("x-amz-security-token") != identity.session_token.as_deref() {
            return Err(unknown());
        }
        let now = self.clock.now();
        if identity.has_expired(now) {
            return Err(denied(
                "ExpiredToken",
                "The security token included in the request is expired",
            ));
        }
        let mismatch = |why: &str| denied("SignatureDoesNotMatch", why);
        let skewed = sigv4::parse_amz_date(date)
            .is_none_or(|time| sigv4::seconds_between(time, now).abs() > CLOCK_SKEW);
        if skewed || !date.starts_with(scope.date) {
            return Err(mismatch(&format!("Signature expired or not yet current: {date}")));
        }
        if scope.service != "sts" {
            return Err(mismatch("Credential should be scoped to correct service: 'sts'."));
        }
        let mut signed = Vec::new();
        for name in names.split(';') {
            let value = header(name)
                .ok_or_else(|| mismatch(&format!("the signed header {name} was not sent")))?;
            signed.push((name.to_owned(), value.to_owned()));
        }
        let request = Request { method: method.as_str(), query: &[], headers: &signed, body };
        if !request.is_signed_by(&identity.secret_access_key, &scope, date, signature) {
            return Err(mismatch(
                "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
            ));
        }
        Ok(identity)
    }

    fn assume_role<'a>(
        &self,
        caller: &Identity,
        get: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<String, Refusal> {
        let role = &self.iam.role;
        let arn = required(&get, "RoleArn")?;
        let trusted = arn == role.arn()
            && caller.may_assume.iter().any(|allowed| allowed == arn)
            && get("ExternalId") == Some(role.external_id.as_str());
        let issue = self.session(&get)?;
        if !trusted {
            return Err(Refusal(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                format!(
                    "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                    caller.arn
                ),
            ));
        }
        Ok(issue.answer(&self.iam, "AssumeRole"))
    }

    fn assume_role_with_web_identity<'a>(
        &self,
        get: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<String, Refusal> {
        let arn = required(&get, "RoleArn")?;
        let token = required(&get, "WebIdentityToken")?;
        let issue = self.session(&get)?;
        if token != self.iam.web_identity_token {
            return Err(invalid(
                "InvalidIdentityToken",
                "The web identity token that was passed could not be validated by AWS",
            ));
        }
        if arn != self.iam.role.arn() {
            return Err(Refusal(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "Not authorized to perform sts:AssumeRoleWithWebIdentity".into(),
            ));
        }
        Ok(issue.answer(&self.iam, "AssumeRoleWithWebIdentity"))
    }

    /// A session of the role, as the request names and limits it. It works once it is answered.
    fn session<'a>(&self, get: &impl Fn(&str) -> Option<&'a str>) -> Result<Session, Refusal> {
        let role = &self.iam.role;
        let name = required(get, "RoleSessionName")?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        if !(2..=64).contains(&name.len()) || !name.chars().all(legal) {
            return Err(invalid(
                "ValidationError",
                "1 validation error detected: Value at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\\w+=,.@-]*",
            ));
        }
        let seconds: u32 = match get("DurationSeconds").map(str::parse) {
            None => 3600.min(role.max_session_seconds),
            Some(Ok(seconds)) if seconds >= SHORTEST_SESSION => seconds,
            Some(_) => {
                return Err(invalid(
                    "ValidationError",
                    &format!(
                        "1 validation error detected: Value at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to {SHORTEST_SESSION}"
                    ),
                ));
            }
        };
        if seconds > role.max_session_seconds {
            return Err(invalid(
                "ValidationError",
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ));
        }
        let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/{}/{name}", role.name);
        let expires_at = self.clock.now() + Duration::from_secs(seconds.into());
        let identity = Identity::session(arn, Some(expires_at), role.may_connect.clone());
        Ok(Session { name: name.to_owned(), expires_at, identity })
    }
}

struct Session {
    name: String,
    expires_at: SystemTime,
    identity: Identity,
}

impl Session {
    fn answer(self, iam: &Iam, action: &str) -> String {
        let Self { name, expires_at, identity } = self;
        let xml = format!(
            "<{action}Response xmlns=\"{XMLNS}\">\n  <{action}Result>\n    <AssumedRoleUser>\n      \
             <AssumedRoleId>AROARDSLOCALEXAMPLE0:{name}</AssumedRoleId>\n      <Arn>{}</Arn>\n    \
             </AssumedRoleUser>\n    <Credentials>\n      <AccessKeyId>{}</AccessKeyId>\n      \
             <SecretAccessKey>{}</SecretAccessKey>\n      <SessionToken>{}</SessionToken>\n      \
             <Expiration>{}</Expiration>\n    </Credentials>\n  </{action}Result>\n{}</{action}Response>\n",
            identity.arn,
            identity.access_key_id,
            identity.secret_access_key,
            identity.session_token.as_deref().unwrap_or_default(),
            sigv4::iso8601(expires_at),
            metadata()
        );
        iam.add(identity);
        xml
    }
}

fn required<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    name: &'static str,
) -> Result<&'a str, Refusal> {
    get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
        invalid("ValidationError", &format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must not be null"))
    })
}

fn caller_identity(caller: &Identity) -> String {
    format!(
        "<GetCallerIdentityResponse xmlns=\"{XMLNS}\">\n  <GetCallerIdentityResult>\n    <Arn>{}</Arn>\n    \
         <UserId>AIDARDSLOCALEXAMPLE0</UserId>\n    <Account>{ACCOUNT}</Account>\n  \
         </GetCallerIdentityResult>\n{}</GetCallerIdentityResponse>\n",
        escape(&caller.arn),
        metadata()
    )
}

fn metadata() -> String {
    format!(
        "  <ResponseMetadata>\n    <RequestId>{}</RequestId>\n  </ResponseMetadata>\n",
        request_id()
    )
}

fn request_id() -> String {
    format!("{REGION}-{}", random(16))
}

fn invalid(code: &'static str, message: &str) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, code, message.to_owned())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
