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
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, PeerIncompatible, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_rustls::client::TlsStream;

use super::certificate;
use crate::report::{Status, Step};
use crate::times::bound;
use crate::tls::evidence::{Presented, Protocol, Tls, Verdict};

const LONGEST: Duration = Duration::from_millis(2000);
/// Round trips of a handshake, with some to spare.
const HANDSHAKE: u32 = 4;
/// PostgreSQL's SSLRequest
/// (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).
pub(crate) const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The end of a handshake before a certificate was seen.
pub(crate) enum Stop {
    Silent,
    SilentAfterStart,
    Closed,
    NotOffered,
    Error,
    Other(Protocol),
    TooOld,
    Handshake,
}

/// How the handshake ended.
pub(crate) struct Handshake {
    pub(crate) tls: Tls,
    /// How long the answer to the request for TLS took.
    pub(crate) round_trip: Duration,
    pub(crate) step: Step,
}

pub(crate) async fn handshake(
    config: &Config,
    address: SocketAddr,
    connector: Option<MakeTlsConnector>,
    now: SystemTime,
    deadline: Instant,
) -> Handshake {
    let start = Instant::now();
    let until = bound(deadline, LONGEST);
    let direct = config.ssl_negotiation == SslNegotiation::Direct;
    let (seen, judged) = tokio::join!(
        observe(config, address, direct, until),
        judge(config, address, connector, direct, until),
    );
    let mut answered_in = Duration::ZERO;
    let tls = match seen {
        Ok((version, chain, round_trip)) => {
            answered_in = round_trip;
            let mut presented = certificate::read(&version, &chain, config, now);
            presented.verdict =
                judged.map_or(Verdict::Trusted, |why| certificate::verdict(&why, &presented));
            if presented.verdict == Verdict::RootExpired {
                presented.built_in = certificate::built_in(&chain);
            }
            Tls::Presented(presented)
        }
        Err(Stop::Silent) => Tls::Silent,
        Err(Stop::SilentAfterStart) => Tls::SilentAfterStart,
        Err(Stop::NotOffered) => Tls::NotOffered,
        Err(Stop::Error) => Tls::Error,
        Err(Stop::Other(what)) => Tls::OtherProtocol(what),
        Err(Stop::TooOld) => Tls::TooOld,
        Err(Stop::Closed | Stop::Handshake) if direct => {
            let until = Instant::now() + Duration::from_millis(700);
            let usual = observe(config, address, false, until).await;
            Tls::Closed { answers_postgres: usual.is_ok() }
        }
        Err(Stop::Closed) => Tls::Closed { answers_postgres: false },
        Err(Stop::Handshake) => Tls::Failed,
    };
    let (status, found) = said(&tls);
    let step = Step::new("tls", status, start.elapsed(), found);
    Handshake { tls, round_trip: answered_in, step }
}

