//! Silence on an open connection: the kernel drops each of the peer's packets before TCP sees it,
//! so that nothing is acknowledged or answered by a reset. A network that has forgotten a connection
//! behaves so, and so does a server that lost its power.

use std::io;

/// The highest time-to-live that a packet can have. A sender starts lower, Linux at 64, and each
/// router on the way takes one off.
#[cfg(target_os = "linux")]
const HIGHEST_TTL: nix::libc::c_int = 255;

#[cfg(target_os = "linux")]
mod options {
    use nix::libc;
    use nix::sys::socket::sockopt::SetStruct;

    /// The least time-to-live of the IPv4 packets that a socket takes; see ip(7).
    #[derive(Clone)]
    pub(super) struct Ipv4MinTtl;
    nix::setsockopt_impl!(
        Ipv4MinTtl,
        libc::IPPROTO_IP,
        libc::IP_MINTTL,
        libc::c_int,
        SetStruct<'_, libc::c_int>
    );

    /// The same for IPv6.
    #[derive(Clone)]
    pub(super) struct Ipv6MinHopCount;
    nix::setsockopt_impl!(
        Ipv6MinHopCount,
        libc::IPPROTO_IPV6,
        libc::IPV6_MINHOPCOUNT,
        libc::c_int,
        SetStruct<'_, libc::c_int>
    );
}

/// Silences a connection for good. It needs no privilege, unlike a packet filter.
#[cfg(target_os = "linux")]
pub(super) fn silence(socket: &socket2::Socket) -> io::Result<()> {
    use nix::sys::socket::setsockopt;
    // An IPv6 socket may carry IPv4: it gets both.
    if socket.local_addr()?.is_ipv6() {
        setsockopt(socket, options::Ipv6MinHopCount, &HIGHEST_TTL)?;
    }
    setsockopt(socket, options::Ipv4MinTtl, &HIGHEST_TTL)?;
    Ok(())
}

/// Elsewhere the kernel would go on acknowledging packets.
#[cfg(not(target_os = "linux"))]
pub(super) fn silence(_: &socket2::Socket) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "only Linux can drop a connection's packets"))
}

/// Fails where this machine cannot silence connections.
pub(super) fn check() -> io::Result<()> {
    silence(&socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{ErrorKind, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::silence;

    #[test]
    fn a_silenced_connection_acknowledges_nothing() {
        // The third is IPv4 on a socket of IPv6.
        for (listen, connect) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::1]:0", "::1"), ("[::]:0", "127.0.0.1")]
        {
            let listener = TcpListener::bind(listen).unwrap();
            let port = listener.local_addr().unwrap().port();
            let mut client = TcpStream::connect((connect, port)).unwrap();
            let (mut server, _) = listener.accept().unwrap();
            client.write_all(b"heard").unwrap();
            server.read_exact(&mut [0; 5]).unwrap();

            silence(&socket2::SockRef::from(&server).try_clone().unwrap()).unwrap();
            socket2::SockRef::from(&client)
                .set_tcp_user_timeout(Some(Duration::from_millis(500)))
                .unwrap();
            client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            client.write_all(b"unheard").unwrap();
            // The kernel closes a connection whose bytes stay unacknowledged.
            let error = client.read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut, "{listen}");
            server.set_nonblocking(true).unwrap();
            let error = server.read(&mut [0; 1]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{listen}");
        }
    }
}
