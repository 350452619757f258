//! Between an accepted client and MariaDB: packets pass, until a fault stops them. Only statements that make
//! users of Aurora's plugin are changed.

use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::packet::{self, FULL, Packets};
use super::traffic::{Sent, Traffic};
use super::users::for_mariadb;
use crate::gate::faults::{Faults, Passage, Reset, only_reset};
use crate::gate::settings::Secret;

/// How many bytes go together, and how many of an answer wait for its end.
const BUFFER: usize = 64 * 1024;
const LONGEST_HELD: usize = 1024 * 1024;

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

/// Relays until either side ends.
pub(super) async fn relay<S: AsyncRead + AsyncWrite + Unpin>(
    client: S,
    server: UnixStream,
    traffic: Traffic,
    faults: &Faults,
    secret: &Secret,
    change_user_refused: &[u8],
) -> io::Result<End> {
    let traffic = Mutex::new(traffic);
    let (from_client, mut to_client) = tokio::io::split(client);
    let (from_server, to_server) = server.into_split();
    // When either side ends, so does the other.
    let refused = tokio::select! {
        refused = commands(from_client, to_server, &traffic, faults, secret) => refused,
        result = answers(from_server, &mut to_client, &traffic, faults) => result.map(|()| false),
    };
    if only_reset(refused)? == Some(true) {
        packet::write(&mut to_client, 1, change_user_refused).await?;
        return Ok(End::ChangeUser);
    }
    let is_quit = traffic.lock().unwrap_or_else(PoisonError::into_inner).is_quit;
    Ok(if is_quit { End::Quit } else { End::Closed })
}

/// Passes commands on, until the client ends (`false`), or sends one that the gate refuses (`true`).
async fn commands(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    traffic: &Mutex<Traffic>,
    faults: &Faults,
    secret: &Secret,
) -> io::Result<bool> {
    let mut packets = Packets::new(from);
    let mut passed = Vec::with_capacity(BUFFER);
    while let Some(mut packet) = packets.next().await? {
        let sent = traffic.lock().unwrap_or_else(PoisonError::into_inner).sent(&packet, faults);
        match sent {
            Sent::Pass => {}
            Sent::PassSql(dialect) => {
                let replaced = for_mariadb(&packet.body[1..], dialect, secret);
                if let Some(text) = replaced.filter(|text| text.len() + 1 < FULL) {
                    packet.body.truncate(1);
                    packet.body.extend_from_slice(&text);
                }
            }
            Sent::Reset => return Err(Reset.into()),
            Sent::Refuse => return Ok(true),
        }
        packet.write_to(&mut passed);
        to.write_all(&passed).await?;
        passed.clear();
    }
    to.shutdown().await?;
    Ok(false)
}

async fn answers(
    from: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
    traffic: &Mutex<Traffic>,
    faults: &Faults,
) -> io::Result<()> {
    let lock = || traffic.lock().unwrap_or_else(PoisonError::into_inner);
    let mut packets = Packets::new(from);
    let mut passed = Vec::with_capacity(BUFFER);
    while let Some(packet) = packets.next().await? {
        let passage = lock().answered(&packet, faults);
        match passage {
            Passage::Reset => return Err(Reset.into()),
            Passage::Withhold if passed.len() > LONGEST_HELD => continue,
            _ => packet.write_to(&mut passed),
        }
        let waits = match passage {
            Passage::Withhold => true,
            Passage::Hold => passed.len() < LONGEST_HELD,
            _ => packets.has_next() && passed.len() < BUFFER,
        };
        if !waits {
            to.write_all(&passed).await?;
            to.flush().await?;
            passed.clear();
        }
    }
    if lock().is_withheld() { Err(Reset.into()) } else { Ok(()) }
}
