//! MySQL's packets: a length, a sequence number, and the contents
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::gate::sql::{Dialect, Token, statements};

/// A packet of a login is shorter: a token has one to two kilobytes, and connection attributes are
/// limited to 64 KiB.
const LONGEST: usize = 256 * 1024;
/// How many bytes of a command are kept: enough to recognise a statement.
const KEPT: usize = 1024;

/// One packet of a login.
#[derive(Debug)]
pub(super) struct Packet {
    /// Its number; the answer has the next.
    pub(super) sequence: u8,
    pub(super) body: Vec<u8>,
}

/// Reads one packet, and nothing beyond it.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Packet> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let [a, b, c, sequence] = header;
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if length > LONGEST {
        return Err(invalid("a packet of the login is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Packet { sequence, body })
}

/// Writes one packet.
pub(super) async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    sequence: u8,
    body: &[u8],
) -> io::Result<()> {
    let [a, b, c, _] = u32::try_from(body.len()).unwrap_or(0).to_le_bytes();
    stream.write_all(&[&[a, b, c, sequence], body].concat()).await?;
    stream.flush().await
}

/// An error as the server words it: `ERROR 1045 (28000): …`.
pub(super) fn error(code: u16, sqlstate: &str, message: &str) -> Vec<u8> {
    [&[0xff], &code.to_le_bytes()[..], b"#", sqlstate.as_bytes(), message.as_bytes()].concat()
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// A command of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Command<'a> {
    /// The start of its packet.
    start: &'a [u8],
    /// Whether the packet is longer than what is kept of it.
    cut: bool,
}

impl Command<'_> {
    pub(super) fn is_quit(self) -> bool {
        self.start == [0x01]
    }

    /// Whether it asks to log in as another user.
    pub(super) fn is_change_user(self) -> bool {
        self.start.first() == Some(&0x11)
    }

    /// Whether it runs a statement that is not about transactions or settings.
    pub(super) fn is_query(self) -> bool {
        match self.start.split_first() {
            // COM_STMT_EXECUTE
            Some((0x17, _)) => true,
            // Of a long packet, the statements that were cut off may be anything.
            Some((0x03, text)) => {
                self.cut || has_statement(text, |statement| !is_control(statement))
            }
            _ => false,
        }
    }

    pub(super) fn is_commit(self) -> bool {
        matches!(self.start.split_first(), Some((0x03, text)) if has_statement(text, is_commit))
    }
}

/// Whether one of a text's statements is such.
fn has_statement(text: &[u8], is_such: impl Fn(&[Token<'_>]) -> bool) -> bool {
    let text = String::from_utf8_lossy(text);
    statements(&text, Dialect::Mysql).iter().any(|statement| is_such(statement))
}

fn is_control(statement: &[Token<'_>]) -> bool {
    const CONTROL: [&str; 6] = ["BEGIN", "START", "COMMIT", "ROLLBACK", "SET", "PREPARE"];
    statement.first().is_some_and(|first| first.is_any(&CONTROL))
}

/// `COMMIT`, or a half of a two-phase commit: its work stays.
fn is_commit(statement: &[Token<'_>]) -> bool {
    match statement {
        [xa, half, ..] if xa.is("XA") => half.is_any(&["COMMIT", "PREPARE"]),
        [first, ..] => first.is("COMMIT"),
        [] => false,
    }
}

/// Finds a client's commands in its stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Commands {
    header: Vec<u8>,
    kept: Vec<u8>,
    missing: usize,
    length: usize,
}

impl Commands {
    /// Takes the next bytes, and calls `each` for every command that they complete, until it returns
    /// `false`. Returns how many of the bytes may be passed on: those before the refused command.
    pub(super) fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Command<'_>) -> bool,
    ) -> (usize, bool) {
        let (mut at, mut begin) = (0, 0);
        while at < bytes.len() {
            if self.header.len() < 4 {
                if self.header.is_empty() {
                    begin = at;
                }
                self.header.push(bytes[at]);
                at += 1;
                if self.header.len() < 4 {
                    continue;
                }
                let length = [0, 1, 2].map(|index: usize| self.header[index]);
                self.length = u32::from_le_bytes([length[0], length[1], length[2], 0]) as usize;
                self.missing = self.length;
                self.kept.clear();
            } else {
                let taken = self.missing.min(bytes.len() - at);
                let kept = taken.min(KEPT.saturating_sub(self.kept.len()));
                self.kept.extend_from_slice(&bytes[at..at + kept]);
                self.missing -= taken;
                at += taken;
            }
            if self.missing == 0 {
                let command = Command { start: &self.kept, cut: self.length > KEPT };
                // Others belong to the command before: the rest of a long one, or a file's contents.
                if self.header[3] == 0 && !each(command) {
                    return (begin, false);
                }
                self.header.clear();
            }
        }
        (at, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u8, body: &[u8]) -> Vec<u8> {
        let [a, b, c, _] = u32::try_from(body.len()).unwrap().to_le_bytes();
        [&[a, b, c, sequence], body].concat()
    }

    #[test]
    fn a_commit_is_one_however_it_is_written() {
        let command = |text: &str| {
            let start = [b"\x03", text.as_bytes()].concat();
            let command = Command { start: &start, cut: false };
            (command.is_query(), command.is_commit())
        };
        for text in ["COMMIT", "commit;", "/* c */ COMMIT WORK", "# c\nCOMMIT", "/*! COMMIT */"] {
            assert_eq!(command(text), (false, true), "{text}");
        }
        for text in ["INSERT INTO t VALUES (1); COMMIT", "XA COMMIT 'x'", "XA PREPARE 'x'"] {
            assert_eq!(command(text), (true, true), "{text}");
        }
        for text in ["/* c */ SELECT 1", "SELECT 'x; COMMIT'", "SELECT `; COMMIT`"] {
            assert_eq!(command(text), (true, false), "{text}");
        }
        for text in ["/* ping */", "", "SET a = 'b; SELECT'", "-- c\nstart transaction"] {
            assert_eq!(command(text), (false, false), "{text}");
        }
    }

    #[test]
    fn commands_are_found_however_the_bytes_are_cut() {
        let long = [b"\x03SELECT ".as_slice(), &vec![b'x'; 3000]].concat();
        let stream = [
            packet(0, b"\x03start transaction read only; SET @a = 1"),
            packet(0, b"\x03SELECT 1"),
            packet(0, &long),
            packet(1, b"\x11 the contents of a file"),
            packet(0, b"\x03 COMMIT"),
            packet(0, b"\x17...."),
            packet(0, b"\x01"),
        ]
        .concat();
        for size in [1, 2, 5, 7, 4096] {
            let mut commands = Commands::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                commands.feed(chunk, |command| {
                    assert!(!command.is_change_user());
                    seen.push((command.is_query(), command.is_commit(), command.is_quit()));
                    true
                });
            }
            let (query, other) = ((true, false, false), (false, false, false));
            let expected = [other, query, query, (false, true, false), query, (false, false, true)];
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }
}
