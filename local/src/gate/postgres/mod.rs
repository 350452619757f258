//! PostgreSQL's side of the gate: an `rds_iam` member is asked for a clear-text password, and every
//! wrong token is refused with the same `PAM authentication failed`.

mod asked;
mod frames;
mod members;
mod pins;
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
use startup::{First, Password, Startup};

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

/// Why a client is not let in.
enum Refusal {
    /// PostgreSQL is stopped or starting.
    Down,
    /// The reason for the log, and the error for the client.
    Login { reason: String, sqlstate: &'static str, message: String },
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
        let ended = if start == tls::Start::Injected {
            gate.log("connection refused: data between the request for TLS and TLS");
            startup::refuse(&mut stream, "08P01", &startup::unencrypted_data("SSL")).await
        } else if start.is_satisfied(stream.get_ref().1) {
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
            First::Ssl(packet) | First::GssEnc(packet) => {
                within_login_timeout(self.refuse_second_request(gate, stream, &packet)).await
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
        let mut asked_for_gss = false;
        loop {
            let first = startup::read_first(stream).await?;
            // As PostgreSQL, since CVE-2021-23214: what came before TLS is not read as if inside it.
            let early = stream.buffer().len();
            match first {
                First::Ssl(_) => {
                    stream.consume(early);
                    stream.write_all(b"S").await?;
                    let is_clean = early == 0;
                    let start = if is_clean { tls::Start::Requested } else { tls::Start::Injected };
                    return Ok(Some(start));
                }
                First::GssEnc(packet) if asked_for_gss => {
                    self.refuse_second_request(gate, stream, &packet).await?;
                    return Ok(None);
                }
                First::GssEnc(_) => {
                    asked_for_gss = true;
                    stream.write_all(b"N").await?;
                    if early > 0 {
                        let message = startup::unencrypted_data("GSSAPI encryption");
                        startup::refuse(stream, "08P01", &message).await?;
                        return Ok(None);
                    }
                }
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

    /// Has PostgreSQL itself refuse a request for encryption that comes a second time: then it takes the
    /// number for that of a protocol.
    async fn refuse_second_request<S: AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        packet: &[u8],
    ) -> io::Result<()> {
        let Ok(mut upstream) = self.upstream().await else {
            return self.refuse_while_down(gate, stream).await;
        };
        gate.log("connection refused: encryption is asked for twice");
        upstream.write_all(packet).await?;
        // A socket has no encryption: N.
        upstream.read_u8().await?;
        pass_before_login(upstream, stream, packet, &[relay::ERROR]).await?;
        stream.shutdown().await
    }

    async fn refuse_without_tls<S: AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        startup: &Startup,
    ) -> io::Result<()> {
        let user = String::from_utf8_lossy(&startup.user);
        gate.record(&user, Err("no TLS".into()), None);
        let message = format!(
            "pg_hba.conf rejects connection for host \"{}\", user \"{user}\", database \"{}\", no encryption",
            gate.peer.ip(),
            startup.database
        );
        startup::refuse(stream, "28000", &message).await
    }

    /// Returns whether the client is let in. If it is not, it has its answer already.
    async fn authenticate<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        startup: &Startup,
        tls: Option<String>,
    ) -> io::Result<bool> {
        gate.before_login()?;
        let user = String::from_utf8_lossy(&startup.user);
        match self.check(gate, stream, startup, &user).await? {
            Ok(principal) => {
                gate.record(&user, Ok(principal), tls);
                Ok(true)
            }
            Err(Refusal::Down) => {
                self.refuse_while_down(gate, stream).await?;
                Ok(false)
            }
            Err(Refusal::Login { reason, sqlstate, message }) => {
                gate.record(&user, Err(reason), tls);
                startup::refuse(stream, sqlstate, &message).await?;
                Ok(false)
            }
        }
    }

    /// Asks for the token. Returns who signed it, or the refusal.
    async fn check<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        startup: &Startup,
        user: &str,
    ) -> io::Result<Result<String, Refusal>> {
        let settings = &gate.shared.settings;
        let refusal = |reason: &str, sqlstate, message: String| {
            Ok(Err(Refusal::Login { reason: reason.to_owned(), sqlstate, message }))
        };
        if settings.proxy && startup.has_options {
            let message =
                "Feature not supported: RDS Proxy currently doesn't support command-line options.";
            return refusal("start-up options, behind RDS Proxy", "0A000", message.into());
        }
        self.negotiate_protocol(stream, startup).await?;
        let password = match startup::ask_password(stream).await? {
            Password::Sent(password) => password,
            Password::Refused(sqlstate, message) => {
                return refusal(&message, sqlstate, message.clone());
            }
        };
        gate.slow_login().await;
        let Ok(member) = self.members.contains(&startup.user).await else {
            return Ok(Err(Refusal::Down));
        };
        if !member {
            let reason =
                "rds_iam is not granted to this user: PostgreSQL takes the token for a password";
            let message = format!("password authentication failed for user \"{user}\"");
            return refusal(reason, "28P01", message);
        }
        let checked = match startup.is_replication && !settings.iam_auth_for_replication {
            true => Err(NO_REPLICATION.into()),
            false => gate.check(user, &password),
        };
        let message = format!("PAM authentication failed for user \"{user}\"");
        checked.map_or_else(|reason| refusal(&reason, "28000", message), |arn| Ok(Ok(arn)))
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
        let started = relay::start_session(stream, &mut upstream, !settings.proxy).await?;
        let Some(traffic) = started else { return Ok(()) };
        let pins = |why: &'static str| {
            if settings.proxy {
                pinned.fetch_add(1, Ordering::Relaxed);
                gate.log(&format!("session pinned: {why}"));
            }
        };
        gate.session_begins();
        gate.session_ended(match relay::relay(stream, upstream, traffic, faults, pins).await? {
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
