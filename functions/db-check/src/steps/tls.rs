//! TLS, twice: once to see what the server presents, whatever it is, and once as the functions do it, for
//! the verdict. No token is sent in either.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use postgres_native_tls::MakeTlsConnector;
use rds_iam::Config;
use rds_iam::config::SslNegotiation;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};

use super::{Way, bound, certificate};
use crate::evidence::{Presented, Tls, Verdict};
use crate::report::{Status, Step};

const LONGEST: Duration = Duration::from_millis(1500);
/// PostgreSQL's SSLRequest
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// What stopped a handshake before a certificate was seen.
enum Stop {
    Silent,
    Closed,
    NotOffered,
    Other(&'static str),
    Handshake,
}

pub(super) async fn handshake(
    config: &Config,
    address: SocketAddr,
    connector: Option<MakeTlsConnector>,
    now: SystemTime,
    deadline: Instant,
    way: &mut Way,
) {
    let start = Instant::now();
    let until = bound(deadline, LONGEST);
    let direct = config.ssl_negotiation == SslNegotiation::Direct;
    let (seen, judged) = tokio::join!(
        timeout_at(until, observe(config, address, direct)),
        timeout_at(until, judge(config, address, connector, direct)),
    );
    way.tls = match seen.unwrap_or(Err(Stop::Silent)) {
        Ok((version, chain)) => {
            let mut presented = certificate::read(&version, &chain, config, now);
            presented.verdict = judged
                .ok()
                .flatten()
                .map_or(Verdict::Trusted, |why| certificate::verdict(&why, &presented));
            Tls::Presented(presented)
        }
        Err(Stop::Silent) => Tls::Silent,
        Err(Stop::NotOffered) => Tls::NotOffered,
        Err(Stop::Other(what)) => Tls::OtherProtocol(what),
        Err(Stop::Closed | Stop::Handshake) if direct => {
            let usual = timeout(Duration::from_millis(700), observe(config, address, false)).await;
            Tls::Closed { answers_postgres: matches!(usual, Ok(Ok(_))) }
        }
        Err(Stop::Closed) => Tls::Closed { answers_postgres: false },
        Err(Stop::Handshake) => Tls::Failed,
    };
    let (status, found) = said(&way.tls);
    way.steps.push(Step::new("tls", status, start.elapsed(), found));
}

fn said(tls: &Tls) -> (Status, String) {
    let text = match tls {
        Tls::Presented(presented) => return (of_verdict(presented), certificate::said(presented)),
        Tls::Silent => "the connection is accepted, and then nobody answers",
        Tls::Closed { .. } => "the connection is closed before a certificate is shown",
        Tls::NotOffered => "the server does not offer TLS",
        Tls::OtherProtocol(what) => {
            return (Status::Failed, format!("what answers is not PostgreSQL: {what}"));
        }
        Tls::Failed => "the handshake failed before a certificate was shown",
        Tls::Unknown => "not tried",
    };
    (Status::Failed, text.to_owned())
}

fn of_verdict(presented: &Presented) -> Status {
    match presented.verdict {
        Verdict::Trusted if presented.seconds_left < 30 * 86_400 => Status::Warning,
        Verdict::Trusted => Status::Ok,
        _ => Status::Failed,
    }
}

/// Asks for TLS, and tells a server that answers something else.
async fn negotiate(address: SocketAddr, direct: bool) -> Result<TcpStream, Stop> {
    let closed = |_: io::Error| Stop::Closed;
    let mut stream = TcpStream::connect(address).await.map_err(closed)?;
    stream.set_nodelay(true).map_err(closed)?;
    if direct {
        return Ok(stream);
    }
    stream.write_all(&SSL_REQUEST).await.map_err(closed)?;
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).await.map_err(closed)?;
    match answer[0] {
        b'S' => return Ok(stream),
        b'N' => return Err(Stop::NotOffered),
        // An ErrorResponse: a server that is full or starting answers so before TLS.
        b'E' => return Err(Stop::Other("an error before TLS")),
        _ => {}
    }
    let mut more = [0; 6];
    let read = timeout(Duration::from_millis(200), stream.read(&mut more)).await;
    let more = &more[..read.ok().and_then(Result::ok).unwrap_or(0)];
    let all = [&answer, more].concat();
    Err(Stop::Other(match all.as_slice() {
        [b'H', b'T', b'T', b'P', ..] => "an HTTP server",
        // The length, the sequence number 0, and protocol 10.
        [_, _, 0, 0, 10, ..] => "a MySQL or MariaDB server",
        [0x15, 3, ..] => "a TLS server that does not speak PostgreSQL",
        [b'S', b'S', b'H', ..] => "an SSH server",
        _ => "another protocol",
    }))
}

async fn observe(
    config: &Config,
    address: SocketAddr,
    direct: bool,
) -> Result<(String, Vec<Vec<u8>>), Stop> {
    let stream = negotiate(address, direct).await?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| Stop::Handshake)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(SeeOnly(provider)))
        .with_no_client_auth();
    if direct {
        client.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    let name = ServerName::try_from(config.endpoint.host.clone()).map_err(|_| Stop::Handshake)?;
    let stream = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await;
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => Stop::Closed,
        _ => Stop::Handshake,
    })?;
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let chain = connection.peer_certificates().unwrap_or_default();
    let chain: Vec<Vec<u8>> = chain.iter().map(|certificate| certificate.to_vec()).collect();
    if chain.is_empty() { Err(Stop::Handshake) } else { Ok((version.to_owned(), chain)) }
}

/// The functions' own handshake: the reason of a refusal, if it is one of the certificate.
async fn judge(
    config: &Config,
    address: SocketAddr,
    connector: Option<MakeTlsConnector>,
    direct: bool,
) -> Option<String> {
    let stream = negotiate(address, direct).await.ok()?;
    let mut make = connector?;
    let connector = <MakeTlsConnector as MakeTlsConnect<TcpStream>>::make_tls_connect(
        &mut make,
        &config.endpoint.host,
    );
    connector.ok()?.connect(stream).await.err().map(|error| error.to_string())
}

/// Accepts every certificate, because it is only looked at. Nothing is sent over such a connection.
#[derive(Debug)]
struct SeeOnly(Arc<CryptoProvider>);

impl ServerCertVerifier for SeeOnly {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
