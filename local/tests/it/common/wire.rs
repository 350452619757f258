//! PostgreSQL's protocol by hand, for what no driver sends, or each driver sends in its own way.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rds_local::Server;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::recipe::Recipe;

/// Protocol 3.0.
pub const V3: u32 = 3 << 16;
pub const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A message of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: char,
    pub body: Vec<u8>,
}

impl Message {
    /// A field of an ErrorResponse.
    pub fn field(&self, code: char) -> String {
        let fields = self.body.split(|byte| *byte == 0);
        let field = fields.filter_map(|field| field.split_first()).find(|(c, _)| **c == code as u8);
        field.map(|(_, text)| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
    }

    /// An error's code and text.
    pub fn error(&self) -> (String, String) {
        (self.field('C'), self.field('M'))
    }
}

/// A connection of a client's.
pub struct Wire<S = TlsStream<TcpStream>> {
    pub stream: S,
}

/// Connects with TLS: after PostgreSQL's request, or directly; with these names for ALPN.
pub async fn encrypted(server: &Server, is_direct: bool, alpn: &[&str]) -> Wire {
    secured(server, if is_direct { &[] } else { &SSL_REQUEST }, alpn).await
}

/// Connects with TLS after these bytes, which begin with PostgreSQL's request for it.
pub async fn encrypted_after(server: &Server, first: &[u8]) -> Wire {
    secured(server, first, &[]).await
}

async fn secured(server: &Server, first: &[u8], alpn: &[&str]) -> Wire {
    let root = &server.variables()["PGSSLROOTCERT"];
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    if !first.is_empty() {
        stream.write_all(first).await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'S');
    }
    let name = ServerName::try_from(server.variables()["PGHOST"].clone()).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    Wire { stream }
}

/// Connects without TLS.
pub async fn clear(server: &Server) -> Wire<TcpStream> {
    Wire { stream: TcpStream::connect(server.address).await.unwrap() }
}

/// A session of this user with a good token.
pub async fn session(server: &Server, user: &str) -> Wire {
    let mut wire = encrypted(server, false, &[]).await;
    wire.start_up(V3, &[("user", user), ("database", "sample_db")]).await;
    wire.log_in(server, user).await.unwrap();
    wire
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Sends a packet without a type.
    pub async fn packet(&mut self, body: &[u8]) {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        self.stream.write_all(&[&length, body].concat()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends a start-up packet.
    pub async fn start_up(&mut self, version: u32, parameters: &[(&str, &str)]) {
        let mut body = version.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        body.push(0);
        self.packet(&body).await;
    }

    /// Sends messages in one write.
    pub async fn send(&mut self, messages: &[(char, &[u8])]) {
        let mut all = Vec::new();
        for (kind, body) in messages {
            all.push(*kind as u8);
            all.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            all.extend_from_slice(body);
        }
        self.stream.write_all(&all).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next message; `None` after the server's proper end.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        tokio::time::timeout(Duration::from_secs(20), self.receive()).await.unwrap()
    }

    async fn receive(&mut self) -> io::Result<Option<Message>> {
        let mut kind = [0];
        if self.stream.read(&mut kind).await? == 0 {
            return Ok(None);
        }
        let length = self.stream.read_u32().await? as usize;
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await?;
        Ok(Some(Message { kind: char::from(kind[0]), body }))
    }

    /// The messages up to this kind, or to the end.
    pub async fn until(&mut self, kind: char) -> io::Result<Vec<Message>> {
        let mut messages = Vec::new();
        while let Some(message) = self.next().await? {
            let is_last = message.kind == kind;
            messages.push(message);
            if is_last {
                break;
            }
        }
        Ok(messages)
    }

    /// Answers the request for a password with a token of this user. Returns the error of a refusal.
    pub async fn log_in(&mut self, server: &Server, user: &str) -> Result<(), (String, String)> {
        let asked = self.next().await.unwrap().unwrap();
        assert_eq!((asked.kind, asked.body.as_slice()), ('R', [0, 0, 0, 3].as_slice()));
        let token = Recipe::good(server).with(|r| {
            r.user = user.into();
            r.host.clone_from(&server.variables()["PGHOST"]);
        });
        let token = token.token() + "\0";
        self.send(&[('p', token.as_bytes())]).await;
        let messages = self.until('Z').await.unwrap();
        assert!(!messages.iter().any(|message| message.kind == 'v'), "negotiated twice");
        match messages.iter().find(|message| message.kind == 'E') {
            Some(error) => Err(error.error()),
            None => Ok(()),
        }
    }

    /// The first column of the first row of a query's answer.
    pub async fn ask(&mut self, sql: &str) -> io::Result<String> {
        self.send(&[('Q', format!("{sql}\0").as_bytes())]).await;
        let messages = self.until('Z').await?;
        let row = messages.iter().find(|message| message.kind == 'D');
        let row = row.unwrap_or_else(|| panic!("{sql}: {messages:?}"));
        Ok(String::from_utf8_lossy(&row.body[6..]).into_owned())
    }
}
