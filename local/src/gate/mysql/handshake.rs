//! The connection phase of MySQL's protocol, up to the token
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase_packets.html>).

use std::io;

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

use super::packet::invalid;

/// The plugin that asks for a password in the clear, as RDS does for tokens.
pub(super) const CLEAR_PASSWORD: &str = "mysql_clear_password";
const NATIVE_PASSWORD: &str = "mysql_native_password";
/// The most characters of a user's name in MySQL.
const LONGEST_USER: usize = 32;

/// Bits of a client's or server's capabilities.
mod capability {
    pub(super) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(super) const COMPRESS: u32 = 1 << 5;
    pub(super) const PROTOCOL_41: u32 = 1 << 9;
    pub(super) const SSL: u32 = 1 << 11;
    pub(super) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(super) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(super) const LENENC_DATA: u32 = 1 << 21;
    pub(super) const DEPRECATE_EOF: u32 = 1 << 24;
    pub(super) const ZSTD: u32 = 1 << 26;
}

/// The server's first packet.
#[derive(Debug)]
pub(super) struct Greeting {
    body: Vec<u8>,
    /// Where the thread's id stands, after the version.
    id_at: usize,
    scramble: Vec<u8>,
}

impl Greeting {
    /// Parses the greeting of the server behind the gate.
    pub(super) fn parse(body: Vec<u8>) -> io::Result<Self> {
        let version = body.iter().position(|byte| *byte == 0).filter(|_| body.first() == Some(&10));
        let id_at = version.ok_or_else(|| invalid("the server's greeting is malformed"))? + 1;
        // Thread id, 8 bytes of the scramble and a filler, then fixed fields of 18 bytes.
        if body.len() < id_at + 13 + 18 + 12 {
            return Err(invalid("the server's greeting is too short"));
        }
        let scramble = [&body[id_at + 4..id_at + 12], &body[id_at + 31..id_at + 43]].concat();
        Ok(Self { body, id_at, scramble })
    }

    fn capabilities(&self) -> u32 {
        let at = self.id_at + 13;
        let [low, high] = [at, at + 5].map(|at| [self.body[at], self.body[at + 1]]);
        u32::from_le_bytes([low[0], low[1], high[0], high[1]])
    }

    /// The greeting for the client: the server's own, with TLS and without compression. The thread's id
    /// stays, so that a client can ask for `KILL QUERY`.
    pub(super) fn for_client(&self) -> Vec<u8> {
        let offered = capability::SSL | capability::PLUGIN_AUTH | capability::LENENC_DATA;
        let capabilities =
            (self.capabilities() | offered) & !(capability::COMPRESS | capability::ZSTD);
        let [a, b, c, d] = capabilities.to_le_bytes();
        let mut body = self.body.clone();
        let at = self.id_at + 13;
        [body[at], body[at + 1], body[at + 5], body[at + 6]] = [a, b, c, d];
        body
    }

    /// Whether the end of rows has the form of an OK packet in this client's session.
    pub(super) fn end_is_ok(&self, client: &Response) -> bool {
        self.capabilities() & client.capabilities & capability::DEPRECATE_EOF != 0
    }

    /// The gate's own login as this client's user: what the client asked for, with the gate's secret.
    pub(super) fn login(&self, client: &Response, secret: &str) -> Vec<u8> {
        let not_here = capability::SSL | capability::COMPRESS | capability::ZSTD;
        let capabilities = client.capabilities & self.capabilities() & !not_here;
        // The secret's proof has 20 bytes, which both forms of its length write alike. Without either form, the
        // server would look for a NUL.
        let capabilities = capabilities | capability::SECURE_CONNECTION;
        let proof = native_proof(secret.as_bytes(), &self.scramble);
        let mut body = capabilities.to_le_bytes().to_vec();
        body.extend_from_slice(&client.settings);
        body.extend_from_slice(&client.user);
        body.extend_from_slice(&[0, 20]);
        body.extend_from_slice(&proof);
        if let Some(database) = &client.database {
            body.extend_from_slice(database);
            body.push(0);
        }
        body.extend_from_slice(NATIVE_PASSWORD.as_bytes());
        body.push(0);
        body.extend_from_slice(&client.rest);
        body
    }
}

