//! Names, addresses and ports.

use std::net::{IpAddr, SocketAddr};

use rds_iam::config::Dial;
use rds_iam::endpoint::EndpointKind;
use rds_iam::postgres::Refusal;

use crate::aws::evidence::Rds;
use crate::cause::{Cause, Found};
use crate::evidence::Evidence;
use crate::login::evidence::Login;
use crate::network::evidence::{Dns, Tcp};
use crate::remedy::Remedy;
use crate::tls::evidence::Tls;

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "database-stopped",
        title: "the database is not running",
        seen: "RDS says that it is stopped, or has another status in which it serves nobody",
        remedy: "start it; or wait, or do what its last event says",
        find: stopped,
    },
    Cause {
        id: "name-unknown",
        title: "the name of the database does not exist",
        seen: "the resolver says that there is no such name",
        remedy: "the name of a database that RDS has, or a command that lists them",
        find: no_name,
    },
    Cause {
        id: "resolver-silent",
        title: "names cannot be resolved here",
        seen: "the resolver fails or does not answer",
        remedy: "switch on DNS in the VPC, or dial an address",
        find: no_resolver,
    },
    Cause {
        id: "port-refused",
        title: "nothing listens on the port",
        seen: "every address refuses the connection at once",
        remedy: "the right port; with a tunnel, start it",
        find: refused,
    },
    Cause {
        id: "outside-vpc",
        title: "the database is private, and this machine is outside its network",
        seen: "a private address does not answer, and this is not Lambda",
        remedy: "a tunnel, and `DB_TUNNEL`",
        find: outside,
    },
    Cause {
        id: "security-group",
        title: "the network drops the connection: a security group, a route or a network ACL",
        seen: "no address answers; a server that is down would refuse at once",
        remedy: "a rule for the database's security group",
        find: silent,
    },
    Cause {
        id: "no-route",
        title: "there is no route to the database from here",
        seen: "the system refuses to send: the name has addresses of IPv6 only, or the subnet has no route",
        remedy: "dual-stack subnets and `Ipv6AllowedForDualStack`, or a route",
        find: no_route,
    },
    Cause {
        id: "address-dead",
        title: "one of the name's addresses does not answer",
        seen: "some addresses connect and others do not; logins take longer now and then",
        remedy: "the security group's rule for the other subnets",
        find: some_dead,
    },
];

/// RDS's states of a database that serves nobody, and whether each passes by itself
/// (<https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html>); it serves in the
/// others, such as backing-up and modifying.
const NOT_SERVING: [(&str, bool); 15] = [
    ("stopped", false),
    ("stopping", false),
    ("starting", true),
    ("creating", true),
    ("rebooting", true),
    ("renaming", true),
    ("upgrading", true),
    ("deleting", false),
    ("failed", false),
    ("storage-full", false),
    ("inaccessible-encryption-credentials", false),
    ("inaccessible-encryption-credentials-recoverable", false),
    ("incompatible-network", false),
    ("incompatible-parameters", false),
    ("incompatible-restore", false),
];

