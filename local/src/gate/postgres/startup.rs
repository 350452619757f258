//! The start of PostgreSQL's protocol, up to the password
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// PostgreSQL's own bound for a start-up packet: 10,000 bytes (`MAX_STARTUP_PACKET_LENGTH`) and its length.
/// PostgreSQL closes the connection at a longer one, without an error.
const LONGEST_STARTUP: usize = 10_004;
/// PostgreSQL's bound for a message with a password (`PG_MAX_AUTH_TOKEN_LENGTH`). A token with a session token has
/// one to two kilobytes.
const LONGEST_PASSWORD: usize = 65_535;
/// PostgreSQL cuts longer names off, wherever a character ends (`NAMEDATALEN`).
pub(super) const LONGEST_NAME: usize = 63;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// Parameters of the protocol itself, which a server may not know, begin so.
const PROTOCOL_OPTION: &[u8] = b"_pq_.";
/// The parameters that the gate reads. PostgreSQL takes the last of each, and so does the gate.
const READ_HERE: [&[u8]; 4] = [b"user", b"database", b"replication", b"options"];

/// The first packet of a connection.
#[derive(Debug)]
pub(super) enum First {
    /// Asks for TLS; the whole packet.
    Ssl(Vec<u8>),
    /// Asks for GSSAPI encryption; the whole packet.
    GssEnc(Vec<u8>),
    /// Asks to stop a query; the whole packet.
    Cancel(Vec<u8>),
    /// Starts a session.
    Startup(Startup),
    /// A packet that PostgreSQL refuses before it asks for a password; all of it.
    Malformed(Vec<u8>),
}

/// A start-up packet.
#[derive(Debug)]
pub(super) struct Startup {
    version: u32,
    /// The user, as the server reads it. Its bytes may be no text.
    pub(super) user: Vec<u8>,
    /// The database, for messages.
    pub(super) database: String,
    /// Whether the packet has command-line options for the server.
    pub(super) has_options: bool,
    /// Whether it asks for a connection for replication.
    pub(super) is_replication: bool,
    /// Each parameter once, except those that only the server reads.
    parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) async fn read_first<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<First> {
    let length = stream.read_u32().await? as usize;
    if !(8..=LONGEST_STARTUP).contains(&length) {
        return Err(invalid("the first packet has an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    let code = u32::from_be_bytes([body[0], body[1], body[2], body[3]]);
    let packet = || packet(&body);
    Ok(match code {
        SSL_REQUEST => First::Ssl(packet()),
        GSSENC_REQUEST => First::GssEnc(packet()),
        CANCEL_REQUEST => First::Cancel(packet()),
        _ => Startup::parse(code, &body[4..])
            .map_or_else(|| First::Malformed(packet()), First::Startup),
    })
}

/// A packet without a type: its length, which counts itself, and its body.
fn packet(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len() + 4).unwrap_or(0).to_be_bytes()[..], body].concat()
}

impl Startup {
    /// `None` for what PostgreSQL refuses: another protocol, a packet that does not end with its last
    /// parameter, no user, a replication of no known kind.
    fn parse(version: u32, mut rest: &[u8]) -> Option<Self> {
        let mut parameters: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut is_replication = false;
        loop {
            let name = take_text(&mut rest)?;
            if name.is_empty() {
                break;
            }
            let value = take_text(&mut rest)?;
            if name == b"replication" {
                is_replication = asks_for_replication(value)?;
            }
            if READ_HERE.contains(&name) {
                parameters.retain(|(earlier, _)| earlier != name);
            }
            let is_name = name == b"user" || name == b"database";
            let longest = if is_name { LONGEST_NAME } else { value.len() };
            parameters.push((name.to_vec(), value[..value.len().min(longest)].to_vec()));
        }
        let find = |name: &[u8]| parameters.iter().find(|(other, _)| other == name);
        let text = |name: &[u8]| {
            let (_, value) = find(name).filter(|(_, value)| !value.is_empty())?;
            Some(value.clone())
        };
        let user = text(b"user").filter(|_| rest.is_empty() && version >> 16 == 3)?;
        let database = text(b"database").unwrap_or_else(|| user.clone());
        let database = String::from_utf8_lossy(&database).into_owned();
        let has_options = find(b"options").is_some();
        Some(Self { version, user, database, has_options, is_replication, parameters })
    }

    /// The packet for the server: what the gate has read, and nothing that could be read otherwise. The
    /// session gets this parameter, too, unless that makes the packet longer than PostgreSQL takes.
    pub(super) fn packet(&self, name: &str, value: &str) -> Vec<u8> {
        let added = (name.as_bytes(), value.as_bytes());
        let all = self.parameters.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let packet = self.with_parameters(all.clone().chain([added]));
        if packet.len() > LONGEST_STARTUP { self.with_parameters(all) } else { packet }
    }

    /// A packet that makes the server negotiate the protocol as the real one does, and then refuse it,
    /// because it names no user; `None` if there is nothing to negotiate.
    pub(super) fn negotiation(&self) -> Option<Vec<u8>> {
        let all = self.parameters.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let mut options = all.filter(|(name, _)| name.starts_with(PROTOCOL_OPTION)).peekable();
        let is_plain = self.version & 0xffff == 0 && options.peek().is_none();
        (!is_plain).then(|| self.with_parameters(options))
    }

    fn with_parameters<'a>(&self, all: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
        let mut body = self.version.to_be_bytes().to_vec();
        for (name, value) in all {
            body.extend_from_slice(&[name, &[0], value, &[0]].concat());
        }
        body.push(0);
        packet(&body)
    }
}

