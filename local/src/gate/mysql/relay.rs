//! Between an accepted client and MariaDB: packets pass, until a fault stops them. Only statements that make
//! users of Aurora's plugin are changed.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::packet::{self, Commands, Passed};
use super::users::for_mariadb;
use crate::gate::Secret;
use crate::gate::faults::{Fault, Faults, Reset, only_reset};

const BUFFER: usize = 64 * 1024;

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With the protocol's COM_QUIT.
    Quit,
    /// By a closed connection.
    Closed,
    /// With COM_CHANGE_USER, which would log in another user without a token.
    ChangeUser,
}

/// The state of a session that faults depend on.
#[derive(Debug, Default)]
struct Traffic {
    /// The next answer is to be withheld, and the connection reset.
    withheld: bool,
    quit: bool,
}

/// Relays until either side ends.
pub(super) async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    server: UnixStream,
    faults: &Faults,
    secret: &Secret,
    change_user_refused: &[u8],
) -> io::Result<End> {
    let traffic = Mutex::new(Traffic::default());
    let (from_client, mut to_client) = tokio::io::split(client);
    let (from_server, to_server) = server.into_split();
    // When either side ends, so does the other.
    let refused = tokio::select! {
        refused = commands(from_client, to_server, &traffic, faults, secret) => refused,
        result = answers(from_server, &mut to_client, &traffic) => result.map(|()| false),
    };
    if only_reset(refused)? == Some(true) {
        packet::write(&mut to_client, 1, change_user_refused).await?;
        to_client.shutdown().await?;
        return Ok(End::ChangeUser);
    }
    let quit = traffic.lock().unwrap_or_else(PoisonError::into_inner).quit;
    Ok(if quit { End::Quit } else { End::Closed })
}

/// Passes commands on, until the client ends (`false`), or sends one that the gate refuses (`true`).
async fn commands(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: &Mutex<Traffic>,
    faults: &Faults,
    secret: &Secret,
) -> io::Result<bool> {
    let mut buffer = vec![0; BUFFER];
    let mut commands = Commands::default();
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            to.shutdown().await?;
            return Ok(false);
        }
        let mut reset = false;
        let mut passed = Vec::with_capacity(length);
        let refused = commands.feed(&buffer[..length], &mut passed, |command| {
            let mut traffic = traffic.lock().unwrap_or_else(PoisonError::into_inner);
            traffic.quit |= command.is_quit();
            if command.is_query() {
                reset |= faults.hits(Fault::ResetBeforeQuery);
                traffic.withheld |= faults.hits(Fault::ResetBeforeAnswer);
            }
            if command.is_commit() {
                traffic.withheld |= faults.hits(Fault::ResetAtCommit);
            }
            if command.is_change_user() {
                return Passed::Refused;
            }
            match command.text().and_then(|text| for_mariadb(text, secret)) {
                Some(text) => Passed::WithText(text),
                None => Passed::Unchanged,
            }
        });
        if reset {
            return Err(Reset.into());
        }
        to.write_all(&passed).await?;
        if refused {
            return Ok(true);
        }
    }
}

async fn answers(
    mut from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    traffic: &Mutex<Traffic>,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        // The answer's first bytes tell that MariaDB has run the statement.
        if traffic.lock().unwrap_or_else(PoisonError::into_inner).withheld {
            return Err(Reset.into());
        }
        to.write_all(&buffer[..length]).await?;
        to.flush().await?;
    }
}
