//! Between an accepted client and PostgreSQL: messages pass unchanged, until a fault stops them.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::frames::{Frame, Frames};
use super::proxy;
use crate::gate::faults::{Fault, Faults, Reset};

const BUFFER: usize = 64 * 1024;
const READY_FOR_QUERY: u8 = b'Z';
const BACKEND_KEY_DATA: u8 = b'K';

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
/// whether the session is open. Without `with_key`, leaves out the key for cancel requests.
pub(super) async fn start_session<S: AsyncWrite + Unpin>(
    client: &mut S,
    server: &mut UnixStream,
    with_key: bool,
) -> io::Result<bool> {
    loop {
        let kind = match server.read_u8().await {
            Ok(kind) => kind,
            // PostgreSQL closes the connection after an error.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                client.shutdown().await?;
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        let length = server.read_u32().await?;
        let mut contents = vec![0; (length as usize).saturating_sub(4)];
        server.read_exact(&mut contents).await?;
        if kind != BACKEND_KEY_DATA || with_key {
            let message = [&[kind], &length.to_be_bytes()[..], &contents].concat();
            client.write_all(&message).await?;
        }
        if kind == READY_FOR_QUERY {
            client.flush().await?;
            return Ok(true);
        }
    }
}