pub(crate) fn said(tls: &Tls) -> (Status, String) {
    let text = match tls {
        Tls::Presented(presented) => return (of_verdict(presented), certificate::said(presented)),
        Tls::Silent => "the connection is accepted, and then nobody answers",
        Tls::SilentAfterStart => "the server agrees to TLS, and its certificate never comes",
        Tls::Closed { .. } => "the connection is closed before a certificate is shown",
        Tls::NotOffered => "the server does not offer TLS",
        Tls::OtherProtocol(what) => {
            return (Status::Failed, format!("what answers is not PostgreSQL: {what}"));
        }
        Tls::Error => "the server answers the request for TLS with an error",
        Tls::TooOld => "the server offers no TLS from version 1.2 on",
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

/// Asks for TLS, and returns how long the answer took.
async fn negotiate(
    address: SocketAddr,
    direct: bool,
    until: Instant,
) -> Result<(TcpStream, Duration), Stop> {
    let asked = timeout_at(until, ask(address, direct)).await;
    asked.unwrap_or(Err(Stop::Silent))
}

/// Asks for TLS, and tells a server that answers something else.
async fn ask(address: SocketAddr, direct: bool) -> Result<(TcpStream, Duration), Stop> {
    let closed = |_: io::Error| Stop::Closed;
    let mut stream = TcpStream::connect(address).await.map_err(closed)?;
    stream.set_nodelay(true).map_err(closed)?;
    if direct {
        return Ok((stream, Duration::ZERO));
    }
    let start = Instant::now();
    stream.write_all(&SSL_REQUEST).await.map_err(closed)?;
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).await.map_err(closed)?;
    let took = start.elapsed();
    match answer[0] {
        b'N' => return Err(Stop::NotOffered),
        // An ErrorResponse: a server that is full or starting answers so before TLS.
        b'E' => {
            let mut length = [0; 4];
            let read = timeout(Duration::from_millis(200), stream.read_exact(&mut length)).await;
            let fits = matches!(read, Ok(Ok(_))) && u32::from_be_bytes(length) < 30_000;
            return Err(if fits { Stop::Error } else { Stop::Other(Protocol::Unknown) });
        }
        _ => {}
    }
    let mut more = [0; 6];
    if answer[0] == b'S' {
        // A PostgreSQL waits now; SSH's greeting begins with the same letter, and goes on.
        return match stream.try_read(&mut more) {
            Ok(1..) if more.starts_with(b"SH-") => Err(Stop::Other(Protocol::Ssh)),
            Ok(1..) => Err(Stop::Other(Protocol::Unknown)),
            _ => Ok((stream, took)),
        };
    }
    let read = timeout(Duration::from_millis(200), stream.read(&mut more)).await;
    let more = &more[..read.ok().and_then(Result::ok).unwrap_or(0)];
    let all = [&answer, more].concat();
    Err(Stop::Other(match all.as_slice() {
        [b'H', b'T', b'T', b'P', ..] => Protocol::Http,
        // The length, the sequence number 0, and protocol 10.
        [_, _, 0, 0, 10, ..] => Protocol::Mysql,
        [0x15, 3, ..] => Protocol::Tls,
        _ => Protocol::Unknown,
    }))
}

async fn observe(
    config: &Config,
    address: SocketAddr,
    direct: bool,
    until: Instant,
) -> Result<(String, Vec<Vec<u8>>, Duration), Stop> {
    let (stream, round_trip) = negotiate(address, direct, until).await?;
    let silent = if direct { Stop::Silent } else { Stop::SilentAfterStart };
    let alpn = direct.then_some("postgresql");
    let shaken = shake(&config.endpoint.host, stream, alpn, until + round_trip * HANDSHAKE).await;
    let seen = shaken.map_err(|stop| if matches!(stop, Stop::Silent) { silent } else { stop })?;
    Ok((seen.version, seen.chain, round_trip))
}

/// A connection over TLS whose certificate is only looked at: see [`super::verify`].
pub(crate) struct Seen {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) version: String,
    /// As the server sent it, its own certificate first.
    pub(crate) chain: Vec<Vec<u8>>,
}

/// A handshake that accepts every certificate.
pub(crate) async fn shake(
    host: &str,
    stream: TcpStream,
    alpn: Option<&str>,
    until: Instant,
) -> Result<Seen, Stop> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| Stop::Handshake)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(SeeOnly(provider)))
        .with_no_client_auth();
    client.alpn_protocols = alpn.into_iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(host.to_owned()).map_err(|_| Stop::Handshake)?;
    let connecting = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream);
    let connected = timeout_at(until, connecting).await.map_err(|_| Stop::Silent)?;
    let stream = connected.map_err(|error| stop(&error))?;
    let (_, connection) = stream.get_ref();
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLSv1.2",
        _ => "TLSv1.3",
    };
    let chain = connection.peer_certificates().unwrap_or_default();
    let chain: Vec<Vec<u8>> = chain.iter().map(|certificate| certificate.to_vec()).collect();
    if chain.is_empty() {
        return Err(Stop::Handshake);
    }
    Ok(Seen { stream, version: version.to_owned(), chain })
}

/// The kind of a failed handshake.
fn stop(error: &io::Error) -> Stop {
    use rustls::{AlertDescription, Error};
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => return Stop::Closed,
        _ => {}
    }
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(
            Error::AlertReceived(AlertDescription::ProtocolVersion)
            | Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
        ) => Stop::TooOld,
        _ => Stop::Handshake,
    }
}

/// The functions' own handshake: the reason of a refusal, if it is one of the certificate.
async fn judge(
    config: &Config,
    address: SocketAddr,
    connector: Option<MakeTlsConnector>,
    direct: bool,
    until: Instant,
) -> Option<String> {
    let (stream, round_trip) = negotiate(address, direct, until).await.ok()?;
    let mut make = connector?;
    let connector = <MakeTlsConnector as MakeTlsConnect<TcpStream>>::make_tls_connect(
        &mut make,
        &config.endpoint.host,
    );
    let handshake = timeout_at(until + round_trip * HANDSHAKE, connector.ok()?.connect(stream));
    handshake.await.ok()?.err().map(|error| error.to_string())
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
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
