//! Single requests, for a program that looks at the answers by itself.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use hyper::body::Bytes;
use tokio::time::Instant;

use super::http::{Connection, Connector};
use super::neptune_error::{Denial, code, denial};
use super::sign::Call;
use crate::config::NeptuneConfig;
use crate::error::Error;

/// The longest answer that is read: `/status` has some 1,000 bytes.
const LONGEST: usize = 64 * 1024;

/// A request that changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `GET /status`: `neptune-db:GetEngineStatus`.
    Status,
    /// The query `RETURN 1` in openCypher: `neptune-db:ReadDataViaQuery`.
    Cypher,
    /// The query `ASK {}` in SPARQL: the same action, and another query language.
    Sparql,
}

/// An answer.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answered {
    /// The HTTP status.
    pub status: u16,
    /// Neptune's code for an error; empty if there is none.
    pub code: String,
    /// The reason of an answer of status 403.
    pub denial: Option<Denial>,
    /// The body.
    pub body: Vec<u8>,
}

/// One connection to a cluster, over verified TLS.
pub struct Client {
    config: NeptuneConfig,
    connection: Connection,
}

impl Client {
    /// Connects, before this bound and within the configuration's.
    ///
    /// # Errors
    /// [`NetworkUnreachable`](crate::ErrorKind::NetworkUnreachable),
    /// [`NetworkTimeout`](crate::ErrorKind::NetworkTimeout) or
    /// [`TlsUntrusted`](crate::ErrorKind::TlsUntrusted).
    pub async fn connect(config: &NeptuneConfig, bound: Instant) -> Result<Self, Error> {
        let (connection, _) = Connector::new(config)?.connect(config, bound).await?;
        Ok(Self { config: config.clone(), connection })
    }

    /// Sends a request, signed with these credentials or without a signature. The caller bounds it.
    /// `None` if there is no answer, or if the credentials hold what no signature can hold.
    pub async fn ask(
        &mut self,
        request: Request,
        credentials: Option<&Credentials>,
        now: SystemTime,
    ) -> Option<Answered> {
        let post = |target: &str, body: &'static str| Call {
            method: "POST",
            target: target.into(),
            body: Bytes::from_static(body.as_bytes()),
        };
        let call = match request {
            Request::Status => Call::get("/status".into()),
            Request::Cypher => post("/openCypher", "query=RETURN%201"),
            Request::Sparql => post("/sparql", "query=ASK%20%7B%7D"),
        };
        let request = match credentials {
            Some(credentials) => call.sign(&self.config, credentials, now).ok()?,
            None => call.unsigned(&self.config).ok()?,
        };
        let response = self.connection.send(request, LONGEST).await.ok()?;
        Some(Answered {
            status: response.status.as_u16(),
            code: code(&response),
            denial: denial(&response),
            body: response.body.to_vec(),
        })
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("config", &self.config).finish_non_exhaustive()
    }
}
