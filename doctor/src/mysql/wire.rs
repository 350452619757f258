//! The packets of a login
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html>). The driver
//! does not tell which plugin a server asks for, nor show a certificate.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::evidence::{Greeting, Plugin};
use crate::tls::evidence::Protocol;

/// Longer than any packet of a login.
const LONGEST: usize = 64 * 1024;
const ERROR: u8 = 0xff;
/// Bits of capabilities.
const CONNECT_WITH_DB: u32 = 1 << 3;
const PROTOCOL_41: u32 = 1 << 9;
const SSL: u32 = 1 << 11;
const SECURE_CONNECTION: u32 = 1 << 15;
const PLUGIN_AUTH: u32 = 1 << 19;
/// No account has this plugin, so that the server names the account's own.
const NO_PLUGIN: &str = "rds_doctor_asks";

/// A packet, with its number.
pub(super) struct Packet {
    pub(super) sequence: u8,
    pub(super) body: Vec<u8>,
}

/// The server's answer to a login.
pub(super) enum Answer {
    /// It is open.
    Open,
    /// It is refused, with this code.
    Refused(u16),
    /// The server asks for this proof.
    Asked(Plugin),
    /// The plugin wants more of its own.
    More,
}

pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Packet> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
    if length > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Packet { sequence: head[3], body })
}

pub(super) async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    sequence: u8,
    body: &[u8],
) -> io::Result<()> {
    // A login's packets are far below three bytes' worth.
    let [a, b, c, _] = u32::try_from(body.len()).unwrap_or(0).to_le_bytes();
    stream.write_all(&[&[a, b, c, sequence], body].concat()).await?;
    stream.flush().await
}

/// Parses the first packet.
pub(super) fn greeting(body: &[u8]) -> Greeting {
    if let Some(code) = error(body) {
        return Greeting::Error(code);
    }
    let Some(([10], rest)) = body.split_at_checked(1) else {
        return Greeting::Other(Protocol::Unknown);
    };
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let plain = |b: &&u8| b.is_ascii_graphic();
    let version: String =
        rest[..end].iter().filter(plain).take(60).map(|b| char::from(*b)).collect();
    // The thread's id, eight bytes of the scramble and a filler, then the lower half of the capabilities.
    let capabilities =
        rest.get(end + 14..end + 16).map_or(0, |b| u32::from(b[0]) | u32::from(b[1]) << 8);
    if capabilities & SSL == 0 { Greeting::WithoutTls(version) } else { Greeting::Of(version) }
}

/// Parses the answer to a login.
pub(super) fn answer(body: &[u8]) -> Answer {
    match body {
        [0, ..] => Answer::Open,
        [ERROR, ..] => Answer::Refused(error(body).unwrap_or(0)),
        [0xfe, name @ ..] => {
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            Answer::Asked(Plugin::named(&String::from_utf8_lossy(&name[..end])))
        }
        _ => Answer::More,
    }
}

fn error(body: &[u8]) -> Option<u16> {
    match body {
        [ERROR, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

/// The request for TLS: the beginning of a login.
pub(super) fn ssl_request() -> Vec<u8> {
    let capabilities = CONNECT_WITH_DB | PROTOCOL_41 | SSL | SECURE_CONNECTION | PLUGIN_AUTH;
    let mut body = capabilities.to_le_bytes().to_vec();
    // The longest packet, and utf8mb4.
    body.extend((16 * 1024 * 1024_u32).to_le_bytes());
    body.push(45);
    body.extend([0; 23]);
    body
}

/// A login without a proof: the server answers with the plugin that it asks for one.
pub(super) fn login(user: &str, database: &str) -> Vec<u8> {
    let mut body = ssl_request();
    body.extend(user.as_bytes());
    body.extend([0, 0]);
    for text in [database, NO_PLUGIN] {
        body.extend(text.as_bytes());
        body.push(0);
    }
    body
}