fn stopped(evidence: &Evidence) -> Option<Found> {
    let database = evidence.database()?;
    let status = database.status.as_str();
    let (_, passes) = NOT_SERVING.iter().find(|(name, _)| *name == status)?;
    // A tunnel or a load balancer accepts connections for a database that is not there.
    let answers =
        matches!(evidence.tls, Tls::Presented(_)) && evidence.attempt.login != Login::Closed;
    if answers && !evidence.refused(Refusal::Starting) {
        return None;
    }
    let (kind, id) = match evidence.config()?.endpoint.kind {
        EndpointKind::Instance => ("instance", &database.id),
        _ => ("cluster", &database.id),
    };
    let found = Found::certain(format!("RDS says that its status is {status}"));
    let start = format!("aws rds start-db-{kind} --db-{kind}-identifier {id}");
    let events =
        format!("aws rds describe-events --source-type db-{kind} --source-identifier {id}");
    Some(match status {
        "stopped" => found.remedy(Remedy::command(start)),
        "stopping" => found
            .remedy(Remedy::action("Wait until it is stopped, and start it then"))
            .remedy(Remedy::command(start)),
        "deleting" => found
            .remedy(Remedy::variable("PGHOST", "<the endpoint of a database that is to stay>")),
        "storage-full" => found.remedy(Remedy::command(format!(
            "aws rds modify-db-instance --db-instance-identifier {id} --allocated-storage <more than now> --apply-immediately"
        ))),
        "inaccessible-encryption-credentials-recoverable" => found
            .remedy(Remedy::action("Enable the KMS key of its storage again, and start it then"))
            .remedy(Remedy::command(start)),
        _ if *passes => found.remedy(Remedy::action("Wait until its status is available")),
        _ => found
            .remedy(Remedy::command(events))
            .remedy(Remedy::action("Do what its last event says: it does not become available by itself")),
    })
}

/// The address that the connection goes to, with the variable that holds it.
fn dialled(evidence: &Evidence) -> (&'static str, String) {
    match evidence.config().map(|config| &config.dial) {
        Some(Dial::Tunnel(host, port)) => ("DB_TUNNEL", format!("{host}:{port}")),
        Some(Dial::Address(address)) => ("PGHOSTADDR", address.to_string()),
        _ => ("PGHOST", evidence.host().to_owned()),
    }
}

fn no_name(evidence: &Evidence) -> Option<Found> {
    if evidence.network.dns != Dns::NoSuchName {
        return None;
    }
    let (variable, name) = dialled(evidence);
    let found = Found::certain(format!("{variable}: the resolver knows no {name}"));
    if variable == "DB_TUNNEL" {
        let found = found.titled("the name of the tunnel does not exist");
        return Some(found.remedy(Remedy::variable(variable, "<host:port of the tunnel>")));
    }
    if let Rds::NotFound { endpoints } = &evidence.aws.rds {
        let distance = |other: &&String| strsim::damerau_levenshtein(other, &name);
        if let Some(near) = endpoints.iter().min_by_key(distance).filter(|near| distance(near) <= 4)
        {
            let found = found.also(format!("RDS has a database at {near}"));
            return Some(found.remedy(Remedy::variable("PGHOST", near)));
        }
    }
    let address = evidence.database().and_then(|database| database.address.as_ref());
    if let Some(address) = address.filter(|address| **address != name) {
        let found = found.also(format!("RDS says that its endpoint is {address}"));
        return Some(found.remedy(Remedy::variable("PGHOST", address)));
    }
    Some(
        found
            .remedy(Remedy::command(list_command(evidence)?))
            .remedy(Remedy::variable("PGHOST", "<one of them>")),
    )
}

/// A command that prints the endpoints of the kind that `PGHOST` names.
pub(crate) fn list_command(evidence: &Evidence) -> Option<String> {
    let config = evidence.config()?;
    let (what, query) = match config.endpoint.kind {
        EndpointKind::Instance | EndpointKind::Other => {
            ("describe-db-instances", "DBInstances[].[Endpoint.Address,Endpoint.Port]")
        }
        EndpointKind::Proxy => ("describe-db-proxies", "DBProxies[].Endpoint"),
        _ => ("describe-db-clusters", "DBClusters[].[Endpoint,ReaderEndpoint,Port]"),
    };
    Some(format!("aws rds {what} --region {} --query '{query}'", config.common.region))
}

fn no_resolver(evidence: &Evidence) -> Option<Found> {
    if evidence.network.dns != Dns::Silent {
        return None;
    }
    let (variable, name) = dialled(evidence);
    let found = Found::likely(format!("{variable}: no answer for {name}"))
        .also("a resolver without a network answers so too, and so does one that has no such name");
    Some(if variable == "DB_TUNNEL" {
        found.remedy(Remedy::variable("DB_TUNNEL", "<an address and port of the tunnel>"))
    } else {
        found
            .remedy(Remedy::command(
                "aws ec2 modify-vpc-attribute --vpc-id <the function's VPC> --enable-dns-support",
            ))
            .remedy(Remedy::variable("PGHOST", "<check its spelling>"))
            .remedy(Remedy::variable("PGHOSTADDR", "<the database's address, until names resolve>"))
    })
}

