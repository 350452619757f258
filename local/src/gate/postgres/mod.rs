//! PostgreSQL's side of the gate: an `rds_iam` member is asked for a clear-text password, and every
//! wrong token is refused with the same `PAM authentication failed`.

mod asked;
mod frames;
mod members;
mod proxy;
mod relay;
mod startup;
mod tls;
mod traffic;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::connection::Connection;
use super::settings::Shared;
use super::{faults, link};
use crate::postgres::SOCKET;
use members::Members;
use relay::End;
use startup::{First, Startup};

/// PostgreSQL's default `authentication_timeout`.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(60);

/// PostgreSQL's refusals before a login are one sentence.
const LONGEST_REFUSAL: u64 = 64 * 1024;
/// The reason that the log gives.
const NO_REPLICATION: &str = "a replication connection, and rds.iam_auth_for_replication is off: start \
                              rds-local with --iam-auth-for-replication";

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
        let Some(start) = within_login_timeout(self.negotiate_tls(gate, &mut stream)).await? else {
            return Ok(());
        };
        let (mut stream, version) = within_login_timeout(gate.accept_tls(stream)).await?;
        let ended = if start.is_satisfied(stream.get_ref().1) {
            self.serve_encrypted(gate, &mut stream, version).await
        } else {
            gate.log("connection refused: direct TLS without the ALPN protocol postgresql");
            Ok(())
        };
        if !ended.as_ref().is_err_and(faults::is_reset) {
            // TLS's own end: without it, clients report that the connection broke off.
            let _ = within_login_timeout(stream.shutdown()).await;
        }
        ended
    }

    async fn serve_encrypted(
        &self,
        gate: &Connection,
        stream: &mut TlsStream<BufReader<link::Stream>>,
        version: Option<String>,
    ) -> io::Result<()> {
        let tls = tls::describe(stream.get_ref().1, version.as_deref());
        match within_login_timeout(startup::read_first(stream)).await? {
            First::Cancel(packet) => self.cancel(gate, &packet).await,
            First::Startup(startup) => {
                let login = self.authenticate(gate, stream, &startup, version);
                let is_accepted = within_login_timeout(login).await?;
                if !is_accepted {
                    return Ok(());
                }
                self.open_session(gate, stream, &startup.packet(tls::PARAMETER, &tls)).await
            }
            First::Malformed(packet) => {
                within_login_timeout(self.refuse_malformed(gate, stream, &packet)).await
            }
            First::Ssl | First::GssEnc => {
                Err(startup::invalid("the client asked for encryption twice"))
            }
        }
    }

    /// Returns how TLS starts now. If it does not, the client has its answer already.
    async fn negotiate_tls(
        &self,
        gate: &Connection,
        stream: &mut BufReader<link::Stream>,
    ) -> io::Result<Option<tls::Start>> {
        // PostgreSQL 17's direct TLS begins with a TLS record instead of a length.
        if stream.fill_buf().await?.first() == Some(&0x16) {
            return Ok(Some(tls::Start::Direct));
        }
        loop {
            match startup::read_first(stream).await? {
                // As PostgreSQL, since CVE-2021-23214: what came before TLS is not read as if inside it.
                First::Ssl if !stream.buffer().is_empty() => {
                    return Err(startup::invalid(
                        "the client sent data between its request and TLS",
                    ));
                }
                First::Ssl => {
                    stream.write_all(b"S").await?;
                    return Ok(Some(tls::Start::Requested));
                }
                First::GssEnc => stream.write_all(b"N").await?,
                First::Cancel(packet) => {
                    self.cancel(gate, &packet).await?;
                    return Ok(None);
                }
                First::Startup(startup) => {
                    self.negotiate_protocol(stream, &startup).await?;
                    self.refuse_without_tls(gate, stream, &startup).await?;
                    return Ok(None);
                }
                First::Malformed(packet) => {
                    self.refuse_malformed(gate, stream, &packet).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Tells a client that asks for more than protocol 3.0 what PostgreSQL knows of it, which PostgreSQL
    /// does before it asks for a password.
    async fn negotiate_protocol<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        startup: &Startup,
    ) -> io::Result<()> {
        let Some(packet) = startup.negotiation() else { return Ok(()) };
        // A stopped server is the next step's to tell.
        let Ok(upstream) = self.upstream().await else { return Ok(()) };
        pass_before_login(upstream, stream, &packet, &[relay::NEGOTIATE_PROTOCOL_VERSION]).await
    }

    /// Has PostgreSQL itself refuse a start-up packet that opens no session.
    async fn refuse_malformed<S: AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        packet: &[u8],
    ) -> io::Result<()> {
        let Ok(upstream) = self.upstream().await else {
            return self.refuse_while_down(gate, stream).await;
        };
        gate.log("connection refused: PostgreSQL cannot read the start-up packet");
        let kinds = [relay::NEGOTIATE_PROTOCOL_VERSION, relay::ERROR];
        pass_before_login(upstream, stream, packet, &kinds).await?;
        stream.shutdown().await
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
        if gate.shared.settings.proxy && startup.has_options {
            gate.record(&startup.user, Err("start-up options, behind RDS Proxy".into()), tls);
            let message =
                "Feature not supported: RDS Proxy currently doesn't support command-line options.";
            startup::refuse(stream, "0A000", message).await?;
            return Ok(false);
        }
        self.negotiate_protocol(stream, startup).await?;
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
        let checked = match startup.is_replication && !gate.shared.settings.iam_auth_for_replication
        {
            true => Err(NO_REPLICATION.into()),
            false => gate.check(user, &password),
        };
        match checked {
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
        upstream.read_to_end(&mut rest).await?;
        Ok(())
    }

    /// Has PostgreSQL answer the start-up packet: it trusts the gate on its private socket.
    async fn open_session<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        packet: &[u8],
    ) -> io::Result<()> {
        let Ok(mut upstream) = self.upstream().await else {
            return self.refuse_while_down(gate, stream).await;
        };
        upstream.write_all(packet).await?;
        let Shared { settings, faults, pinned, .. } = &*gate.shared;
        if !relay::start_session(stream, &mut upstream, !settings.proxy).await? {
            return Ok(());
        }
        let pins = |why: &'static str| {
            if settings.proxy {
                pinned.fetch_add(1, Ordering::Relaxed);
                gate.log(&format!("session pinned: {why}"));
            }
        };
        gate.session_begins();
        gate.session_ended(match relay::relay(stream, upstream, faults, pins).await? {
            End::Terminated => "Terminate",
            End::Closed => "connection closed without Terminate",
        });
        Ok(())
    }
}

/// Sends a start-up packet that opens no session, and passes PostgreSQL's messages of these kinds on. It
/// stops at any other: whatever the packet was, nobody gets in by it.
async fn pass_before_login<S: AsyncWrite + Unpin>(
    mut upstream: UnixStream,
    stream: &mut S,
    packet: &[u8],
    kinds: &[u8],
) -> io::Result<()> {
    upstream.write_all(packet).await?;
    let mut upstream = BufReader::new(upstream);
    while let Some(kind) = upstream.fill_buf().await?.first().filter(|kind| kinds.contains(kind)) {
        if *kind == relay::ERROR {
            // The last message. To a client of protocol 2.0, it has no length.
            tokio::io::copy(&mut upstream.take(LONGEST_REFUSAL), stream).await?;
            break;
        }
        let Some((_, message)) = startup::read_message(&mut upstream).await? else { break };
        stream.write_all(&message).await?;
    }
    stream.flush().await
}
