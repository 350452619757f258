//! Serves one client: its connection passes through the network, whose faults happen here, to the part of the gate
//! that speaks its protocol.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::connection::Connection;
use super::link::{self, Link};
use super::settings::Upstream;
use super::{faults, mysql, postgres, silence};

/// The protocol that the gate speaks.
#[derive(Debug)]
pub(super) enum Protocol {
    Postgres(postgres::Postgres),
    Mysql(mysql::Mysql),
}

impl Protocol {
    pub(super) fn of(upstream: &Upstream) -> Self {
        match upstream {
            Upstream::Postgres(folder) => Self::Postgres(postgres::Postgres::new(folder)),
            Upstream::Mysql { socket, secret } => Self::Mysql(mysql::Mysql::new(socket, secret)),
        }
    }

    async fn serve(&self, connection: &Connection, near: link::Stream) -> io::Result<()> {
        match self {
            Self::Postgres(postgres) => postgres.serve(connection, near).await,
            Self::Mysql(mysql) => mysql.serve(connection, near).await,
        }
    }
}

/// Serves the client until it ends.
pub(super) async fn serve(connection: Connection, protocol: Arc<Protocol>, stream: TcpStream) {
    let shared = connection.shared.clone();
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let watch = shared.faults.watch();
    let (link, near) = Link::new(stream, shared.settings.latency, watch.clone());
    let Ok(socket) = link.socket() else { return };
    let mut carry = std::pin::pin!(link.carry());
    let mut run = std::pin::pin!(protocol.serve(&connection, near));
    let (ended, gone) = tokio::select! {
        () = watch.clone().reset() => (Err(faults::Reset.into()), false),
        () = drop_on_demand(watch, &socket, &connection) => return,
        result = &mut run => (result, false),
        // The client is gone. The session finds its end closed, and has its line in the log.
        () = &mut carry => ((&mut run).await, true),
    };
    match ended {
        Err(error) if faults::is_reset(&error) => {
            connection.log_reset(&error);
            // Makes the coming close a reset.
            let _ = socket.set_linger(Some(Duration::ZERO));
            return;
        }
        // A client that closes its connection is not worth a line, a malformed message is.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            connection.log(&format!("connection dropped: {error}"));
        }
        _ => {}
    }
    if !gone {
        carry.await;
    }
}

/// Waits for the fault that silences open connections, then silences this one for good.
async fn drop_on_demand(watch: faults::Watch, socket: &socket2::Socket, connection: &Connection) {
    watch.dropped().await;
    match silence::silence(socket) {
        Ok(()) => connection.log("connection silenced: fault injection"),
        Err(error) => connection.log(&format!("connection ignored, but not silenced: {error}")),
    }
    // Closing it would tell the client.
    std::future::pending().await
}
