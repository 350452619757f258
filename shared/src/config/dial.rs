//! The address that connections use.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::lookup_host;

use super::common::host_and_port;
use super::vars::Vars;
use crate::endpoint::Endpoint;

/// The address that connections use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dial {
    /// The endpoint itself.
    Endpoint,
    /// `PGHOSTADDR` or `MYSQL_HOSTADDR`, on the endpoint's port.
    Address(IpAddr),
    /// `DB_TUNNEL`: host and port of a forwarder.
    Tunnel(String, u16),
}

impl Dial {
    /// The addresses to dial, as the name resolves now.
    pub(crate) async fn resolve(&self, endpoint: &Endpoint) -> io::Result<Vec<SocketAddr>> {
        Ok(match self {
            Self::Endpoint => lookup_host((&*endpoint.host, endpoint.port)).await?.collect(),
            Self::Address(address) => vec![(*address, endpoint.port).into()],
            Self::Tunnel(host, port) => lookup_host((host.as_str(), *port)).await?.collect(),
        })
    }

    /// The endpoint, and the way there if it is another, as messages name it. `variable` is the address's.
    pub(crate) fn target(&self, endpoint: &Endpoint, variable: &str) -> String {
        let endpoint = format!("{}:{}", endpoint.host, endpoint.port);
        match self {
            Self::Endpoint => endpoint,
            Self::Address(address) => format!("{endpoint} ({variable} {address})"),
            Self::Tunnel(host, port) => format!("{endpoint} (DB_TUNNEL {host}:{port})"),
        }
    }
}

impl Vars<'_> {
    /// Reads the address from its variable, or from `DB_TUNNEL`.
    pub(super) fn dial(&mut self, address: &'static str) -> Dial {
        let given = self.optional(address).and_then(|value| match value.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => {
                self.problem(address, "is not an IP address", "; a host name goes into DB_TUNNEL");
                None
            }
        });
        if let Some(tunnel) = self.optional("DB_TUNNEL") {
            match host_and_port(&tunnel) {
                Some((host, port)) => return Dial::Tunnel(host, port),
                None => self.problem("DB_TUNNEL", "is not host:port", ", such as localhost:15432"),
            }
        }
        given.map_or(Dial::Endpoint, Dial::Address)
    }
}
