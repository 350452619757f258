//! PostgreSQL's messages in a stream of bytes: a type, a length, and the start of the contents
//! (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

/// How many bytes of a message are kept: enough to recognise a statement.
const KEPT: usize = 1024;

/// One complete message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// Its type.
    pub(super) kind: u8,
    /// The start of its contents.
    pub(super) start: &'a [u8],
    /// How long its contents are.
    pub(super) length: usize,
}

/// Parses one direction of a connection, after its start-up packet.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    kept: Vec<u8>,
    length: usize,
    missing: usize,
}

impl Frames {
    /// Takes the next bytes, and calls `each` for every message that they complete.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame<'_>)) {
        while !bytes.is_empty() {
            if self.header.len() < 5 {
                self.header.push(bytes[0]);
                bytes = &bytes[1..];
                if self.header.len() < 5 {
                    continue;
                }
                let length = [1, 2, 3, 4].map(|index: usize| self.header[index]);
                // The length counts itself.
                self.length = (u32::from_be_bytes(length) as usize).saturating_sub(4);
                self.missing = self.length;
                self.kept.clear();
            } else {
                let taken = self.missing.min(bytes.len());
                let kept = taken.min(KEPT.saturating_sub(self.kept.len()));
                self.kept.extend_from_slice(&bytes[..kept]);
                self.missing -= taken;
                bytes = &bytes[taken..];
            }
            if self.missing == 0 {
                each(Frame { kind: self.header[0], start: &self.kept, length: self.length });
                self.header.clear();
            }
        }
    }
}

impl Frame<'_> {
    /// The kept part of a Query or Parse message's statement; `None` for other messages.
    pub(super) fn statement(&self) -> Option<String> {
        let text = match self.kind {
            b'Q' => self.start,
            // After the prepared statement's name.
            b'P' => self.start.splitn(2, |byte| *byte == 0).nth(1)?,
            _ => return None,
        };
        let text = text.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Whether a statement is prepared under a name, to be used again.
    pub(super) fn is_named_parse(&self) -> bool {
        self.kind == b'P' && self.start.first().is_some_and(|byte| *byte != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, contents: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend_from_slice(&u32::try_from(contents.len() + 4).unwrap().to_be_bytes());
        message.extend_from_slice(contents);
        message
    }

    #[test]
    fn messages_are_found_at_any_split() {
        let long = vec![b'x'; 3000];
        let stream = [
            message(b'Q', b"BEGIN\0"),
            message(b'P', b"\0SELECT 1\0\0\0"),
            message(b'S', b""),
            message(b'd', &long),
            message(b'P', b"name\0SELECT 2\0\0\0"),
        ]
        .concat();
        for size in [1, 2, 5, 7, 4096] {
            let mut frames = Frames::default();
            let mut seen = Vec::new();
            for chunk in stream.chunks(size) {
                frames.feed(chunk, |frame| {
                    seen.push((
                        frame.kind,
                        frame.statement(),
                        frame.is_named_parse(),
                        frame.length,
                    ));
                });
            }
            let expected = [
                (b'Q', Some("BEGIN".to_owned()), false, 6),
                (b'P', Some("SELECT 1".to_owned()), false, 12),
                (b'S', None, false, 0),
                (b'd', None, false, 3000),
                (b'P', Some("SELECT 2".to_owned()), true, 16),
            ];
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }
}