/// Takes a text and its NUL.
fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.iter().position(|byte| *byte == 0)?;
    let text = &rest[..end];
    *rest = &rest[end + 1..];
    Some(text)
}

/// Whether this value of `replication` asks for it, by PostgreSQL's rules for a boolean; `None` if it is
/// neither a boolean nor a database.
fn asks_for_replication(value: &[u8]) -> Option<bool> {
    if value == b"database" {
        return Some(true);
    }
    let value = std::str::from_utf8(value).ok()?.to_ascii_lowercase();
    let begins = |word: &str, shortest: usize| value.len() >= shortest && word.starts_with(&value);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || value == "1" {
        return Some(true);
    }
    let is_false = begins("false", 1) || begins("no", 1) || begins("off", 2) || value == "0";
    is_false.then_some(false)
}

/// Reads one message of the server's before a session, with its type and length; `None` at the end.
pub(super) async fn read_message<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> io::Result<Option<(u8, Vec<u8>)>> {
    let kind = match stream.read_u8().await {
        Ok(kind) => kind,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = stream.read_u32().await?;
    let mut contents = vec![0; (length as usize).saturating_sub(4)];
    stream.read_exact(&mut contents).await?;
    Ok(Some((kind, [&[kind], &length.to_be_bytes()[..], &contents].concat())))
}

/// A client's answer to the request for a password.
#[derive(Debug)]
pub(super) enum Password {
    /// The password. What is not UTF-8 in it is replaced: no token has such bytes.
    Sent(String),
    /// PostgreSQL's SQLSTATE and message for an answer that holds none.
    Refused(&'static str, String),
}

/// Asks for a clear-text password, as RDS does for `rds_iam` logins, and reads the answer by the rules of
/// PostgreSQL's `recv_password_packet`.
///
/// Fails where PostgreSQL closes the connection without a word.
pub(super) async fn ask_password<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> io::Result<Password> {
    stream.write_all(&[b'R', 0, 0, 0, 8, 0, 0, 0, 3]).await?;
    stream.flush().await?;
    let kind = stream.read_u8().await?;
    if kind != b'p' {
        let message = format!("expected password response, got message type {kind}");
        return Ok(Password::Refused("08P01", message));
    }
    let length = stream.read_u32().await? as usize;
    if !(4..=LONGEST_PASSWORD).contains(&length) {
        return Err(invalid("the password has an impossible length"));
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await?;
    let end = body.iter().position(|byte| *byte == 0);
    Ok(match end {
        Some(0) if body.len() == 1 => {
            Password::Refused("28P01", "empty password returned by client".into())
        }
        Some(end) if end + 1 == body.len() => {
            Password::Sent(String::from_utf8_lossy(&body[..end]).into_owned())
        }
        _ => Password::Refused("08P01", "invalid password packet size".into()),
    })
}

/// Sends a FATAL error in PostgreSQL's form, which ends the connection.
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
    stream.write_all(&[b"E", packet(&fields).as_slice()].concat()).await?;
    stream.shutdown().await
}

/// PostgreSQL's message for data that came before the encryption that its client has asked for.
pub(super) fn unencrypted_data(encryption: &str) -> String {
    format!("received unencrypted data after {encryption} request")
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(parameters: &str) -> Option<Startup> {
        Startup::parse(3 << 16, parameters.replace(' ', "\0").as_bytes())
    }

    #[test]
    fn the_last_of_each_parameter_counts_and_the_server_gets_no_other() {
        let startup = parse(
            "user a database d user b application_name x database e replication true \
             replication off options o options p application_name y  ",
        );
        let startup = startup.unwrap();
        let Startup { user, database, is_replication, has_options, .. } = &startup;
        assert_eq!((user.as_slice(), database.as_str()), (b"b".as_slice(), "e"));
        assert_eq!((*is_replication, *has_options), (false, true));
        let packet = startup.packet("added", "z");
        assert_eq!(packet[..4], u32::try_from(packet.len()).unwrap().to_be_bytes());
        let sent = String::from_utf8(packet[8..].to_vec()).unwrap().replace('\0', " ");
        assert_eq!(
            sent,
            "user b application_name x database e replication off options p application_name y added z  "
        );
        assert!(startup.negotiation().is_none());
    }

    #[test]
    fn a_name_is_cut_where_the_server_cuts_it() {
        let long = "\u{e9}".repeat(32);
        let startup = parse(&format!("user {long} database {long} options {long}  ")).unwrap();
        assert_eq!(startup.user, long.as_bytes()[..63]);
        let lengths: Vec<_> = startup.parameters.iter().map(|(_, value)| value.len()).collect();
        assert_eq!(lengths, [63, 63, 64]);
        // Bytes that are no text are the server's to read, too.
        let startup = Startup::parse(3 << 16, b"user\0a\xff\0database\0\xff\0\0").unwrap();
        assert_eq!(
            (startup.user.as_slice(), startup.database.as_str()),
            (b"a\xff".as_slice(), "\u{fffd}")
        );
    }

    #[test]
    fn what_postgresql_refuses_is_malformed() {
        for parameters in [
            "",
            " ",
            "user",
            "user a",
            "user a ",
            "user  database d  ",
            "database d  ",
            "user a   ",
            "user a  user b  ",
            "user a replication maybe  ",
            "user a replication o  ",
            "user a replication DATABASE  ",
            "user a replication tru  x",
        ] {
            assert!(parse(parameters).is_none(), "{parameters:?}");
        }
        for version in [2 << 16, 4 << 16, 0, u32::MAX, SSL_REQUEST] {
            assert!(Startup::parse(version, b"user\0a\0\0").is_none(), "{version:x}");
        }
        assert_eq!(parse("user a database   ").unwrap().database, "a");
    }

    #[test]
    fn replication_is_read_as_a_boolean() {
        for value in ["database", "true", "TRUE", "t", "yes", "y", "on", "ON", "1"] {
            assert_eq!(asks_for_replication(value.as_bytes()), Some(true), "{value}");
        }
        for value in ["false", "F", "no", "n", "off", "of", "0"] {
            assert_eq!(asks_for_replication(value.as_bytes()), Some(false), "{value}");
        }
        for value in ["", "o", "2", "truee", "Database", "\u{e9}"] {
            assert_eq!(asks_for_replication(value.as_bytes()), None, "{value}");
        }
    }
}
