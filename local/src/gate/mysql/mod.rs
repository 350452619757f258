//! MySQL's side of the gate: after TLS, the client is switched to `mysql_clear_password`, as Aurora does
//! for a user `IDENTIFIED WITH AWSAuthenticationPlugin`, and every wrong token is refused with the same
//! `Access denied`.
//!
//! The server's greeting passes through, so that version, character sets and the id for `KILL QUERY` are
//! MariaDB's own. The gate then logs in as the client's user with a secret of its own, which is the
//! password of every user that was created with the plugin: MariaDB itself tells who those are.

mod answer;
mod asked;
mod handshake;
mod packet;
mod relay;
mod traffic;
mod users;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::connection::Connection;
use super::settings::Secret;
use super::{faults, link};
use answer::status_of_ok;
pub(crate) use handshake::native_hash;
use handshake::{First, Greeting, Response};
use packet::{ERROR, OK, Packet};
use relay::{End, relay};
use traffic::Traffic;
pub(crate) use users::script_for_mariadb;

/// MySQL's default `connect_timeout`.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The MariaDB behind a gate.
#[derive(Debug)]
pub(super) struct Mysql {
    socket: PathBuf,
    secret: Secret,
}

/// A login on its way through the gate.
struct Login<'a, S> {
    gate: &'a Connection,
    stream: S,
    sequence: u8,
    response: Response,
    tls: Option<String>,
}

