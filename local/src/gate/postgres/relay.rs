//! Between an accepted client and PostgreSQL: messages pass unchanged, until a fault stops them.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::frames::{Frame, Frames};
use super::{proxy, startup};
use crate::gate::faults::{Fault, Faults, Reset};

const BUFFER: usize = 64 * 1024;
const READY_FOR_QUERY: u8 = b'Z';
const BACKEND_KEY_DATA: u8 = b'K';
pub(super) const NEGOTIATE_PROTOCOL_VERSION: u8 = b'v';
pub(super) const ERROR: u8 = b'E';

/// The state of a session that faults depend on.
#[derive(Debug, Default)]
struct Traffic {
    /// Answers that PostgreSQL still owes: one for each Query and Sync.
    owed: usize,
    /// The answers are to be withheld, and the connection reset after the last.
    withheld: bool,
    /// The client has sent Terminate.
    terminated: bool,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the protocol's Terminate.
    Terminated,
    /// By a closed connection.
    Closed,
}

/// Relays until either side ends, and calls `pinned` for each statement that would pin a session of
/// RDS Proxy.
pub(super) async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    server: UnixStream,
    faults: &Faults,
    pinned: impl Fn(&'static str),
) -> io::Result<End> {
    let traffic = Mutex::new(Traffic::default());
    let (from_client, to_client) = tokio::io::split(client);
    let (from_server, to_server) = server.into_split();
    let up = queries(from_client, to_server, &traffic, faults, pinned);
    let down = answers(from_server, to_client, &traffic);
    // When either side ends, so does the other.
    tokio::select! {
        result = up => result?,
        result = down => result?,
    }
    let terminated = traffic.lock().unwrap_or_else(PoisonError::into_inner).terminated;
    Ok(if terminated { End::Terminated } else { End::Closed })
}

async fn queries(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: &Mutex<Traffic>,
    faults: &Faults,
    pinned: impl Fn(&'static str),
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut frames = Frames::default();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let mut reset = false;
        frames.feed(&buffer[..length], |frame| {
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            traffic.owed += usize::from(matches!(frame.kind, b'Q' | b'S'));
            traffic.terminated |= frame.kind == b'X';
            if is_query(frame) {
                reset |= faults.hits(Fault::ResetBeforeQuery);
                traffic.withheld |= faults.hits(Fault::ResetBeforeAnswer);
            }
            if is_commit(frame) {
                traffic.withheld |= faults.hits(Fault::ResetAtCommit);
            }
            if let Some(why) = proxy::pins(frame) {
                pinned(why);
            }
        });
        if reset {
            return Err(Reset.into());
        }
        to.write_all(&buffer[..length]).await?;
    }
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: &Mutex<Traffic>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut frames = Frames::default();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        let withheld = {
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            frames.feed(&buffer[..length], |frame| {
                if frame.kind == READY_FOR_QUERY {
                    traffic.owed = traffic.owed.saturating_sub(1);
                }
            });
            if traffic.withheld && traffic.owed == 0 {
                return Err(Reset.into());
            }
            traffic.withheld
        };
        if !withheld {
            to.write_all(&buffer[..length]).await?;
            to.flush().await?;
        }
    }
}

/// Whether a message is a query of the client's: not an empty Query, which only probes the server,
/// and not BEGIN, COMMIT or ROLLBACK.
fn is_query(frame: Frame<'_>) -> bool {
    frame.statement().is_some_and(|statement| {
        let first = statement.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        !statement.is_empty() && !matches!(first, "BEGIN" | "COMMIT" | "ROLLBACK")
    })
}

fn is_commit(frame: Frame<'_>) -> bool {
    frame.kind == b'Q' && frame.statement().is_some_and(|statement| statement == "COMMIT")
}

/// Passes PostgreSQL's answer to a start-up packet on, up to its first ReadyForQuery, and returns
/// whether the session is open. Leaves out the protocol's negotiation, which the client has had, and
/// without `with_key` the key for cancel requests.
pub(super) async fn start_session<S: AsyncWrite + Unpin>(
    client: &mut S,
    server: &mut UnixStream,
    with_key: bool,
) -> io::Result<bool> {
    while let Some((kind, message)) = startup::read_message(server).await? {
        let is_known = kind == NEGOTIATE_PROTOCOL_VERSION || kind == BACKEND_KEY_DATA && !with_key;
        if !is_known {
            client.write_all(&message).await?;
        }
        if kind == READY_FOR_QUERY {
            client.flush().await?;
            return Ok(true);
        }
    }
    // PostgreSQL closes the connection after an error.
    client.shutdown().await?;
    Ok(false)
}
