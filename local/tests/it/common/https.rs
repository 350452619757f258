//! Signed requests to the Neptune gate, as bytes, so that a test can change any of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The wall clock.
pub fn now() -> SystemTime {
    aws_smithy_async::time::SharedTimeSource::default().now()
}

/// A request that can be changed after signing.
#[derive(Clone)]
pub struct Raw {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// What to sign with.
#[derive(Clone)]
pub struct Signer {
    pub variables: BTreeMap<String, String>,
    pub region: String,
    pub service: String,
    pub time: SystemTime,
    /// In the query string, for this long.
    pub presigned: Option<Duration>,
    pub content_hash: bool,
    pub session_token: bool,
}

impl Signer {
    pub fn new(variables: &BTreeMap<String, String>) -> Self {
        Self {
            variables: variables.clone(),
            region: "us-east-1".into(),
            service: "neptune-db".into(),
            time: now(),
            presigned: None,
            content_hash: false,
            session_token: true,
        }
    }

    /// `host:port`, as it is signed.
    pub fn endpoint(&self) -> String {
        format!("{}:{}", self.variables["NEPTUNE_HOST"], self.variables["NEPTUNE_PORT"])
    }

    pub fn sign(&self, method: &str, target: &str, content_type: Option<&str>, body: &str) -> Raw {
        let variable = |name: &str| self.variables[name].clone();
        let token = self.session_token.then(|| variable("AWS_SESSION_TOKEN"));
        let (id, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
        let identity = Credentials::new(id, secret, token, None, "test").into();
        let mut settings = SigningSettings::default();
        if let Some(life) = self.presigned {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(life);
        }
        if self.content_hash {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(self.time)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mut headers = vec![("host".to_owned(), self.endpoint())];
        headers.extend(content_type.map(|value| ("content-type".to_owned(), value.to_owned())));
        let url = format!("https://{}{target}", self.endpoint());
        let pairs = headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let body_to_sign = SignableBody::Bytes(body.as_bytes());
        let request = SignableRequest::new(method, url, pairs, body_to_sign).unwrap();
        let (instructions, _) = sign(request, &params).unwrap().into_parts();
        let (signed, query) = instructions.into_parts();
        headers.extend(signed.iter().map(|h| (h.name().to_owned(), h.value().to_owned())));
        let mut target = target.to_owned();
        for (name, value) in query {
            let join = if target.contains('?') { '&' } else { '?' };
            let value =
                percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC);
            target.push_str(&format!("{join}{name}={value}"));
        }
        Raw { method: method.to_owned(), target, headers, body: body.as_bytes().to_vec() }
    }

    /// Opens TLS on the gate's port, under the cluster's name.
    pub async fn connect(&self) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        let root = CertificateDer::from_pem_file(&self.variables["NEPTUNE_SSLROOTCERT"]).unwrap();
        roots.add(root).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(&self.variables["DB_TUNNEL"]).await.unwrap();
        let name = ServerName::try_from(self.variables["NEPTUNE_HOST"].clone()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends a request; returns status and body.
    pub async fn send(&self, raw: &Raw) -> (u16, String) {
        let mut text = format!("{} {} HTTP/1.1\r\n", raw.method, raw.target);
        for (name, value) in &raw.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !raw.headers.iter().any(|(name, _)| name == "transfer-encoding") {
            text.push_str(&format!("content-length: {}\r\n", raw.body.len()));
        }
        text.push_str("connection: close\r\n\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend(&raw.body);
        self.send_bytes(&bytes).await
    }

    pub async fn send_bytes(&self, bytes: &[u8]) -> (u16, String) {
        let mut stream = self.connect().await;
        // The gate may answer, and close, before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut answer));
        let _ = read.await.unwrap_or_else(|_| {
            panic!(
                "no answer within 30 s: {}",
                String::from_utf8_lossy(&bytes[..bytes.len().min(300)])
            )
        });
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status.unwrap_or(0), body.unwrap_or_default())
    }
}

impl Raw {
    /// Changes the first header of this name.
    pub fn header(&mut self, name: &str, change: impl FnOnce(&str) -> String) {
        let header = self.headers.iter_mut().find(|(other, _)| other == name);
        let (_, value) = header.unwrap_or_else(|| panic!("no header {name}"));
        *value = change(value);
    }
}
