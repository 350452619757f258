//! PostgreSQL's side of the gate: an `rds_iam` member is asked for a clear-text password, and every
//! wrong token is refused with the same `PAM authentication failed`.

mod frames;
mod members;
mod proxy;
mod relay;
mod startup;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::connection::Connection;
use super::{Shared, link};
use crate::postgres::SOCKET;
use members::Members;
use relay::End;
use startup::{First, Startup};

/// PostgreSQL's default `authentication_timeout`.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// The PostgreSQL behind a gate.
#[derive(Debug)]
pub(super) struct Postgres {
    socket: PathBuf,
    members: Members,
}

async fn within_login_timeout<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LOGIN_TIMEOUT, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Postgres {
    pub(super) fn new(folder: &Path) -> Self {
        Self { socket: folder.join(SOCKET), members: Members::new(folder.to_owned()) }
    }

    /// Serves one client.
    pub(super) async fn serve(&self, gate: &Connection, near: link::Stream) -> io::Result<()> {
        let mut stream = BufReader::new(near);
        if !within_login_timeout(self.negotiate_tls(gate, &mut stream)).await? {
            return Ok(());
        }
        let (mut stream, version) = within_login_timeout(gate.accept_tls(stream)).await?;
        match within_login_timeout(startup::read_first(&mut stream)).await? {
            First::Cancel(packet) => self.cancel(gate, &packet).await,
            First::Startup(startup) => {
                let login = self.authenticate(gate, &mut stream, &startup, version);
                let accepted = within_login_timeout(login).await?;
                if accepted { self.open_session(gate, stream, &startup).await } else { Ok(()) }
            }
            First::Ssl | First::GssEnc => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Returns whether TLS starts now. If not, the client has its answer already.
    async fn negotiate_tls(
        &self,
        gate: &Connection,
        stream: &mut BufReader<link::Stream>,
    ) -> io::Result<bool> {
        // PostgreSQL 17's direct TLS begins with a TLS record instead of a length.
        if stream.fill_buf().await?.first() == Some(&0x16) {
            return Ok(true);
        }
        loop {
            match startup::read_first(stream).await? {
                First::Ssl => {
                    stream.write_all(b"S").await?;
                    return Ok(true);
                }
                First::GssEnc => stream.write_all(b"N").await?,
                First::Cancel(packet) => {
                    self.cancel(gate, &packet).await?;
                    return Ok(false);
                }
                First::Startup(startup) => {
                    self.refuse_without_tls(gate, stream, &startup).await?;
                    return Ok(false);
                }
            }
        }
    }

    async fn refuse_without_tls<S: AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        startup: &Startup,
    ) -> io::Result<()> {
        gate.record(&startup.user, Err("no TLS".into()), None);
        let message = format!(
            "pg_hba.conf rejects connection for host \"{}\", user \"{}\", database \"{}\", no encryption",
            gate.peer.ip(),
            startup.user,
            startup.database
        );
        startup::refuse(stream, "28000", &message).await
    }

    async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        startup: &Startup,
        tls: Option<String>,
    ) -> io::Result<bool> {
        gate.before_login()?;
        if gate.shared.settings.proxy && startup.options {
            gate.record(&startup.user, Err("start-up options, behind RDS Proxy".into()), tls);
            let message =
                "Feature not supported: RDS Proxy currently doesn't support command-line options.";
            startup::refuse(stream, "0A000", message).await?;
            return Ok(false);
        }
        let password = startup::ask_password(stream).await?;
        gate.slow_login().await;
        let user = &startup.user;
        let Ok(member) = self.members.contains(user).await else {
            self.refuse_while_down(gate, stream).await?;
            return Ok(false);
        };
        if !member {
            let reason =
                "rds_iam is not granted to this user: PostgreSQL takes the token for a password";
            gate.record(&startup.user, Err(reason.into()), tls);
            let message = format!("password authentication failed for user \"{user}\"");
            startup::refuse(stream, "28P01", &message).await?;
            return Ok(false);
        }
        match gate.check(user, &password) {
            Ok(principal) => {
                gate.record(&startup.user, Ok(principal), tls);
                Ok(true)
            }
            Err(reason) => {
                gate.record(&startup.user, Err(reason), tls);
                let message = format!("PAM authentication failed for user \"{user}\"");
                startup::refuse(stream, "28000", &message).await?;
                Ok(false)
            }
        }
    }

    async fn upstream(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.socket).await
    }

    /// Refuses a login with PostgreSQL's own message while it starts.
    async fn refuse_while_down<S: AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
    ) -> io::Result<()> {
        gate.log("login refused: PostgreSQL is stopped or starting");
        startup::refuse(stream, "57P03", "the database system is starting up").await
    }

    async fn cancel(&self, gate: &Connection, packet: &[u8]) -> io::Result<()> {
        gate.log("cancel request");
        let mut upstream = self.upstream().await?;
        upstream.write_all(packet).await?;
        // PostgreSQL closes the connection when it has handled the request.
        let mut rest = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut upstream, &mut rest).await?;
        Ok(())
    }

    /// Has PostgreSQL answer the start-up packet: it trusts the gate on its private socket.
    async fn open_session<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        mut stream: S,
        startup: &Startup,
    ) -> io::Result<()> {
        let Ok(mut upstream) = self.upstream().await else {
            return self.refuse_while_down(gate, &mut stream).await;
        };
        upstream.write_all(&startup.packet).await?;
        let Shared { settings, faults, pinned, .. } = &*gate.shared;
        if !relay::start_session(&mut stream, &mut upstream, !settings.proxy).await? {
            return Ok(());
        }
        let pins = |why: &'static str| {
            if settings.proxy {
                pinned.fetch_add(1, Ordering::Relaxed);
                gate.log(&format!("session pinned: {why}"));
            }
        };
        let end = relay::relay(stream, upstream, faults, pins).await?;
        gate.log(match end {
            End::Terminated => "session ended: Terminate",
            End::Closed => "session ended: connection closed without Terminate",
        });
        Ok(())
    }
}
