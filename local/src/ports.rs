//! Free ports for servers that take a number and not a socket.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;

use crate::Result;

/// Below the ports that systems give to connections and to listeners on port 0 (from 32768 on Linux, from 49152 on
/// macOS): nobody else takes one of these before the server does.
const RANGE: RangeInclusive<u16> = 15_000..=31_999;
const ATTEMPTS: usize = 1000;

/// Ports of the loopback interface that nothing listens on, each of them once.
pub(crate) fn free(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    for _ in 0..ATTEMPTS {
        if held.len() == count {
            break;
        }
        // Held until all are found, so that none is found twice.
        held.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(RANGE))));
    }
    let ports = held.iter().map(|listener| listener.local_addr().map(|address| address.port()));
    let ports: Vec<u16> = ports.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let missing = || format!("cannot find {count} free ports from 15000 to 31999 on 127.0.0.1");
    (ports.len() == count).then_some(ports).ok_or_else(missing)
}
