//! MySQL's packets: a length, a sequence number, and the contents
//! (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_packets.html>).

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

/// A packet of a login is shorter: a token has one to two kilobytes, and connection attributes are
/// limited to 64 KiB.
const LONGEST: usize = 256 * 1024;
/// A packet of this length continues in the next.
pub(super) const FULL: usize = 0xff_ffff;
const BUFFER: usize = 64 * 1024;

/// The first byte of an answer that is good, or that is an error.
pub(super) const OK: u8 = 0x00;
pub(super) const ERROR: u8 = 0xff;

/// One packet.
#[derive(Debug)]
pub(super) struct Packet {
    /// Its number; the answer has the next.
    pub(super) sequence: u8,
    pub(super) body: Vec<u8>,
    /// Whether it continues the packet before.
    pub(super) is_rest: bool,
}

/// Reads one packet of a login, and nothing beyond it.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Packet> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    if length(header) > LONGEST {
        return Err(invalid("a packet of the login is too long"));
    }
    let mut body = vec![0; length(header)];
    stream.read_exact(&mut body).await?;
    Ok(Packet { sequence: header[3], body, is_rest: false })
}

/// Writes one packet.
pub(super) async fn write<S: AsyncWrite + Unpin>(
    stream: &mut S,
    sequence: u8,
    body: &[u8],
) -> io::Result<()> {
    let mut out = Vec::new();
    Packet { sequence, body: body.to_vec(), is_rest: false }.write_to(&mut out);
    stream.write_all(&out).await?;
    stream.flush().await
}

/// An error as the server words it: `ERROR 1045 (28000): …`.
pub(super) fn error(code: u16, sqlstate: &str, message: &str) -> Vec<u8> {
    [&[0xff], &code.to_le_bytes()[..], b"#", sqlstate.as_bytes(), message.as_bytes()].concat()
}

pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The packets of one direction of a session.
pub(super) struct Packets<S> {
    stream: BufReader<S>,
    is_full: bool,
}

impl<S: AsyncRead + Unpin> Packets<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: BufReader::with_capacity(BUFFER, stream), is_full: false }
    }

    /// The next packet; `None` when the sender has ended.
    pub(super) async fn next(&mut self) -> io::Result<Option<Packet>> {
        let mut header = [0; 4];
        match self.stream.read_exact(&mut header).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        };
        let mut body = vec![0; length(header)];
        self.stream.read_exact(&mut body).await?;
        let is_rest = std::mem::replace(&mut self.is_full, body.len() == FULL);
        Ok(Some(Packet { sequence: header[3], body, is_rest }))
    }

    /// Whether the next packet is here already, so that what goes with it may wait for it.
    pub(super) fn has_next(&self) -> bool {
        let buffer = self.stream.buffer();
        buffer.first_chunk().is_some_and(|header| buffer.len() - 4 >= length(*header))
    }
}

fn length([a, b, c, _]: [u8; 4]) -> usize {
    u32::from_le_bytes([a, b, c, 0]) as usize
}

impl Packet {
    /// As it is on the wire.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let [a, b, c, _] = u32::try_from(self.body.len()).unwrap_or(0).to_le_bytes();
        out.extend_from_slice(&[a, b, c, self.sequence]);
        out.extend_from_slice(&self.body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(sequence: u8, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Packet { sequence, body: body.to_vec(), is_rest: false }.write_to(&mut out);
        out
    }

    #[tokio::test]
    async fn packets_are_found_however_the_bytes_are_cut() {
        let full = vec![b'x'; FULL];
        let short = [framed(0, b"\x03a"), framed(1, b""), framed(0, b"\x01")].concat();
        let long = [framed(0, &full), framed(1, b""), framed(0, b"\x01")].concat();
        for (sent, size, expected) in [
            (&short, 1, [(0, 2, false), (1, 0, false), (0, 1, false)]),
            (&short, 5, [(0, 2, false), (1, 0, false), (0, 1, false)]),
            (&long, BUFFER, [(0, FULL, false), (1, 0, true), (0, 1, false)]),
        ] {
            let (mut near, far) = tokio::io::duplex(size);
            let sent = sent.clone();
            let write = tokio::spawn(async move { near.write_all(&sent).await.unwrap() });
            let mut packets = Packets::new(far);
            let mut seen = Vec::new();
            while let Some(packet) = packets.next().await.unwrap() {
                seen.push((packet.sequence, packet.body.len(), packet.is_rest));
            }
            write.await.unwrap();
            assert_eq!(seen, expected, "in pieces of {size}");
        }
    }
}
