//! The answer to the request for TLS, and the certificate.

/// The TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tls {
    /// Not tried.
    #[default]
    Unknown,
    /// The server accepted the connection and said nothing.
    Silent,
    /// The server agreed to TLS, and then nothing came.
    SilentAfterStart,
    /// The server closed or reset the connection.
    Closed {
        /// Whether the server answers the usual negotiation, where `PGSSLNEGOTIATION` is direct.
        answers_postgres: bool,
    },
    /// The server says that it has no TLS.
    NotOffered,
    /// The server answers the request for TLS with an error, as one that is full or starting does.
    Error,
    /// The server offers no TLS 1.2 and none after it.
    TooOld,
    /// The server does not speak PostgreSQL.
    OtherProtocol(Protocol),
    /// The handshake itself failed.
    Failed,
    /// The server's certificate.
    Presented(Presented),
}

/// The certificate that the server presented, and the verdict of the functions' own TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presented {
    /// `TLSv1.3`
    pub(crate) version: String,
    /// The subjects, from the server's own to the last that it sent.
    pub(crate) chain: Vec<String>,
    /// The issuer of the last.
    pub(crate) issuer: String,
    /// The names in the certificate.
    pub(crate) names: Vec<String>,
    /// Seconds to its expiry; negative after it.
    pub(crate) seconds_left: i64,
    /// Seconds since it became valid; negative before.
    pub(crate) seconds_old: i64,
    /// The trusted root that it leads to, if one does by name.
    pub(crate) root: Option<String>,
    /// Where a root of that name is built in, if it is not trusted.
    pub(crate) built_in: Option<String>,
    /// The verdict.
    pub(crate) verdict: Verdict,
}

/// Whether the functions' TLS accepts the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Yes.
    Trusted,
    /// It names another host.
    Name,
    /// It has expired.
    Expired,
    /// Its root, or a certificate between, has expired.
    RootExpired,
    /// It is not valid yet.
    NotYetValid,
    /// Its root is not trusted.
    Root,
    /// For another reason.
    Other,
}

impl Tls {
    /// Whether the functions send a token to this server.
    pub(crate) fn is_trusted(&self) -> bool {
        matches!(self, Self::Presented(presented) if presented.verdict == Verdict::Trusted)
    }
}

/// The protocol that a server seems to speak instead of the engine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Ssh,
    Mysql,
    Postgres,
    /// TLS at once.
    Tls,
    Unknown,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "an HTTP server",
            Self::Ssh => "an SSH server",
            Self::Mysql => "a MySQL or MariaDB server",
            Self::Postgres => "a PostgreSQL server",
            Self::Tls => "a TLS server of another protocol",
            Self::Unknown => "another protocol",
        })
    }
}
