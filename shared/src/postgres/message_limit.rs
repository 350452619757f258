//! A limit on the size of one message from the server.
//!
//! tokio-postgres reads a whole message before it hands over any of it, so a row of 250 MB would be in
//! memory before its length is checked. A message begins with its type and length
//! (<https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-MESSAGE-CONCEPTS>): one
//! that is too long ends the connection before its body is read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};

use crate::query::MAX_RESPONSE_BYTES;

/// No row that is longer fits into a response.
const LONGEST: usize = MAX_RESPONSE_BYTES + 64 * 1024;
/// The type and the length, which counts itself and not the type.
const HEADER: usize = 5;

/// Whether a connection ended because a message was too long.
pub(super) type TooLong = Arc<AtomicBool>;

/// A stream of backend messages that ends before one that is too long.
pub(super) struct Limited<S> {
    inner: S,
    frames: Frames,
    too_long: TooLong,
}

impl<S> Limited<S> {
    pub(super) fn new(inner: S, too_long: TooLong) -> Self {
        Self { inner, frames: Frames::default(), too_long }
    }
}

/// Where the next message begins.
#[derive(Default)]
struct Frames {
    header: [u8; HEADER],
    header_read: usize,
    body_left: usize,
}

impl Frames {
    /// Takes the next bytes. Returns how many of them belong to messages that are short enough, which
    /// is all of them unless one is too long.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            if self.body_left > 0 {
                let step = self.body_left.min(bytes.len() - at);
                self.body_left -= step;
                at += step;
                continue;
            }
            let step = (HEADER - self.header_read).min(bytes.len() - at);
            self.header[self.header_read..self.header_read + step]
                .copy_from_slice(&bytes[at..at + step]);
            self.header_read += step;
            if self.header_read == HEADER {
                let [_, length @ ..] = self.header;
                let length = u32::from_be_bytes(length) as usize;
                if length > LONGEST {
                    return at;
                }
                (self.header_read, self.body_left) = (0, length.saturating_sub(HEADER - 1));
            }
            at += step;
        }
        at
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Limited<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        if !this.too_long.load(Ordering::Relaxed) {
            ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
            let new = &buf.filled()[before..];
            let (taken, all) = (this.frames.take(new), new.len());
            if taken == all {
                return Poll::Ready(Ok(()));
            }
            this.too_long.store(true, Ordering::Relaxed);
            // The messages before it are still good.
            buf.set_filled(before + taken);
            if taken > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        let why = "a message of the server is longer than a response can be";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, why)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Limited<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Limited<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    fn message(length: usize) -> Vec<u8> {
        let mut bytes = vec![b'D'];
        bytes.extend(u32::try_from(length + 4).unwrap().to_be_bytes());
        bytes.extend(std::iter::repeat_n(b'x', length));
        bytes
    }

    #[tokio::test]
    async fn messages_pass_at_any_split() {
        let mut sent = message(0);
        sent.extend(message(1000));
        sent.extend(message(LONGEST - 4));
        for piece in [1, 4, 5, 7, 4096] {
            let sent = &sent[..if piece == 1 { 1010 } else { sent.len() }];
            let mut frames = Frames::default();
            assert!(sent.chunks(piece).all(|bytes| frames.take(bytes) == bytes.len()), "{piece}");
        }
    }

    #[tokio::test]
    async fn the_messages_before_a_long_one_still_arrive() {
        let mut sent = message(10);
        let good = sent.len();
        sent.extend(message(LONGEST));
        let too_long = TooLong::default();
        let mut stream = Limited::new(&sent[..], too_long.clone());
        let mut received = Vec::new();
        let error = stream.read_to_end(&mut received).await.unwrap_err();
        assert_eq!((error.kind(), received.len()), (io::ErrorKind::InvalidData, good));
        assert!(too_long.load(Ordering::Relaxed));
    }
}