/// The first packet of a client.
#[derive(Debug)]
pub(super) enum First {
    /// Asks for TLS.
    Ssl,
    /// Logs in.
    Response(Response),
}

/// A client's login.
pub(super) struct Response {
    capabilities: u32,
    /// The longest packet, the character set, and MariaDB's capabilities: 28 bytes, as sent.
    settings: [u8; 28],
    /// In the client's character set.
    pub(super) user: Vec<u8>,
    /// The proof of a password for `plugin`.
    pub(super) proof: Vec<u8>,
    database: Option<Vec<u8>>,
    plugin: Vec<u8>,
    /// Connection attributes, as sent.
    rest: Vec<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Response").field("user", &self.user).finish_non_exhaustive()
    }
}

impl First {
    pub(super) fn parse(body: &[u8]) -> io::Result<Self> {
        let mut rest = Fields(body);
        let capabilities = u32::from_le_bytes(rest.take_array()?);
        if capabilities & capability::PROTOCOL_41 == 0 {
            return Err(invalid("the client's protocol is older than MySQL 4.1"));
        }
        let settings = rest.take_array()?;
        if rest.0.is_empty() {
            return match capabilities & capability::SSL {
                0 => Err(invalid("the login is truncated")),
                _ => Ok(Self::Ssl),
            };
        }
        let has = |bit: u32| capabilities & bit != 0;
        let user = rest.take_text()?;
        let proof = if has(capability::LENENC_DATA) {
            let length = rest.take_length()?;
            rest.take(length)?.to_vec()
        } else if has(capability::SECURE_CONNECTION) {
            let [length] = rest.take_array()?;
            rest.take(usize::from(length))?.to_vec()
        } else {
            rest.take_text()?
        };
        let database =
            if has(capability::CONNECT_WITH_DB) { Some(rest.take_text()?) } else { None };
        let plugin = if has(capability::PLUGIN_AUTH) { rest.take_text()? } else { Vec::new() };
        let rest = rest.0.to_vec();
        Ok(Self::Response(Response { capabilities, settings, user, proof, database, plugin, rest }))
    }
}

impl Response {
    /// The user's name, if the server reads it as the gate does; else why not. MariaDB takes quotes off a name,
    /// cuts a long one off, and converts it from the client's character set: the session could be that of
    /// another user than the one whose token was checked.
    pub(super) fn checked_user(&self) -> Result<&str, &'static str> {
        let user = std::str::from_utf8(&self.user).map_err(|_| "the user's name is not UTF-8")?;
        // These stand for other characters in some sets of 7 bits.
        let is_plain = |c: char| c.is_ascii() && !"@[\\]^`{|}~".contains(c);
        if user.starts_with('\'') && user.ends_with('\'') {
            Err("the user's name is in quotes")
        } else if user.chars().count() > LONGEST_USER {
            Err("the user's name is longer than MySQL's 32 characters")
        } else if !self.is_utf8() && !user.chars().all(is_plain) {
            Err("the client's character set is not UTF-8, and the user's name is not plain ASCII")
        } else {
            Ok(user)
        }
    }

    /// Whether the client's character set is UTF-8: by the number of its collation, of which the server reads
    /// one byte.
    fn is_utf8(&self) -> bool {
        // The last stands for MySQL 8's collations, in whose place MariaDB takes its own default: utf8mb4.
        matches!(self.settings[4], 33 | 45 | 46 | 83 | 192..=215 | 223..=247 | 255)
    }

    /// Whether the client understands a switch to another plugin.
    pub(super) fn knows_plugins(&self) -> bool {
        self.capabilities & capability::PLUGIN_AUTH != 0
    }

    /// The token, if the client has sent it unasked: with `--default-auth=mysql_clear_password`.
    pub(super) fn token(&self) -> Option<&[u8]> {
        let unasked = self.plugin == CLEAR_PASSWORD.as_bytes() && !self.proof.is_empty();
        unasked.then_some(&self.proof)
    }
}

