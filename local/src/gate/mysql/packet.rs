//! MySQL's packets: a length, a sequence number, and the contents
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::gate::sql::{Dialect, Token, statements};

/// A packet of a login is shorter: a token has one to two kilobytes, and connection attributes are
/// limited to 64 KiB.
const LONGEST: usize = 256 * 1024;
/// A command that is not longer passes as a whole, when all of it has come, so that its text can be read
/// and changed.
const LONGEST_HELD: usize = 64 * 1024;
/// How many bytes are kept of a longer one: enough to recognise a statement.
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

    /// Whether it commits a transaction that was open before.
    pub(super) fn is_commit(self) -> bool {
        let Some((0x03, text)) = self.start.split_first() else { return false };
        let text = String::from_utf8_lossy(text);
        let statements = statements(&text, Dialect::Mysql);
        let ends = statements.iter().position(|statement| is_commit(statement));
        ends.is_some_and(|at| !statements[..at].iter().any(|statement| is_begin(statement)))
    }
}

impl<'a> Command<'a> {
    /// The SQL of COM_QUERY or COM_STMT_PREPARE, if all of it is here.
    pub(super) fn text(self) -> Option<&'a [u8]> {
        match self.start.split_first() {
            Some((0x03 | 0x16, text)) if !self.cut => Some(text),
            _ => None,
        }
    }
}

/// What the gate does with a command.
#[derive(Debug)]
pub(super) enum Passed {
    Unchanged,
    /// With another text behind its first byte.
    WithText(Vec<u8>),
    Refused,
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

fn is_begin(statement: &[Token<'_>]) -> bool {
    statement.first().is_some_and(|first| first.is_any(&["BEGIN", "START"]))
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
    /// The packet, or the start of a long one.
    kept: Vec<u8>,
    missing: usize,
    length: usize,
}

impl Commands {
    /// Takes the next bytes, and calls `each` for every command that they complete, until it refuses one
    /// (`true`). What may be passed on goes into `out`.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
        mut each: impl FnMut(Command<'_>) -> Passed,
    ) -> bool {
        while !bytes.is_empty() {
            if self.header.len() < 4 {
                self.take_header(&mut bytes, out);
            } else {
                self.take_body(&mut bytes, out);
            }
            if self.header.len() == 4 && self.missing == 0 {
                let passed = match self.header[3] {
                    0 => each(Command { start: &self.kept, cut: self.is_long() }),
                    // Others belong to the command before: the rest of a long one, or a file's contents.
                    _ => Passed::Unchanged,
                };
                match passed {
                    Passed::Refused => return true,
                    Passed::WithText(text) => self.pass_with(&text, out),
                    Passed::Unchanged if self.is_long() => {}
                    Passed::Unchanged => {
                        out.extend_from_slice(&self.header);
                        out.extend_from_slice(&self.kept);
                    }
                }
                self.header.clear();
            }
        }
        false
    }

    fn is_long(&self) -> bool {
        self.length > LONGEST_HELD
    }

    fn take_header(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) {
        let (taken, rest) = bytes.split_at((4 - self.header.len()).min(bytes.len()));
        self.header.extend_from_slice(taken);
        *bytes = rest;
        if let [a, b, c, _] = self.header[..] {
            self.length = u32::from_le_bytes([a, b, c, 0]) as usize;
            self.missing = self.length;
            self.kept.clear();
            if self.is_long() {
                out.extend_from_slice(&self.header);
            }
        }
    }

    fn take_body(&mut self, bytes: &mut &[u8], out: &mut Vec<u8>) {
        let (taken, rest) = bytes.split_at(self.missing.min(bytes.len()));
        let most = if self.is_long() { KEPT } else { LONGEST_HELD };
        let kept = taken.len().min(most.saturating_sub(self.kept.len()));
        self.kept.extend_from_slice(&taken[..kept]);
        if self.is_long() {
            out.extend_from_slice(taken);
        }
        self.missing -= taken.len();
        *bytes = rest;
    }

    fn pass_with(&self, text: &[u8], out: &mut Vec<u8>) {
        let [a, b, c, _] = u32::try_from(text.len() + 1).unwrap_or(0).to_le_bytes();
        out.extend_from_slice(&[a, b, c, self.header[3]]);
        out.extend(self.kept.first());
        out.extend_from_slice(text);
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
        let long = [b"\x03SELECT ".as_slice(), &vec![b'x'; 70_000]].concat();
        let stream = [
            packet(0, b"\x03start transaction read only; SET @a = 1"),
            packet(0, b"\x03SELECT 1"),
            packet(0, &long),
            packet(1, b"\x11 the contents of a file"),
            packet(0, b"\x03 /* all */ commit;"),
            packet(0, b"\x17...."),
            packet(0, b"\x03START TRANSACTION; SELECT 1; COMMIT"),
            packet(0, b"\x03SHOW WARNINGS; COMMIT; SET @a = 1"),
            packet(0, b"\x01"),
        ]
        .concat();
        for size in [1, 2, 5, 7, 4096, 100_000] {
            let mut commands = Commands::default();
            let (mut seen, mut passed) = (Vec::new(), Vec::new());
            for chunk in stream.chunks(size) {
                commands.feed(chunk, &mut passed, |command| {
                    assert!(!command.is_change_user());
                    seen.push((command.is_query(), command.is_commit(), command.is_quit()));
                    Passed::Unchanged
                });
            }
            assert_eq!(passed, stream, "in pieces of {size}");
            let (query, other) = ((true, false, false), (false, false, false));
            let commit = (false, true, false);
            let both = (true, true, false);
            let expected = [other, query, query, commit, query, query, both, (false, false, true)];
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn a_text_can_be_changed_and_a_command_refused() {
        let stream =
            [packet(0, b"\x03a"), packet(0, b"\x16b"), packet(0, b"\x11c"), packet(0, b"\x03d")];
        let (stream, mut passed) = (stream.concat(), Vec::new());
        let mut commands = Commands::default();
        let refused = commands.feed(&stream, &mut passed, |command| match command.text() {
            Some(b"b") => Passed::WithText(b"longer".to_vec()),
            Some(_) => Passed::Unchanged,
            None => Passed::Refused,
        });
        assert!(refused);
        assert_eq!(passed, [packet(0, b"\x03a"), packet(0, b"\x16longer")].concat());
    }
}
