//! One HTTP/1.1 connection over verified TLS.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;

use crate::config::NeptuneConfig;
use crate::error::{Error, ErrorKind};
use crate::work::LoginSteps;

/// How to reach the cluster.
pub(super) struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
}

/// An open connection. Dropping it closes it.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// An answer of any status.
pub(crate) struct Response {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Response {
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_success()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }
}

/// Why there is no answer.
pub(super) enum Lost {
    /// The request was never sent.
    Unsent,
    /// It was sent, or perhaps was.
    Sent,
    /// The answer is longer than a function can return.
    TooLong,
}

impl Connector {
    pub(super) fn new(config: &NeptuneConfig) -> Result<Self, Error> {
        let wrong = |why: &str| {
            Error::new(ErrorKind::ConfigInvalid, "TLS cannot be set up")
                .because(why.to_owned())
                .remedy("Check NEPTUNE_HOST and NEPTUNE_SSLROOTCERT")
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(config.roots.pem().as_bytes()) {
            let certificate = certificate.map_err(|_| wrong("a root is not PEM"))?;
            roots.add(certificate).map_err(|_| wrong("a root is not a certificate"))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| wrong("the TLS versions are not supported"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from(config.host.clone())
            .map_err(|_| wrong("NEPTUNE_HOST is not a host name"))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(tls)), name })
    }

    /// Dials, and shakes hands.
    pub(super) async fn connect(
        &self,
        config: &NeptuneConfig,
        bound: Instant,
    ) -> Result<(Connection, LoginSteps), Error> {
        let target = config.target();
        let bound = bound.min(Instant::now() + config.connect_timeout);
        let late = |what: &str| {
            Error::new(ErrorKind::NetworkTimeout, format!("{target} did not answer in time"))
                .because(format!("{what} took too long"))
                .remedy("Check security groups, subnets and routes between the function and the cluster (TCP port 8182)")
        };
        let start = Instant::now();
        let (host, port) = match &config.tunnel {
            Some((host, port)) => (host.as_str(), *port),
            None => (config.host.as_str(), config.port),
        };
        let dialled = timeout_at(bound, TcpStream::connect((host, port))).await;
        let stream = dialled.map_err(|_| late("the connection"))?.map_err(|error| {
            Error::new(ErrorKind::NetworkUnreachable, format!("{target} cannot be reached"))
                .because(error.kind().to_string())
                .remedy("Check NEPTUNE_HOST, NEPTUNE_PORT, DNS and the cluster's state; Neptune is reachable from its VPC only")
        })?;
        let _ = stream.set_nodelay(true);
        let dial = start.elapsed();
        let shaken = timeout_at(bound, self.tls.connect(self.name.clone(), stream)).await;
        let stream = shaken
            .map_err(|_| late("the TLS handshake"))?
            .map_err(|error| tls_error(&target, &error))?;
        let tls = start.elapsed() - dial;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| {
            Error::new(ErrorKind::NetworkUnreachable, format!("{target} closed the connection"))
        })?;
        let driver = tokio::spawn(async move {
            // Its end shows in the sender.
            let _ = connection.await;
        });
        let steps = LoginSteps { dial, tls, login: Duration::ZERO };
        Ok((Connection { sender, driver }, steps))
    }
}

fn tls_error(target: &str, error: &std::io::Error) -> Error {
    let untrusted = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|inner| matches!(inner, rustls::Error::InvalidCertificate(_)));
    if untrusted {
        return Error::new(ErrorKind::TlsUntrusted, format!("the certificate of {target} is not trusted"))
            .because("it is not from a trusted root, or it names another host")
            .remedy("Set NEPTUNE_HOST to the cluster's own name; NEPTUNE_SSLROOTCERT names other roots than Amazon's");
    }
    Error::new(ErrorKind::NetworkUnreachable, format!("TLS with {target} failed"))
        .because(error.kind().to_string())
        .remedy("Check that NEPTUNE_PORT is the cluster's port")
}

impl Connection {
    /// Whether the other side has closed it, as far as is known.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed() || self.driver.is_finished()
    }

    /// Sends a request, and reads the whole answer, of this many bytes at most.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        longest: usize,
    ) -> Result<Response, Lost> {
        if self.sender.ready().await.is_err() {
            return Err(Lost::Unsent);
        }
        let response =
            self.sender.try_send_request(request).await.map_err(|mut error| {
                match error.take_message() {
                    Some(_) => Lost::Unsent,
                    None => Lost::Sent,
                }
            })?;
        let (parts, body) = response.into_parts();
        match Limited::new(body, longest).collect().await {
            Ok(body) => Ok(Response { status: parts.status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(Lost::TooLong),
            Err(_) => Err(Lost::Sent),
        }
    }
}
