//! A server in front of the gate, which answers as no local engine does until it forwards.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rds_local::HOST;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// The server's behaviour towards a client.
#[derive(Clone, Debug)]
pub enum Script {
    /// The gate.
    Forward,
    /// These bytes, before the client says anything.
    First(Vec<u8>),
    /// MySQL's greeting, TLS, and these packets in answer to the login; between two of them, the client
    /// answers.
    Login(Vec<Vec<u8>>),
    /// MySQL's greeting and TLS, and no answer to the login.
    Silence,
}

pub struct Front {
    pub address: SocketAddr,
    /// The root of its certificate, which names the gate's host.
    pub root_pem: String,
    script: watch::Sender<Script>,
}

impl Front {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (root_pem, acceptor) = certified(HOST);
        let script = watch::Sender::new(Script::Forward);
        let current = script.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, acceptor) = (current.borrow().clone(), acceptor.clone());
                tokio::spawn(async move {
                    let _ = serve(stream, script, acceptor, to).await;
                });
            }
        });
        Self { address, root_pem, script }
    }

    pub fn plays(&self, script: Script) {
        self.script.send_replace(script);
    }
}

async fn serve(
    mut near: TcpStream,
    script: Script,
    acceptor: TlsAcceptor,
    to: SocketAddr,
) -> std::io::Result<()> {
    match script {
        Script::Forward => {
            let mut far = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut near, &mut far).await?;
        }
        Script::First(bytes) => {
            near.write_all(&bytes).await?;
            near.read_to_end(&mut Vec::new()).await?;
        }
        Script::Login(packets) => {
            let mut tls = greet(near, acceptor).await?;
            for body in packets {
                let sequence = read(&mut tls).await?;
                write(&mut tls, sequence.wrapping_add(1), &body).await?;
            }
            tls.read_to_end(&mut Vec::new()).await?;
        }
        Script::Silence => {
            greet(near, acceptor).await?.read_to_end(&mut Vec::new()).await?;
        }
    }
    Ok(())
}

async fn greet(
    mut near: TcpStream,
    acceptor: TlsAcceptor,
) -> std::io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
    write(&mut near, 0, &greeting()).await?;
    read(&mut near).await?;
    acceptor.accept(near).await
}

/// Protocol 10 with TLS and plugins.
fn greeting() -> Vec<u8> {
    let mut body = b"\x0a8.0.39\0".to_vec();
    body.extend([1, 0, 0, 0]);
    body.extend(b"abcdefgh\0");
    // The lower half of the capabilities, with TLS; the character set and the status; the upper half.
    body.extend([0x08, 0x8a, 45, 2, 0, 0x08, 0]);
    body.push(21);
    body.extend([0; 10]);
    body.extend(b"ijklmnopqrst\0caching_sha2_password\0");
    body
}

/// An error packet without a state, as before a login.
pub fn error(code: u16) -> Vec<u8> {
    [&[0xff], &code.to_le_bytes()[..], b"s3cret words of a server"].concat()
}

/// A request for the proof of a plugin.
pub fn switch(plugin: &str) -> Vec<u8> {
    [&[0xfe], plugin.as_bytes(), b"\0", b"abcdefghijklmnopqrst\0"].concat()
}

/// A packet that a server sends first.
pub fn first(body: &[u8]) -> Script {
    let length = u8::try_from(body.len()).unwrap();
    Script::First([&[length, 0, 0, 0], body].concat())
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]);
    stream.read_exact(&mut vec![0; length as usize]).await?;
    Ok(head[3])
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    sequence: u8,
    body: &[u8],
) -> std::io::Result<()> {
    let length = u8::try_from(body.len()).unwrap();
    stream.write_all(&[&[length, 0, 0, sequence], body].concat()).await?;
    stream.flush().await
}

/// A root as PEM, and a server whose certificate leads to it and names this host.
pub fn certified(host: &str) -> (String, TlsAcceptor) {
    let mut ca = CertificateParams::default();
    // A certificate whose issuer has its own name counts as self-signed to OpenSSL.
    ca.distinguished_name.push(DnType::CommonName, "A root of the front's");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let pem = ca.self_signed(&ca_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![host.to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![leaf.der().clone()], key)
    .unwrap();
    (pem, TlsAcceptor::from(Arc::new(config)))
}
