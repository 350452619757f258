//! Names, addresses and ports.

use std::net::{IpAddr, SocketAddr};

use rds_iam::config::Dial;
use rds_iam::endpoint::EndpointKind;

use super::{Cause, Found};
use crate::evidence::{Dns, Evidence, Rds, Tcp};
use crate::remedy::Remedy;

pub(super) const CAUSES: &[Cause] = &[
    Cause {
        id: "database-stopped",
        title: "the database is not running",
        seen: "RDS says that it is stopped, or being changed",
        remedy: "start it",
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

fn stopped(evidence: &Evidence) -> Option<Found> {
    let database = evidence.database()?;
    if evidence.any_open() || ["available", ""].contains(&database.status.as_str()) {
        return None;
    }
    let id = evidence.host().split('.').next().unwrap_or_default();
    let found = Found::certain(format!("RDS says that its status is {}", database.status));
    Some(if database.status == "stopped" {
        let what = match evidence.config.as_ref()?.endpoint.kind {
            EndpointKind::Instance => {
                format!("aws rds start-db-instance --db-instance-identifier {id}")
            }
            _ => format!("aws rds start-db-cluster --db-cluster-identifier {id}"),
        };
        found.remedy(Remedy::command(what))
    } else {
        found.remedy(Remedy::action("Wait until its status is available"))
    })
}

/// What the connection goes to, with the variable that says so.
fn dialled(evidence: &Evidence) -> (&'static str, String) {
    match evidence.config.as_ref().map(|config| &config.dial) {
        Some(Dial::Tunnel(host, port)) => ("DB_TUNNEL", format!("{host}:{port}")),
        Some(Dial::Address(address)) => ("PGHOSTADDR", address.to_string()),
        _ => ("PGHOST", evidence.host().to_owned()),
    }
}

fn no_name(evidence: &Evidence) -> Option<Found> {
    if evidence.dns != Dns::NoSuchName {
        return None;
    }
    let (variable, name) = dialled(evidence);
    let found = Found::certain(format!("{variable}: the resolver knows no {name}"));
    if variable == "DB_TUNNEL" {
        let found = found.titled("the name of the tunnel does not exist");
        return Some(found.remedy(Remedy::variable(variable, "<host:port of the tunnel>")));
    }
    if let Rds::NotFound { endpoints } = &evidence.rds {
        let distance = |other: &&String| strsim::damerau_levenshtein(other, &name);
        if let Some(near) = endpoints.iter().min_by_key(distance).filter(|near| distance(near) <= 4)
        {
            let found = found.also(format!("RDS has a database at {near}"));
            return Some(found.remedy(Remedy::variable("PGHOST", near)));
        }
    }
    let region = evidence.config.as_ref().map_or("<region>", |config| &config.region);
    Some(
        found
            .remedy(Remedy::command(format!(
                "aws rds describe-db-instances --region {region} --query 'DBInstances[].Endpoint.Address'"
            )))
            .remedy(Remedy::variable("PGHOST", "<one of them>")),
    )
}

fn no_resolver(evidence: &Evidence) -> Option<Found> {
    if evidence.dns != Dns::Silent {
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

fn all(evidence: &Evidence, wanted: &[Tcp]) -> bool {
    !evidence.tcp.is_empty() && evidence.tcp.iter().all(|(_, tcp)| wanted.contains(tcp))
}

fn addresses(evidence: &Evidence) -> String {
    let list: Vec<String> = evidence.tcp.iter().map(|(address, _)| address.to_string()).collect();
    list.join(", ")
}

fn refused(evidence: &Evidence) -> Option<Found> {
    if !all(evidence, &[Tcp::Refused]) {
        return None;
    }
    let config = evidence.config.as_ref()?;
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
    if evidence.usual_port_answers {
        let found = found.also("port 5432 of the same address answers");
        return Some(found.remedy(Remedy::variable("PGPORT", "5432")));
    }
    let found =
        found.also("a firewall would be silent: the address is reached, and no server is there");
    Some(
        found
            .remedy(Remedy::variable("PGPORT", "<the database's port>"))
            .remedy(Remedy::action("Check that the database is running")),
    )
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
    if !unreached || evidence.environment.is_lambda() || !evidence.tcp.iter().all(is_private) {
        return None;
    }
    let config = evidence.config.as_ref()?;
    let (host, port) = (&config.endpoint.host, config.endpoint.port);
    let mut found = Found::certain(format!(
        "{} is a private address, and does not answer",
        addresses(evidence)
    ));
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
    let port = evidence.config.as_ref().map_or(5432, |config| config.endpoint.port);
    let groups = evidence.database().map(|database| database.security_groups.clone());
    let group = groups.and_then(|groups| groups.first().cloned());
    let group = group.unwrap_or_else(|| "<the database's security group>".into());
    let source = if evidence.environment.is_lambda() {
        "--source-group <the function's security group>"
    } else {
        "--cidr <this machine's address>/32"
    };
    Remedy::command(format!(
        "aws ec2 authorize-security-group-ingress --group-id {group} --protocol tcp --port {port} {source}"
    ))
}

fn silent(evidence: &Evidence) -> Option<Found> {
    if !all(evidence, &[Tcp::Silent]) || outside(evidence).is_some() {
        return None;
    }
    let found = Found::certain(format!("{} did not answer", addresses(evidence)))
        .also("a refusal is immediate: silence is the network");
    Some(found.remedy(rule(evidence)).remedy(Remedy::action(
        "Check then that the function's own group lets the port out, and that its subnets have a route to the database's",
    )))
}

fn no_route(evidence: &Evidence) -> Option<Found> {
    let some = evidence.tcp.iter().any(|(_, tcp)| *tcp == Tcp::NoRoute);
    if !some || evidence.any_open() || outside(evidence).is_some() {
        return None;
    }
    let ipv6 = evidence.tcp.iter().all(|(address, _)| address.is_ipv6());
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
    let dead: Vec<String> = evidence
        .tcp
        .iter()
        .filter(|(_, tcp)| *tcp != Tcp::Open)
        .map(|(address, _)| address.to_string())
        .collect();
    if dead.is_empty() || !evidence.any_open() {
        return None;
    }
    Some(
        Found::warning(format!("{} did not connect, another address did", dead.join(", ")))
            .remedy(rule(evidence)),
    )
}
