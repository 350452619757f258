//! AWS's APIs over HTTP, for the real SDKs' clients: STS with `AssumeRole`, `AssumeRoleWithWebIdentity`,
//! `GetSessionToken` and `GetCallerIdentity`
//! (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>), and what doctor asks IAM and
//! RDS for; with AWS's XML and AWS's words.

mod authenticate;
mod form;
mod instance;
mod rds;
mod refusal;
mod roles;
mod simulation;
mod xml;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

use crate::drain::{self, Unread};
use crate::gate::Log;
use crate::iam::{Circumstances, Iam, Identity, Session};
use crate::{REGION, Result, http};
use authenticate::Received;
use form::Form;
pub use instance::Instance;
use refusal::Refusal;

/// The bounds of `GetSessionToken`'s session, in seconds, and what it lasts by default.
const USER_SESSION: (u32, u32, u32) = (900, 129_600, 43_200);

/// The largest body, in bytes. A web identity token has 20,000 at most, a session policy 2048.
const LARGEST_BODY: usize = 128 * 1024;

/// The running APIs. Dropping them closes their listener.
#[derive(Debug)]
pub struct Apis {
    /// Where they listen.
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

struct Service {
    iam: Arc<Iam>,
    clock: SharedTimeSource,
    log: Log,
    /// The database, where there is one that RDS describes.
    instance: Option<Instance>,
}

impl Apis {
    /// Serves a bound listener; refusals and their reasons go into the log.
    pub fn start(
        listener: TcpListener,
        iam: Arc<Iam>,
        clock: SharedTimeSource,
        log: Log,
        instance: Option<Instance>,
    ) -> Result<Self> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let service = Arc::new(Service { iam, clock, log, instance });
        let task = tokio::spawn(accept(listener, service));
        Ok(Self { address, task })
    }
}

impl Drop for Apis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, service: Arc<Service>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let service = service.clone();
                    connections.spawn(async move {
                        // Small packets leave at once.
                        let _ = stream.set_nodelay(true);
                        // A client that breaks off is its own affair.
                        let _ = http::serve(stream, |request| answer(&service, peer, request)).await;
                    });
                }
                // Out of file descriptors, say: give connections time to end.
                Err(_) => sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn answer(service: &Service, peer: SocketAddr, request: Request<Incoming>) -> Response {
    let (Parts { method, uri, headers, .. }, mut body) = request.into_parts();
    let body = match drain::read(&headers, &mut body, LARGEST_BODY).await {
        Ok(body) => body,
        Err(Unread::TooLong) => {
            let text = "Failed to buffer the request body: length limit exceeded";
            return (StatusCode::PAYLOAD_TOO_LARGE, text).into_response();
        }
        Err(Unread::Broken | Unread::Late) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let query = uri.query().unwrap_or_default();
    let request = Received { method: &method, query, headers: &headers, body: &body };
    let (status, xml) = match service.handle(peer, &request) {
        Ok(xml) => (StatusCode::OK, xml),
        Err(refusal) => {
            let Refusal { status, code, message, reason } = &refusal;
            let why = reason.as_ref().map(|why| format!(" reason={why:?}")).unwrap_or_default();
            service.log.line(&format!("refused {code}: {message:?}{why}"), service.clock.now());
            (*status, xml::error(&refusal))
        }
    };
    // Its own clock, as clients learn from it that theirs is off.
    let date = aws_smithy_types::DateTime::from(service.clock.now());
    let date = date.fmt(aws_smithy_types::date_time::Format::HttpDate).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "text/xml".to_owned()), (header::DATE, date)], xml)
        .into_response()
}

impl Service {
    fn handle(&self, peer: SocketAddr, request: &Received<'_>) -> Result<String, Refusal> {
        let form = Form::parse(request.query, request.body)?;
        let at =
            Circumstances { now: self.clock.now(), region: REGION, source_ip: Some(peer.ip()) };
        let action = form
            .get("Action")
            .ok_or_else(|| Refusal::invalid("MissingAction", "The request is missing an Action"))?;
        if action == "AssumeRoleWithWebIdentity" {
            // The token is the proof: such a request is not signed.
            return self.assume_role_with_web_identity(&form, &at);
        }
        let service = match action {
            "SimulatePrincipalPolicy" | "GetRole" => "iam",
            "DescribeDBInstances" => "rds",
            _ => "sts",
        };
        let caller = authenticate::authenticate(&self.iam, at.now, request, service)?;
        match action {
            "GetCallerIdentity" => Ok(xml::caller_identity(&caller)),
            "AssumeRole" => self.assume_role(&caller, &form, &at),
            "GetSessionToken" => self.session_token(&caller, &form),
            "SimulatePrincipalPolicy" => self.simulate_principal_policy(&caller, &form, &at),
            "GetRole" => self.get_role(&caller, &form, &at),
            "DescribeDBInstances" => self.describe_db_instances(&caller, &form, &at),
            _ => Err(Refusal::invalid(
                "InvalidAction",
                format!(
                    "Could not find operation {action} for version 2011-06-15: rds-local's STS has AssumeRole, AssumeRoleWithWebIdentity, GetSessionToken and GetCallerIdentity"
                ),
            )),
        }
    }

    fn session_token(&self, caller: &Identity, form: &Form) -> Result<String, Refusal> {
        form.allow_only(&["DurationSeconds"])?;
        if caller.session_token.is_some() {
            return Err(Refusal::denied(
                "AccessDenied",
                "Cannot call GetSessionToken with session credentials",
            ));
        }
        let (shortest, longest, default) = USER_SESSION;
        let seconds = form.seconds(shortest, longest)?.unwrap_or(default);
        let now = self.clock.now();
        let session = Session { issued_at: Some(now), ..Session::default() };
        let identity = Identity::fresh_session(
            caller.arn.clone(),
            caller.principal.clone(),
            Some(now + Duration::from_secs(seconds.into())),
            session,
        );
        let xml = xml::session_token(&identity);
        self.iam.add(identity);
        Ok(xml)
    }
}
