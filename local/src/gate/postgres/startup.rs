//! The start of PostgreSQL's protocol, up to the password
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// PostgreSQL's own bound for a start-up packet.
const LONGEST_STARTUP: usize = 10_000;
/// A token with a session token has one to two kilobytes; PostgreSQL's bound is 64 KiB.
const LONGEST_PASSWORD: usize = 65_536;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// The first packet of a connection.
#[derive(Debug)]
pub(super) enum First {
    /// Asks for TLS.
    Ssl,
    /// Asks for GSSAPI encryption.
    GssEnc,
    /// Asks to stop a query; the whole packet.
    Cancel(Vec<u8>),
    /// Starts a session.
    Startup(Startup),
}

/// A start-up packet.
#[derive(Debug)]
pub(super) struct Startup {
    /// The packet as received, for the server.
    pub(super) packet: Vec<u8>,
    pub(super) user: String,
    pub(super) database: String,
    /// Whether the packet has command-line options for the server.
    pub(super) options: bool,
}

pub(super) async fn read_first<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<First> {
    let length = stream.read_u32().await? as usize;
    if !(8..=LONGEST_STARTUP).contains(&length) {
        return Err(invalid("the first packet has an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    let code = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
    let mut packet = u32::try_from(length).unwrap_or(0).to_be_bytes().to_vec();
    packet.extend_from_slice(&body);
    match code {
        SSL_REQUEST => Ok(First::Ssl),
        GSSENC_REQUEST => Ok(First::GssEnc),
        CANCEL_REQUEST => Ok(First::Cancel(packet)),
        _ if code >> 16 == 3 => Startup::parse(packet, &body[4..]).map(First::Startup),
        _ => Err(invalid("the client does not speak PostgreSQL's protocol")),
    }
}

impl Startup {
    fn parse(packet: Vec<u8>, parameters: &[u8]) -> io::Result<Self> {
        let texts: Vec<&str> = parameters
            .split(|byte| *byte == 0)
            .map(|text| std::str::from_utf8(text).map_err(|_| invalid("a parameter is not UTF-8")))
            .collect::<io::Result<_>>()?;
        let find = |name: &str| {
            texts.chunks_exact(2).find(|pair| pair[0] == name).map(|pair| pair[1].to_owned())
        };
        let user = find("user").filter(|user| !user.is_empty());
        let user = user.ok_or_else(|| invalid("the start-up packet names no user"))?;
        let database = find("database").unwrap_or_else(|| user.clone());
        let options = find("options").is_some();
        Ok(Self { packet, user, database, options })
    }
}

/// Asks for a clear-text password, as RDS does for `rds_iam` logins, and reads it.
pub(super) async fn ask_password<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> io::Result<String> {
    stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).await?;
    stream.flush().await?;
    if stream.read_u8().await? != b'p' {
        return Err(invalid("the client sent another message instead of a password"));
    }
    let length = stream.read_u32().await? as usize;
    if !(5..=LONGEST_PASSWORD).contains(&length) {
        return Err(invalid("the password has an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    body.pop();
    String::from_utf8(body).map_err(|_| invalid("the password is not UTF-8"))
}

/// Ends the connection with a FATAL error in PostgreSQL's form.
pub(super) async fn refuse<S: AsyncWrite + Unpin>(
    stream: &mut S,
    sqlstate: &str,
    message: &str,
) -> io::Result<()> {
    let mut fields = Vec::new();
    for (field, value) in
        [(b'S', "FATAL"), (b'V', "FATAL"), (b'C', sqlstate), (b'M', message), (b'R', "auth_failed")]
    {
        fields.push(field);
        fields.extend_from_slice(value.as_bytes());
        fields.push(0);
    }
    fields.push(0);
    let mut packet = vec![b'E'];
    packet.extend_from_slice(&u32::try_from(fields.len() + 4).unwrap_or(0).to_be_bytes());
    packet.extend_from_slice(&fields);
    stream.write_all(&packet).await?;
    stream.shutdown().await
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
