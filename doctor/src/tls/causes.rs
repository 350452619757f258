//! Causes of handshakes that end before a certificate is shown.

use rds_iam::config::Dial;

use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::network::evidence::Tcp;
use crate::remedy::Remedy;
use crate::tls::evidence::{Protocol, Tls};

pub(crate) const HANDSHAKE: &[Cause] = &[
    Cause {
        id: "server-silent",
        title: "something accepts the connection, and then says nothing",
        seen: "TCP connects, and the request for TLS gets no answer",
        remedy: "a tunnel whose far end does not reach the database, or a server that hangs",
        find: silent,
    },
    Cause {
        id: "packets-lost",
        title: "the server agrees to TLS, and its certificate never arrives",
        seen: "the short answer to the request for TLS comes, and nothing after it",
        remedy: "a smaller MTU, or ICMP through the firewalls: large packets are lost on the way",
        find: packets_lost,
    },
    Cause {
        id: "other-server",
        title: "what answers on the port is not PostgreSQL",
        seen: "the answer to the request for TLS is another protocol's",
        remedy: "the database's own port",
        find: other,
    },
    Cause {
        id: "error-before-tls",
        title: "the server refuses connections before TLS: it is full, starting or stopping",
        seen: "the answer to the request for TLS is an error",
        remedy: "wait; or fewer connections",
        find: error_before,
    },
    Cause {
        id: "tls-old",
        title: "the server offers only versions of TLS before 1.2",
        seen: "the handshake ends with `protocol version`; RDS always offers 1.2",
        remedy: "the RDS endpoint, or a newer server",
        find: too_old,
    },
    Cause {
        id: "tls-not-offered",
        title: "what answers is a PostgreSQL without TLS, so it is not the RDS database",
        seen: "the server answers that it has no TLS",
        remedy: "the database's own endpoint: a local server or a pooler answers instead",
        find: not_offered,
    },
    Cause {
        id: "tls-direct",
        title: "the server does not know direct TLS",
        seen: "`PGSSLNEGOTIATION` is direct, the connection is closed, and the usual negotiation works",
        remedy: "unset `PGSSLNEGOTIATION`: direct TLS needs PostgreSQL 17",
        find: direct,
    },
    Cause {
        id: "tls-closed",
        title: "the connection is closed before TLS is up",
        seen: "a reset or an end in the middle of the handshake",
        remedy: "a load balancer or firewall between, or a server that restarts",
        find: closed,
    },
];

fn silent(evidence: &Evidence) -> Option<Found> {
    if evidence.tls != Tls::Silent {
        return None;
    }
    let found = Found::certain(
        "the connection was accepted, and TLS got no further: the server says nothing",
    );
    let config = evidence.config()?;
    Some(match &config.dial {
        Dial::Tunnel(host, port) => found.remedy(Remedy::action(format!(
            "Restart the tunnel at {host}:{port}, and check that its far end reaches {}:{}",
            config.endpoint.host, config.endpoint.port
        ))),
        _ => found.remedy(Remedy::action(
            "Look at the database: its CPU, its free memory and its status; reboot it if it hangs. A forwarder or load balancer on the way answers so too when its target is not reached",
        )),
    })
}

fn packets_lost(evidence: &Evidence) -> Option<Found> {
    (evidence.tls == Tls::SilentAfterStart).then(|| {
        Found::likely("the answer of one byte came, and the certificate, which fills whole packets, did not")
            .remedy(Remedy::command("ip link set dev <the interface to the database> mtu 1300"))
            .remedy(Remedy::action(
                "Let ICMP (\"fragmentation needed\", \"packet too big\") through the firewalls and network ACLs on the way; if it helps neither, look whether the server hangs",
            ))
    })
}

fn other(evidence: &Evidence) -> Option<Found> {
    let Tls::OtherProtocol(what) = evidence.tls else { return None };
    let mysql = what == Protocol::Mysql;
    let found = Found::certain(format!("it is {what}"));
    let found = match right_port(evidence) {
        Some(port) => found
            .also(format!("RDS says that its port is {port}"))
            .remedy(Remedy::variable("PGPORT", port.to_string())),
        None => found.remedy(Remedy::variable(
            "PGPORT",
            "<the PostgreSQL database's port, 5432 by default>",
        )),
    };
    Some(if mysql {
        found
            .titled("what answers is MySQL or MariaDB, and not PostgreSQL")
            .remedy(Remedy::variable("PGHOST", "<a PostgreSQL database, if this one is none>"))
    } else {
        found
    })
}

fn error_before(evidence: &Evidence) -> Option<Found> {
    (evidence.tls == Tls::Error).then(|| {
        Found::certain("the server answers the request for TLS with an error").remedy(
            Remedy::action(
                "Wait for it to come up; if it is full, limit the function's concurrency",
            ),
        )
    })
}

fn too_old(evidence: &Evidence) -> Option<Found> {
    (evidence.tls == Tls::TooOld).then(|| {
        Found::certain("the server has no version of TLS in common with the functions, which take 1.2 and 1.3")
            .remedy(Remedy::action(
                "Check that PGHOST leads to the RDS database itself, whose servers have TLS 1.2; or raise ssl_max_protocol_version in its parameter group",
            ))
    })
}

fn right_port(evidence: &Evidence) -> Option<i32> {
    let port = evidence.config()?.endpoint.port;
    evidence.database()?.port.filter(|right| *right != i32::from(port))
}

fn not_offered(evidence: &Evidence) -> Option<Found> {
    if evidence.tls != Tls::NotOffered {
        return None;
    }
    let config = evidence.config()?;
    let found = Found::certain("the server answers N to the request for TLS; RDS always offers it");
    Some(match &config.dial {
        Dial::Endpoint => {
            found.remedy(Remedy::variable("PGHOST", "<the endpoint of the RDS database>"))
        }
        Dial::Address(_) => found
            .also("PGHOSTADDR leads there")
            .remedy(Remedy::variable("PGHOSTADDR", "<the address of the RDS database, or nothing>"))
            .remedy(Remedy::variable("PGPORT", "<its port>")),
        Dial::Tunnel(..) => found
            .also("DB_TUNNEL leads there")
            .remedy(Remedy::variable("DB_TUNNEL", "<host:port of a tunnel to the RDS database>")),
    })
}

fn direct(evidence: &Evidence) -> Option<Found> {
    (evidence.tls == Tls::Closed { answers_postgres: true }).then(|| {
        Found::certain("with the usual negotiation the same server shows its certificate")
            .remedy(Remedy::unset("PGSSLNEGOTIATION"))
    })
}

fn closed(evidence: &Evidence) -> Option<Found> {
    let seen = match evidence.tls {
        Tls::Closed { answers_postgres: false } => {
            "the server, or something before it, ends the connection"
        }
        Tls::Failed => "the handshake fails before a certificate is shown",
        Tls::Unknown if was_reset(evidence) => "the connection is reset at once",
        _ => return None,
    };
    Some(Found::certain(seen).remedy(Remedy::action(
        "Check that nothing stands between (a load balancer, a firewall, a tunnel whose far end is down), and that the database is not restarting",
    )))
}

fn was_reset(evidence: &Evidence) -> bool {
    !evidence.any_open() && evidence.network.tcp.iter().any(|(_, tcp)| *tcp == Tcp::Reset)
}
