//! One client's connection, whatever its protocol: its TLS, the check of its token, and what the log says.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::faults::{self, Fault};
use super::log::Record;
use super::settings::Shared;
use super::token::{Expected, verify};

/// How long a login takes while [`Fault::SlowLogin`] is on.
const SLOW_LOGIN: Duration = Duration::from_secs(2);

pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) shared: Arc<Shared>,
    /// A session is open, whose end the log tells.
    in_session: AtomicBool,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, shared: Arc<Shared>) -> Self {
        Self { peer, shared, in_session: AtomicBool::new(false) }
    }

    /// The TLS handshake, and the version for the log.
    pub(super) async fn accept_tls<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<(TlsStream<S>, Option<String>)> {
        let acceptor = TlsAcceptor::from(self.shared.settings.tls.clone());
        let stream = acceptor.accept(stream).await?;
        let version = stream.get_ref().1.protocol_version().map(|version| match version {
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
            other => format!("{other:?}"),
        });
        Ok((stream, version))
    }

    /// Meets the faults that strike before a login.
    pub(super) fn before_login(&self) -> io::Result<()> {
        match self.shared.faults.hits(Fault::ResetBeforeLogin) {
            true => Err(faults::Reset.into()),
            false => Ok(()),
        }
    }

    /// Meets the fault that slows a login.
    pub(super) async fn slow_login(&self) {
        if self.shared.faults.hits(Fault::SlowLogin) {
            sleep(SLOW_LOGIN).await;
        }
    }

    /// Who signed the token, or why it is refused, for the log only.
    pub(super) fn check(&self, user: &str, token: &str) -> Result<String, String> {
        let Shared { settings, faults, .. } = &*self.shared;
        let throttle = settings.throttle.as_ref();
        let throttled = throttle.is_some_and(|throttle| !throttle.admit(token));
        if throttled || faults.hits(Fault::Throttle) {
            return Err("throttled: too many logins a second".into());
        }
        let expected = Expected {
            host: &settings.host,
            port: settings.port,
            region: &settings.region,
            user,
            strict: settings.strict,
            source_ip: Some(self.peer.ip()),
        };
        let identity = verify(token, expected, &settings.iam, settings.clock.now())?;
        if let Some(throttle) = throttle {
            throttle.logged_in(token);
        }
        Ok(identity.arn)
    }

    pub(super) fn record(&self, user: &str, outcome: Result<String, String>, tls: Option<String>) {
        let record = Record { user: user.to_owned(), outcome, tls };
        let settings = &self.shared.settings;
        settings.log.login(record, settings.clock.now());
    }

    /// A session begins. It ends with [`Connection::session_ended`], a fault's reset, or the gate.
    pub(super) fn session_begins(&self) {
        self.in_session.store(true, Ordering::Relaxed);
    }

    pub(super) fn session_ended(&self, how: &str) {
        self.in_session.store(false, Ordering::Relaxed);
        self.log(&format!("session ended: {how}"));
    }

    /// Logs a reset, as the end of the session if one is open.
    pub(super) fn log_reset(&self, error: &io::Error) {
        match self.in_session.load(Ordering::Relaxed) {
            true => self.session_ended(&error.to_string()),
            false => self.log(&error.to_string()),
        }
    }

    pub(super) fn log(&self, text: &str) {
        let settings = &self.shared.settings;
        settings.log.line(text, settings.clock.now());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.in_session.load(Ordering::Relaxed) {
            self.session_ended("closed by the gate");
        }
    }
}
