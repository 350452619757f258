//! Faults that can be switched on and off while connections are open.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// What is wrong with the network or the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Connections stay open and silent, in both directions.
    Stall,
    /// Connections are reset, open ones and new ones.
    Reset,
}

/// Copies bytes until the sender ends, holding them back while stalled.
pub(super) async fn pump<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    mut to: W,
    mut fault: watch::Receiver<Fault>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        wait_while_stalled(&mut fault).await;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}

/// Returns at once, or when the stall is over.
pub(super) async fn wait_while_stalled(fault: &mut watch::Receiver<Fault>) {
    // An error means that the gate is gone, and this connection with it.
    let _ = fault.wait_for(|fault| *fault != Fault::Stall).await;
}

/// Closes a connection with a TCP reset when the fault is switched on.
pub(super) struct ResetOnDemand {
    linger: Option<socket2::Socket>,
    fault: watch::Receiver<Fault>,
}

impl ResetOnDemand {
    pub(super) fn new(stream: &TcpStream, fault: watch::Receiver<Fault>) -> Self {
        let linger = socket2::SockRef::from(stream).try_clone().ok();
        Self { linger, fault }
    }

    /// Waits for the fault, then makes the coming close a reset.
    pub(super) async fn wait(mut self) {
        if self.fault.wait_for(|fault| *fault == Fault::Reset).await.is_err() {
            std::future::pending::<()>().await;
        }
        if let Some(socket) = &self.linger {
            let _ = socket.set_linger(Some(std::time::Duration::ZERO));
        }
    }
}
