//! The name's addresses, and whether they answer.

use std::net::SocketAddr;

/// The way to the server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Network {
    /// The name's resolution.
    pub(crate) dns: Dns,
    /// Each address, and whether it can be connected to.
    pub(crate) tcp: Vec<(SocketAddr, Tcp)>,
    /// Whether PostgreSQL's usual port answers there, if the configured one refuses.
    pub(crate) usual_port_answers: bool,
}

impl Network {
    /// The first address that can be connected to.
    pub(crate) fn open_address(&self) -> Option<SocketAddr> {
        self.tcp.iter().find(|(_, tcp)| *tcp == Tcp::Open).map(|(address, _)| *address)
    }
}

/// The name's resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dns {
    /// Not tried.
    #[default]
    Unknown,
    /// `PGHOSTADDR` or an address.
    Literal,
    Resolved {
        /// The name behind the alias, if it is one.
        alias_of: Option<String>,
    },
    /// The resolver says that there is no such name.
    NoSuchName,
    /// The resolver failed or did not answer.
    Silent,
}

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tcp {
    Open,
    /// Refused at once.
    Refused,
    Silent,
    /// No route, or not permitted.
    NoRoute,
    Reset,
}
