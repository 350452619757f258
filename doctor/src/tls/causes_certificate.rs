//! Causes in the certificate that the server shows.

use rds_iam::config::Dial;
use rds_iam::endpoint::{Endpoint, EndpointKind};

use crate::cause::{Cause, Found};
use crate::configuration::causes::root_file;
use crate::evidence::Evidence;
use crate::remedy::Remedy;
use crate::tls::evidence::Verdict;

pub(crate) const CERTIFICATE: &[Cause] = &[
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