/// The addresses that count. If an IPv4 address was routable, ignores IPv6 addresses that had no route.
fn routed(evidence: &Evidence) -> Vec<(SocketAddr, Tcp)> {
    let without = |(address, tcp): &&(SocketAddr, Tcp)| address.is_ipv6() && *tcp == Tcp::NoRoute;
    let all = &evidence.network.tcp;
    if all.iter().all(|each| without(&each)) {
        return all.clone();
    }
    all.iter().filter(|each| !without(each)).copied().collect()
}

/// Whether every address that counts ended in one of these ways.
fn all(evidence: &Evidence, wanted: &[Tcp]) -> bool {
    let routed = routed(evidence);
    !routed.is_empty() && routed.iter().all(|(_, tcp)| wanted.contains(tcp))
}

fn addresses(evidence: &Evidence) -> String {
    let routed = routed(evidence);
    let list: Vec<String> = routed.iter().map(|(address, _)| address.to_string()).collect();
    list.join(", ")
}

fn refused(evidence: &Evidence) -> Option<Found> {
    if !all(evidence, &[Tcp::Refused]) {
        return None;
    }
    let config = evidence.config()?;
    let found = Found::certain(format!("{} refused", addresses(evidence)));
    let port = config.endpoint.port;
    let right = evidence.database().and_then(|database| database.port);
    if let Some(right) = right.filter(|right| *right != i32::from(port)) {
        let found = found.also(format!("RDS says that its port is {right}"));
        return Some(found.remedy(Remedy::variable("PGPORT", right.to_string())));
    }
    if let Dial::Tunnel(host, port) = &config.dial {
        return Some(
            found
                .titled("nothing listens at the tunnel's end here")
                .remedy(Remedy::action(format!(
                    "Start the tunnel, so that it listens on {host}:{port}"
                )))
                .remedy(Remedy::variable("DB_TUNNEL", "<host:port where it does listen>")),
        );
    }
    if evidence.network.usual_port_answers {
        let usual = evidence.environment.engine().usual_port();
        let found = found.also(format!("port {usual} of the same address answers"));
        return Some(found.remedy(Remedy::variable("PGPORT", usual.to_string())));
    }
    let found =
        found.also("a firewall would be silent: the address is reached, and no server is there");
    let found = found.remedy(Remedy::variable("PGPORT", "<the database's port>"));
    let found = match config.dial {
        Dial::Address(address) => found
            .also(format!("PGHOSTADDR leads to {address}"))
            .remedy(Remedy::variable("PGHOSTADDR", "<the database's address, or nothing>")),
        _ => found,
    };
    Some(found.remedy(Remedy::action("Check that the database is running")))
}

fn private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

fn outside(evidence: &Evidence) -> Option<Found> {
    let is_private = |(address, _): &(SocketAddr, Tcp)| private(address.ip());
    let unreached = all(evidence, &[Tcp::Silent, Tcp::NoRoute]);
    if !unreached || evidence.environment.is_lambda() || !routed(evidence).iter().all(is_private) {
        return None;
    }
    let config = evidence.config()?;
    let (host, port) = (&config.endpoint.host, config.endpoint.port);
    let mut found = Found::certain(format!(
        "{} is a private address, and does not answer",
        addresses(evidence)
    ));
    let (variable, target) = dialled(evidence);
    if variable != "PGHOST" {
        // Somebody chose that address.
        let found = found.also(format!("{variable} leads to {target}")).titled(format!(
            "the address in {variable} does not answer, and this machine is outside the database's network"
        ));
        let meaning = match variable {
            "DB_TUNNEL" => "<host:port of a tunnel that can be reached>",
            _ => "<an address that can be reached from here, or nothing>",
        };
        return Some(found.remedy(Remedy::variable(variable, meaning)));
    }
    if evidence.database().is_some_and(|database| database.public == Some(false)) {
        found = found.also("RDS says that it is not publicly accessible");
    }
    Some(
        found
            .remedy(Remedy::command(format!(
                "aws ssm start-session --target <an instance in the VPC> --document-name AWS-StartPortForwardingSessionToRemoteHost --parameters host={host},portNumber={port},localPortNumber=15432"
            )))
            .remedy(Remedy::variable("DB_TUNNEL", "localhost:15432")),
    )
}

