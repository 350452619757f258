//! Between an accepted client and PostgreSQL: messages pass unchanged, until a fault stops them.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::frames::Frames;
use super::startup;
use super::traffic::Traffic;
use crate::gate::faults::{Faults, Passage, Reset, only_reset};

const BUFFER: usize = 64 * 1024;
/// How many bytes of answers wait for the one to COMMIT.
const LONGEST_HELD: usize = 1024 * 1024;
const READY_FOR_QUERY: u8 = b'Z';
const BACKEND_KEY_DATA: u8 = b'K';
pub(super) const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
pub(super) const ERROR: u8 = b'E';

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the protocol's Terminate.
    Terminated,
    /// By a closed connection.
    Closed,
}

/// Relays until either side ends, and calls `pinned` for each statement that has run, and that would pin a
/// session of RDS Proxy.
pub(super) async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    server: UnixStream,
    traffic: Traffic,
    faults: &Faults,
    pinned: impl Fn(&'static str),
) -> io::Result<End> {
    let traffic = Mutex::new(traffic);
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = server.into_split();
    let up = queries(from_client, to_server, &traffic, faults);
    let down = answers(from_server, to_client, &traffic, faults, pinned);
    // When either side ends, so does the other.
    let ended = tokio::select! {
        result = up => result,
        result = down => result,
    };
    only_reset(ended)?;
    let is_terminated = traffic.lock().unwrap_or_else(PoisonError::into_inner).is_terminated;
    Ok(if is_terminated { End::Terminated } else { End::Closed })
}

async fn queries(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: &Mutex<Traffic>,
    faults: &Faults,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut frames = Frames::default();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let mut is_reset = false;
        frames.feed(&buffer[..length], |frame| {
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            is_reset |= traffic.sent(frame, faults);
        });
        if is_reset {
            return Err(Reset.into());
        }
        to.write_all(&buffer[..length]).await?;
    }
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: &Mutex<Traffic>,
    faults: &Faults,
    pinned: impl Fn(&'static str),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut frames = Frames::default();
    let mut held = Vec::new();
    loop {
        let length = from.read(&mut buffer).await?;
        let passage = {
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            let mut is_reset = false;
            frames.feed(&buffer[..length], |frame| {
                if let Some(why) = traffic.pinned(frame) {
                    pinned(why);
                }
                is_reset |= traffic.answered(frame, faults);
            });
            if is_reset { Passage::Reset } else { traffic.passage() }
        };
        let is_last = length == 0;
        match passage {
            Passage::Reset => return Err(Reset.into()),
            Passage::Withhold if is_last => return Err(Reset.into()),
            Passage::Withhold => continue,
            Passage::Hold if !is_last && held.len() < LONGEST_HELD => {
                held.extend_from_slice(&buffer[..length]);
                continue;
            }
            Passage::Hold | Passage::Pass => {}
        }
        to.write_all(&std::mem::take(&mut held)).await?;
        to.write_all(&buffer[..length]).await?;
        if is_last {
            return to.shutdown().await;
        }
        to.flush().await?;
    }
}

/// Passes PostgreSQL's answer to a start-up packet on, up to its first ReadyForQuery, and returns the
/// session's state, if it is open. Leaves out the protocol's negotiation, which the client has had, and
/// without `with_key` the key for cancel requests.
pub(super) async fn start_session<S: AsyncWrite + Unpin>(
    client: &mut S,
    server: &mut UnixStream,
    with_key: bool,
) -> io::Result<Option<Traffic>> {
    let mut traffic = Traffic::default();
    while let Some((kind, message)) = startup::read_message(server).await? {
        let is_known = kind == NEGOTIATE_PROTOCOL_VERSION || kind == BACKEND_KEY_DATA && !with_key;
        if !is_known {
            client.write_all(&message).await?;
        }
        if kind == READY_FOR_QUERY {
            client.flush().await?;
            return Ok(Some(traffic));
        }
        Frames::default().feed(&message, |frame| traffic.told(frame));
    }
    // PostgreSQL closes the connection after an error.
    client.shutdown().await?;
    Ok(None)
}
