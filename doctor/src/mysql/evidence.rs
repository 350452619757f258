//! The server's answers, by their codes and names: its messages are not kept.

use rds_iam::postgres::Refusal;

use crate::login::evidence::Login;
use crate::tls::evidence::Protocol;

/// Everything that is known of MySQL's own part of a login.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Evidence {
    /// The first packet.
    pub(crate) greeting: Greeting,
    /// The plugin that the server asks for as the user's proof.
    pub(crate) asked: Option<Plugin>,
    /// The code of the error that ended the login.
    pub(crate) error: Option<u16>,
    /// The database's own report of itself and of the user.
    pub(crate) facts: Option<Facts>,
    /// The databases that the user may use, if the configured one is not among them.
    pub(crate) databases: Vec<String>,
}

/// The server's first packet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// There was none, or nobody asked.
    #[default]
    Unknown,
    /// A server that offers TLS, and its version.
    Of(String),
    /// A server that offers no TLS.
    WithoutTls(String),
    /// An error instead of a greeting.
    Error(u16),
    /// Another protocol.
    Other(Protocol),
}

/// Authentication plugins of a client, as the server names them
/// (<https://dev.mysql.com/doc/refman/8.4/en/authentication-plugins.html>).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plugin {
    /// `mysql_clear_password`: what AWSAuthenticationPlugin asks for.
    Clear,
    /// `mysql_native_password`.
    Native,
    /// `caching_sha2_password`: MySQL asks so for a user that does not exist, too.
    CachingSha2,
    /// Another one; its name, if it is a plain one.
    Other(String),
}

/// The database's own report, after a login.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// `8.0.39`
    pub(crate) version: String,
    /// The account that the server found: `user@host`.
    pub(crate) account: String,
    /// Whether it takes no writes.
    pub(crate) read_only: bool,
    /// Whether it takes passwords without TLS.
    pub(crate) insecure: bool,
    /// Connections in use.
    pub(crate) connections: u64,
    /// The most that it takes.
    pub(crate) max_connections: u64,
    /// Tables in the configured database that the user sees.
    pub(crate) tables: u64,
    /// Milliseconds for one statement.
    pub(crate) round_trip_ms: f64,
}

/// MySQL's error codes
/// (<https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>,
/// <https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference>).
pub(crate) mod code {
    pub(crate) const TOO_MANY: u16 = 1040;
    pub(crate) const DATABASE_DENIED: u16 = 1044;
    pub(crate) const DENIED: u16 = 1045;
    pub(crate) const NO_DATABASE: u16 = 1049;
    pub(crate) const SHUTDOWN: u16 = 1053;
    pub(crate) const HOST_BLOCKED: u16 = 1129;
    pub(crate) const HOST_UNKNOWN: u16 = 1130;
    /// Of `max_user_connections`, the server's.
    pub(crate) const TOO_MANY_OF_ANY_USER: u16 = 1203;
    /// Of the user's own limits.
    pub(crate) const TOO_MANY_OF_USER: u16 = 1226;
    /// MySQL's code for a client that gave no password.
    pub(crate) const DENIED_WITHOUT: u16 = 1698;
    pub(crate) const PASSWORD_EXPIRED: [u16; 2] = [1820, 1862];
    pub(crate) const OFFLINE: u16 = 3032;
    /// MySQL's and MariaDB's.
    pub(crate) const LOCKED: [u16; 2] = [3118, 4151];
}

impl Evidence {
    /// Whether the login ended with this code.
    pub(crate) fn refused(&self, code: u16) -> bool {
        self.error == Some(code)
    }

    /// Whether the server took the user's proof, or would have taken it, and refused it as a whole.
    pub(crate) fn denied(&self) -> bool {
        self.refused(code::DENIED) || self.refused(code::DENIED_WITHOUT)
    }

    /// The refusal as the shared causes know it.
    pub(crate) fn refusal(&self) -> Login {
        let refusal = match self.error {
            _ if self.token_refused() => Refusal::Token,
            Some(code::SHUTDOWN) => Refusal::Starting,
            _ => Refusal::Other,
        };
        Login::Refused { refusal, code: self.error.unwrap_or(0).to_string() }
    }

    /// Whether the server asked for a token and refused it.
    pub(crate) fn token_refused(&self) -> bool {
        self.denied() && self.asked == Some(Plugin::Clear)
    }
}

impl Plugin {
    pub(crate) fn named(name: &str) -> Self {
        match name {
            "mysql_clear_password" => Self::Clear,
            "mysql_native_password" => Self::Native,
            "caching_sha2_password" => Self::CachingSha2,
            name => {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
                let plain = name.len() <= 64 && name.bytes().all(plain);
                Self::Other(if plain { name.to_owned() } else { "an unknown plugin".to_owned() })
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Clear => "mysql_clear_password",
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Other(name) => name,
        }
    }
}