fn rule(evidence: &Evidence) -> Remedy {
    let port = evidence.config().map_or(0, |config| config.endpoint.port);
    let groups = evidence.database().map(|database| database.security_groups.clone());
    let group = groups.and_then(|groups| groups.first().cloned());
    let group = group.unwrap_or_else(|| "<the database's security group>".into());
    let source = if evidence.environment.is_lambda() {
        "--source-group <the function's security group>"
    } else {
        "--cidr <this machine's address>/<32, or 128 for IPv6>"
    };
    Remedy::command(format!(
        "aws ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port {port} {source}"
    ))
}

fn silent(evidence: &Evidence) -> Option<Found> {
    let some = routed(evidence).iter().any(|(_, tcp)| *tcp == Tcp::Silent);
    if !some || !all(evidence, &[Tcp::Silent, Tcp::Refused]) {
        return None;
    }
    let found = Found::certain(format!("{} did not answer", addresses(evidence)))
        .also("a refusal is immediate: silence is the network");
    if evidence.network.usual_port_answers {
        let usual = evidence.environment.engine().usual_port();
        let found = found.also(format!(
            "port {usual} of the same address answers, so the network lets that one in"
        ));
        return Some(found.remedy(Remedy::variable("PGPORT", usual.to_string())));
    }
    Some(found.remedy(rule(evidence)).remedy(Remedy::action(
        "Check then that the function's own group lets the port out, and that its subnets have a route to the database's",
    )))
}

fn no_route(evidence: &Evidence) -> Option<Found> {
    let some = routed(evidence).iter().any(|(_, tcp)| *tcp == Tcp::NoRoute);
    let silent = routed(evidence).iter().any(|(_, tcp)| *tcp == Tcp::Silent);
    if !some || silent || evidence.any_open() {
        return None;
    }
    let ipv6 = evidence.network.tcp.iter().all(|(address, _)| address.is_ipv6());
    let found = Found::certain(format!("no route to {}", addresses(evidence)));
    Some(if ipv6 {
        found
            .titled("the database has addresses of IPv6 only, and this machine has no IPv6")
            .remedy(Remedy::action(
                "Give the function dual-stack subnets and VpcConfig.Ipv6AllowedForDualStack: true, or the database the network type DUAL",
            ))
    } else {
        found.remedy(Remedy::action(
            "Give the function's subnets a route to the database's: the same VPC, a peering or a transit gateway",
        ))
    })
}

fn some_dead(evidence: &Evidence) -> Option<Found> {
    let dead = || evidence.network.tcp.iter().filter(|(_, tcp)| *tcp != Tcp::Open);
    let (_, how) = dead().next()?;
    if !evidence.any_open() {
        return None;
    }
    let list: Vec<String> = dead().map(|(address, _)| address.to_string()).collect();
    let found = Found::warning(format!("{} did not connect, another address did", list.join(", ")));
    Some(match how {
        Tcp::Silent => found.remedy(rule(evidence)),
        Tcp::NoRoute => found.remedy(Remedy::action(
            "Give this machine a route to those addresses, or take them out of the name: a login tries them too",
        )),
        _ => found.remedy(Remedy::action(
            "Look why no server listens there, or take the address out of the name",
        )),
    })
}