/// Asks for the token, as Aurora does: the plugin's name and no data.
pub(super) fn auth_switch_request() -> Vec<u8> {
    [&[0xfe], CLEAR_PASSWORD.as_bytes(), &[0]].concat()
}

/// The proof of `mysql_native_password`: SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password))).
fn native_proof(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    let once = sha1(&[password]);
    let proof = sha1(&[scramble, &sha1(&[&once])]);
    once.iter().zip(proof).map(|(a, b)| a ^ b).collect()
}

/// A password as `mysql_native_password` stores it.
pub(crate) fn native_hash(password: &str) -> String {
    let twice = sha1(&[&sha1(&[password.as_bytes()])]);
    let hex: String = twice.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("*{hex}")
}

fn sha1(parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

/// The rest of a packet.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| invalid("the login is truncated"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Text up to a NUL, or to the packet's end.
    fn take_text(&mut self) -> io::Result<Vec<u8>> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = self.take(end.unwrap_or(self.0.len()))?.to_vec();
        self.take(usize::from(end.is_some()))?;
        Ok(text)
    }

    fn take_length(&mut self) -> io::Result<usize> {
        let [first] = self.take_array()?;
        let bytes = match first {
            0..=0xfa => return Ok(usize::from(first)),
            0xfc => 2,
            0xfd => 3,
            _ => return Err(invalid("a length of the login is malformed")),
        };
        Ok(self.take(bytes)?.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_password_is_mysqls() {
        // SELECT PASSWORD('password')
        assert_eq!(native_hash("password"), "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19");
    }

    #[test]
    fn a_user_is_checked_only_under_the_name_that_the_server_reads() {
        let [utf8, latin1, swe7] = [45, 8, 10];
        let long = "u".repeat(33);
        for (collation, user, is_clear) in [
            (utf8, b"iam_ro_user".as_slice(), true),
            (latin1, b"iam_ro_user", true),
            (swe7, b"iam_ro_user", true),
            (255, "us\u{e9}r@home".as_bytes(), true),
            (latin1, "us\u{e9}r".as_bytes(), false),
            (swe7, b"user@home", false),
            (utf8, b"us\xe9r", false),
            (utf8, b"'iam_ro_user'", false),
            (utf8, &long.as_bytes()[1..], true),
            (utf8, long.as_bytes(), false),
        ] {
            let settings = [&[0; 4], &[collation][..], &[0; 23]].concat();
            let capabilities = capability::PROTOCOL_41.to_le_bytes();
            let login = [&capabilities[..], &settings, user, &[0, 0]].concat();
            let First::Response(response) = First::parse(&login).unwrap() else { panic!() };
            assert_eq!(response.checked_user().is_ok(), is_clear, "{collation} {user:?}");
        }
    }

    #[test]
    fn a_truncated_login_is_refused_at_every_length() {
        let mut login = (capability::PROTOCOL_41
            | capability::PLUGIN_AUTH
            | capability::LENENC_DATA
            | capability::CONNECT_WITH_DB)
            .to_le_bytes()
            .to_vec();
        login.extend_from_slice(&[0; 28]);
        login.extend_from_slice(b"user\0\xfc\x2c\x01");
        login.extend_from_slice(&[b't'; 300]);
        login.extend_from_slice(b"db\0mysql_clear_password\0");
        let First::Response(response) = First::parse(&login).unwrap() else { panic!("no login") };
        assert_eq!((response.user.as_slice(), response.proof.len()), (b"user".as_slice(), 300));
        assert_eq!(response.token().map(<[u8]>::len), Some(300));
        for length in 0..340 {
            assert!(First::parse(&login[..length]).is_err(), "{length}");
        }
    }
}