async fn within_login_timeout<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(LOGIN_TIMEOUT, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Mysql {
    pub(super) fn new(socket: &Path, secret: &Secret) -> Self {
        Self { socket: socket.to_owned(), secret: secret.clone() }
    }

    /// Serves one client.
    pub(super) async fn serve(&self, gate: &Connection, mut near: link::Stream) -> io::Result<()> {
        let Ok((server, greeting)) = within_login_timeout(self.greet()).await else {
            gate.log("connection closed: MariaDB is stopped or starting");
            return Ok(());
        };
        packet::write(&mut near, 0, &greeting.for_client()).await?;
        let Packet { sequence, body, .. } = within_login_timeout(packet::read(&mut near)).await?;
        match First::parse(&body) {
            Ok(First::Ssl) => {}
            Ok(First::Response(response)) => {
                let mut login = Login { gate, stream: near, sequence, response, tls: None };
                return login.refuse("no TLS").await;
            }
            Err(error) => return bad_handshake(&mut near, sequence, error).await,
        }
        let (mut stream, tls) = within_login_timeout(gate.accept_tls(near)).await?;
        let ended = self.serve_encrypted(gate, &mut stream, tls, (server, greeting)).await;
        if !ended.as_ref().is_err_and(faults::is_reset) {
            // TLS's own end: without it, clients report that the connection broke off.
            let _ = within_login_timeout(stream.shutdown()).await;
        }
        ended
    }

    async fn serve_encrypted<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        gate: &Connection,
        stream: &mut S,
        tls: Option<String>,
        (mut server, greeting): (UnixStream, Greeting),
    ) -> io::Result<()> {
        let Packet { sequence, body, .. } = within_login_timeout(packet::read(stream)).await?;
        let response = match First::parse(&body) {
            Ok(First::Response(response)) => response,
            Ok(First::Ssl) => {
                let twice = packet::invalid("the client asked for TLS twice");
                return bad_handshake(stream, sequence, twice).await;
            }
            Err(error) => return bad_handshake(stream, sequence, error).await,
        };
        let mut login = Login { gate, stream, sequence, response, tls };
        gate.before_login()?;
        let authenticated = login.authenticate(&mut server, &greeting, &self.secret);
        let Some(status) = within_login_timeout(authenticated).await? else { return Ok(()) };
        let traffic = Traffic::new(status, greeting.end_is_ok(&login.response));
        let refused = login.access_denied();
        let faults = &gate.shared.faults;
        gate.session_begins();
        let end = relay(login.stream, server, traffic, faults, &self.secret, &refused).await?;
        gate.session_ended(match end {
            End::Quit => "COM_QUIT",
            End::Closed => "connection closed without COM_QUIT",
            End::ChangeUser => "COM_CHANGE_USER is refused",
        });
        Ok(())
    }

    async fn greet(&self) -> io::Result<(UnixStream, Greeting)> {
        let mut server = UnixStream::connect(&self.socket).await?;
        let greeting = Greeting::parse(packet::read(&mut server).await?.body)?;
        Ok((server, greeting))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Login<'_, S> {
    /// Opens the session, and returns the server's status. `None` if it is refused: then the client has its
    /// answer already.
    async fn authenticate(
        &mut self,
        server: &mut UnixStream,
        greeting: &Greeting,
        secret: &Secret,
    ) -> io::Result<Option<u16>> {
        let token = match self.response.token() {
            Some(token) => token.to_vec(),
            None if self.response.knows_plugins() => self.ask_token().await?,
            None => {
                self.record(Err("the client knows no authentication plugins".into()));
                let message = "Client does not support authentication protocol requested by \
                               server; consider upgrading MySQL client";
                self.answer(&packet::error(1251, "08004", message)).await?;
                return Ok(None);
            }
        };
        self.gate.slow_login().await;
        // The plugin's password ends with a NUL.
        let token = token.strip_suffix(&[0]).unwrap_or(&token);
        let token = String::from_utf8_lossy(token);
        let user = self.response.checked_user().map_err(str::to_owned);
        let checked = user.and_then(|user| self.gate.check(user, &token));
        let principal = match checked {
            Ok(principal) => principal,
            Err(reason) => return self.refuse(&reason).await.map(|()| None),
        };
        packet::write(server, 1, &greeting.login(&self.response, &secret.0)).await?;
        let answer = packet::read(server).await?.body;
        let denied = [1045_u16, 1698].map(|code| code.to_le_bytes());
        match answer.first() {
            Some(&OK) => {
                self.record(Ok(principal));
                self.answer(&answer).await?;
                Ok(Some(status_of_ok(&answer)))
            }
            // Too many connections, no such database, no right to use it.
            Some(&ERROR) if !denied.iter().any(|code| answer[1..].starts_with(code)) => {
                self.record(Ok(principal));
                self.gate.log("session refused by MariaDB itself");
                self.answer(&answer).await?;
                Ok(None)
            }
            _ => {
                let reason = "the user was not created with AWSAuthenticationPlugin: Aurora takes the \
                              token for a password";
                self.refuse(reason).await.map(|()| None)
            }
        }
    }

    async fn ask_token(&mut self) -> io::Result<Vec<u8>> {
        self.answer(&handshake::auth_switch_request()).await?;
        let Packet { sequence, body, .. } = packet::read(&mut self.stream).await?;
        self.sequence = sequence;
        Ok(body)
    }

    /// Refuses the login as Aurora does. The reason goes into the log only.
    async fn refuse(&mut self, reason: &str) -> io::Result<()> {
        self.record(Err(reason.into()));
        let denied = self.access_denied();
        self.answer(&denied).await
    }

    fn access_denied(&self) -> Vec<u8> {
        let (user, host) = (self.user(), self.gate.peer.ip());
        let message = format!("Access denied for user '{user}'@'{host}' (using password: YES)");
        packet::error(1045, "28000", &message)
    }

    async fn answer(&mut self, body: &[u8]) -> io::Result<()> {
        packet::write(&mut self.stream, self.sequence.wrapping_add(1), body).await
    }

    fn record(&self, outcome: Result<String, String>) {
        self.gate.record(&self.user(), outcome, self.tls.clone());
    }

    fn user(&self) -> String {
        String::from_utf8_lossy(&self.response.user).into_owned()
    }
}

/// Answers what is not a login as MySQL does, and has the reason logged.
async fn bad_handshake<S: AsyncWrite + Unpin>(
    stream: &mut S,
    sequence: u8,
    error: io::Error,
) -> io::Result<()> {
    let answer = packet::error(1043, "08S01", "Bad handshake");
    packet::write(stream, sequence.wrapping_add(1), &answer).await?;
    Err(error)
}
