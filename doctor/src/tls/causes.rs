//! What answers, and its certificate.

use rds_iam::config::Dial;
use rds_iam::endpoint::{Endpoint, EndpointKind};

use crate::cause::{Cause, Found};
use crate::configuration::causes::root_file;
use crate::evidence::Evidence;
use crate::network::evidence::Tcp;
use crate::remedy::Remedy;
use crate::tls::evidence::{Protocol, Tls, Verdict};

pub(crate) const CAUSES: &[Cause] = &[
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
    Cause {
        id: "certificate-name",
        title: "the certificate names another host: PGHOST is an alias, an address or a tunnel",
        seen: "`hostname mismatch`; the certificate's names are in the step tls",
        remedy: "the RDS name into `PGHOST`, and the other into `DB_TUNNEL` or `PGHOSTADDR`",
        find: name,
    },
    Cause {
        id: "certificate-expired",
        title: "the server's certificate has expired",
        seen: "its last day is past, and the clocks agree",
        remedy: "rotate it to a current CA",
        find: expired,
    },
    Cause {
        id: "certificate-early",
        title: "the server's certificate is not valid yet",
        seen: "its first day is still to come, and the clocks agree",
        remedy: "a certificate whose time has begun",
        find: early,
    },
    Cause {
        id: "root-expired",
        title: "a certificate above the server's has expired",
        seen: "the server's own certificate is valid; the trusted root or one between is not",
        remedy: "a current root, or the built-in ones",
        find: root_expired,
    },
    Cause {
        id: "root-missing",
        title: "the server's certificate leads to a root that is not trusted",
        seen: "`self-signed certificate in certificate chain`, or `unable to get local issuer certificate`",
        remedy: "the region's built-in roots, RDS Proxy's, or the root's PEM file",
        find: root,
    },
    Cause {
        id: "certificate-refused",
        title: "the server's certificate is refused for another reason than its name, dates or root",
        seen: "the names, dates and root are right: a weak key or signature, a wrong purpose",
        remedy: "rotate it to a current CA",
        find: refused,
    },
    Cause {
        id: "certificate-ending",
        title: "the server's certificate ends soon",
        seen: "fewer than 30 days are left",
        remedy: "rotate it to a current CA",
        find: ending,
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

/// The name of RDS in the certificate, if it holds one without a wildcard.
pub(crate) fn rds_name(evidence: &Evidence) -> Option<Endpoint> {
    let port = evidence.config()?.endpoint.port;
    let endpoints = evidence.presented()?.names.iter().filter(|name| !name.contains('*'));
    endpoints
        .filter_map(|name| Endpoint::parse(name, port).ok())
        .find(|e| e.kind != EndpointKind::Other || e.host.contains(".neptune."))
}

/// The placeholder for a port that nobody knows.
pub(crate) fn database_port(evidence: &Evidence) -> String {
    format!("<the database's port, {} by default>", evidence.environment.engine().usual_port())
}

/// `PGHOST` set to a name, with the connection going where it goes now. What goes to this machine goes
/// through a tunnel, whose port is seldom the database's.
pub(crate) fn under_its_name(evidence: &Evidence, found: Found, name: &str) -> Found {
    let Some(config) = evidence.config() else { return found };
    let (old, port) = (&config.endpoint.host, config.endpoint.port);
    let found = found.remedy(Remedy::variable("PGHOST", name));
    if config.dial != Dial::Endpoint {
        return found;
    }
    let here = evidence.network.tcp.iter().all(|(address, _)| address.ip().is_loopback());
    match old.parse::<std::net::IpAddr>() {
        Ok(address) if !here => found.remedy(Remedy::variable("PGHOSTADDR", address.to_string())),
        _ => {
            let found = found.remedy(Remedy::variable("DB_TUNNEL", format!("{old}:{port}")));
            if here {
                found.remedy(Remedy::variable("PGPORT", database_port(evidence)))
            } else {
                found
            }
        }
    }
}

fn is(evidence: &Evidence, verdict: Verdict) -> bool {
    evidence.presented().is_some_and(|presented| presented.verdict == verdict)
}

fn name(evidence: &Evidence) -> Option<Found> {
    if !is(evidence, Verdict::Name) {
        return None;
    }
    let names = evidence.presented()?.names.join(", ");
    let host = evidence.host();
    let found = Found::certain(format!("PGHOST is {host}; the certificate is for {names}"));
    let config = evidence.config()?;
    if config.endpoint.kind != EndpointKind::Other && config.dial != Dial::Endpoint {
        let (variable, meaning) = match config.dial {
            Dial::Tunnel(..) => ("DB_TUNNEL", format!("<host:port of a tunnel to {host}>")),
            _ => ("PGHOSTADDR", format!("<an address of {host}, or nothing>")),
        };
        return Some(
            found
                .titled(format!("{variable} leads to another database than PGHOST names"))
                .remedy(Remedy::variable(variable, meaning))
                .remedy(Remedy::action(
                    "Or set PGHOST to the other name, if that database is meant",
                )),
        );
    }
    Some(match rds_name(evidence) {
        Some(endpoint) => under_its_name(evidence, found, &endpoint.host),
        None => found.remedy(Remedy::variable("PGHOST", "<the RDS endpoint's own name>")),
    })
}

/// A new certificate: RDS makes its own, and others are somebody else's.
fn rotate(evidence: &Evidence) -> Remedy {
    let names = evidence.presented().map(|presented| presented.names.as_slice());
    let names = names.unwrap_or_default();
    let issuer = evidence.presented().map(|presented| presented.issuer.as_str());
    // A company that looks into TLS has certificates of the same names.
    if !names.iter().any(|name| name.contains(".rds."))
        || !issuer.unwrap_or_default().contains("Amazon")
    {
        return Remedy::action(format!(
            "Renew the certificate of {}, which is not one of RDS: look what stands between",
            names.first().map_or("the server", String::as_str)
        ));
    }
    let id = evidence.host().split('.').next().unwrap_or_default();
    Remedy::command(format!(
        "aws rds modify-db-instance --db-instance-identifier {id} --ca-certificate-identifier rds-ca-rsa2048-g1 --apply-immediately"
    ))
}

fn expired(evidence: &Evidence) -> Option<Found> {
    if !is(evidence, Verdict::Expired) {
        return None;
    }
    let ago = -evidence.presented()?.seconds_left / 86_400;
    let off = evidence.clock.as_ref().is_some_and(|clock| clock.ahead > 3600);
    let seen = format!("it ended {ago} days ago by this machine's clock");
    let found = if off { Found::possible(seen) } else { Found::certain(seen) };
    Some(found.remedy(rotate(evidence)))
}

fn early(evidence: &Evidence) -> Option<Found> {
    if !is(evidence, Verdict::NotYetValid) {
        return None;
    }
    let presented = evidence.presented()?;
    let seen = format!("it becomes valid in {} s by this machine's clock", -presented.seconds_old);
    let clock = evidence.clock.as_ref()?;
    if clock.ahead.abs() > 60 {
        return None;
    }
    let found = Found::certain(seen).also(format!("the clock agrees with {}", clock.source));
    Some(found.remedy(rotate(evidence)))
}

fn root_expired(evidence: &Evidence) -> Option<Found> {
    if !is(evidence, Verdict::RootExpired) {
        return None;
    }
    let presented = evidence.presented()?;
    let found = Found::certain(format!(
        "the server's own certificate is valid; one on the way to the root {:?} has expired",
        presented.issuer
    ));
    Some(match presented.built_in {
        Some(_) if evidence.environment.has("PGSSLROOTCERT") => found
            .also("a current root of that name is built in")
            .remedy(Remedy::unset("PGSSLROOTCERT")),
        _ => found.remedy(Remedy::variable("PGSSLROOTCERT", root_file(evidence))),
    })
}

fn root(evidence: &Evidence) -> Option<Found> {
    if !is(evidence, Verdict::Root)
        || !evidence.configuration.problems.is_empty()
            && evidence.configuration.repairs.iter().any(|(name, _)| name == "PGSSLROOTCERT")
    {
        return None;
    }
    let presented = evidence.presented()?;
    let config = evidence.config()?;
    let given = evidence.environment.has("PGSSLROOTCERT");
    let mut found = Found::certain(format!("it leads to the root {:?}", presented.issuer));
    if given && presented.root.is_some() {
        found = found.also("PGSSLROOTCERT holds a root of that name with another key: it is older or newer than the server's");
    } else if given {
        found = found.also("PGSSLROOTCERT holds other roots");
    }
    Some(match presented.built_in.as_deref() {
        Some("RDS Proxy") if !config.proxy => {
            let found = found.also("that is the root of RDS Proxy");
            let found = if given { found.remedy(Remedy::unset("PGSSLROOTCERT")) } else { found };
            found.remedy(Remedy::variable("DB_PROXY", "true"))
        }
        Some(region) if region != config.common.region && region != "RDS Proxy" => {
            let found = found.also(format!(
                "that is a root of {region}, and the configured region is {}",
                config.common.region
            ));
            let found = if given { found.remedy(Remedy::unset("PGSSLROOTCERT")) } else { found };
            found.remedy(Remedy::variable("DB_REGION", region))
        }
        Some(_) if config.proxy && presented.built_in.as_deref() != Some("RDS Proxy") => {
            found.remedy(Remedy::variable("DB_PROXY", "false"))
        }
        Some(_) => found.also("it is built in").remedy(Remedy::unset("PGSSLROOTCERT")),
        None => found.remedy(Remedy::variable("PGSSLROOTCERT", root_file(evidence))),
    })
}

fn refused(evidence: &Evidence) -> Option<Found> {
    is(evidence, Verdict::Other).then(|| {
        Found::certain("the functions' TLS refuses it; RDS's own certificates are accepted")
            .remedy(rotate(evidence))
    })
}

fn ending(evidence: &Evidence) -> Option<Found> {
    let presented = evidence.presented()?;
    let days = presented.seconds_left / 86_400;
    let soon = presented.verdict == Verdict::Trusted && days < 30;
    soon.then(|| Found::warning(format!("{days} days are left")).remedy(rotate(evidence)))
}
