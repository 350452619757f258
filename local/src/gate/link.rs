//! The network between a client and the gate: latency and stalls happen here, below TLS.

use std::future::pending;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::faults::Watch;
use crate::drain;

const BUFFER: usize = 64 * 1024;

/// The gate's end of a link.
pub(super) type Stream = DuplexStream;

/// A client's connection, on its way through the network.
pub(super) struct Link {
    client: TcpStream,
    far: DuplexStream,
    latency: Duration,
    faults: Watch,
}

impl Link {
    /// A link with this latency each way, and the end of it that the gate serves.
    pub(super) fn new(client: TcpStream, latency: Duration, faults: Watch) -> (Self, Stream) {
        let (near, far) = tokio::io::duplex(BUFFER);
        (Self { client, far, latency, faults }, near)
    }

    /// A second handle of the socket, to silence or reset it.
    pub(super) fn socket(&self) -> io::Result<socket2::Socket> {
        socket2::SockRef::from(&self.client).try_clone()
    }

    /// Carries bytes both ways, until the gate's end is closed and everything is delivered, or the
    /// client no longer accepts bytes.
    pub(super) async fn carry(mut self) {
        {
            let (from_client, to_client) = self.client.split();
            let (from_gate, to_gate) = tokio::io::split(self.far);
            // The kernel has answered the client's SYN already, so the first bytes wait for that round
            // trip.
            let handshake = self.latency * 2;
            let up = pump(from_client, to_gate, self.latency, handshake, self.faults.clone());
            let down = pump(from_gate, to_client, self.latency, Duration::ZERO, self.faults);
            tokio::select! {
                _ = down => {}
                () = async { let _ = up.await; pending().await } => {}
            }
        }
        drain::linger(&mut self.client).await;
    }
}

/// Copies bytes until the sender ends, each after `latency`, and the first after `first_after` more.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    latency: Duration,
    first_after: Duration,
    mut faults: Watch,
) -> io::Result<()> {
    let (queue, mut due) = mpsc::channel(256);
    let read = async move {
        let mut extra = first_after;
        let mut buffer = vec![0; BUFFER];
        // An error ends the sender too; the bytes before it are still delivered.
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let at = Instant::now() + latency + std::mem::take(&mut extra);
            if queue.send((at, buffer[..length].to_vec())).await.is_err() {
                break;
            }
        }
        drop(queue);
        pending().await
    };
    let write = async move {
        while let Some((at, chunk)) = due.recv().await {
            if at > Instant::now() {
                sleep_until(at).await;
            }
            faults.pass().await;
            to.write_all(&chunk).await?;
        }
        faults.pass().await;
        to.shutdown().await
    };
    tokio::select! {
        result = write => result,
        result = read => result,
    }
}
