//! Names and connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rds_iam::Config;
use rds_iam::config::Dial;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::environment::Environment;
use crate::network::evidence::{Dns, Network, Tcp};
use crate::report::{Status, Step};
use crate::times::bound;

const RESOLVE: Duration = Duration::from_millis(2000);
const CONNECT: Duration = Duration::from_millis(1500);
/// PostgreSQL's port.
pub(crate) const USUAL_PORT: u16 = 5432;
/// `AI_CANONNAME`, the same in every libc: the resolver tells the name behind an alias.
const CANONICAL_NAME: i32 = 2;
/// `SOCK_STREAM`, or each address comes once for each kind of socket.
const STREAM: i32 = 1;

/// The host and port to dial.
fn target(config: &Config) -> (String, u16) {
    match &config.dial {
        Dial::Endpoint => (config.endpoint.host.clone(), config.endpoint.port),
        Dial::Address(address) => (address.to_string(), config.endpoint.port),
        Dial::Tunnel(host, port) => (host.clone(), *port),
    }
}

/// The way to the server, as far as a connection.
#[derive(Default)]
pub(crate) struct Way {
    pub(crate) network: Network,
    /// The first open connection: MySQL counts those that end before a login.
    pub(crate) stream: Option<TcpStream>,
    pub(crate) steps: Vec<Step>,
}

pub(crate) async fn reach(environment: &Environment, config: &Config, deadline: Instant) -> Way {
    let mut way = Way::default();
    let addresses = resolve(config, deadline, &mut way).await;
    dial(environment, config, &addresses, deadline, &mut way).await;
    way
}

async fn resolve(config: &Config, deadline: Instant, way: &mut Way) -> Vec<SocketAddr> {
    let start = Instant::now();
    let (host, port) = target(config);
    if let Ok(address) = host.parse::<IpAddr>() {
        way.network.dns = Dns::Literal;
        let found = format!("{address} is an address, no name is resolved");
        way.steps.push(Step::new("dns", Status::Ok, start.elapsed(), found));
        return vec![(address, port).into()];
    }
    let name = host.clone();
    // A resolver that hangs keeps its thread; the program does not wait for it.
    let lookup = tokio::task::spawn_blocking(move || lookup(&name));
    let answer = timeout_at(bound(deadline, RESOLVE), lookup).await;
    let (dns, addresses) = match answer {
        Ok(Ok(Ok((addresses, canonical)))) if !addresses.is_empty() => {
            let alias_of = canonical.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
            (Dns::Resolved { alias_of: alias_of.filter(|name| *name != host) }, addresses)
        }
        Ok(Ok(Ok(_))) => (Dns::NoSuchName, Vec::new()),
        Ok(Ok(Err(dns))) => (dns, Vec::new()),
        _ => (Dns::Silent, Vec::new()),
    };
    let list: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let (status, found) = match &dns {
        Dns::Resolved { alias_of: None } => (Status::Ok, format!("{host} is {}", list.join(", "))),
        Dns::Resolved { alias_of: Some(name) } => {
            (Status::Ok, format!("{host} is an alias of {name}, {}", list.join(", ")))
        }
        Dns::NoSuchName => (Status::Failed, format!("there is no name {host}")),
        _ => (Status::Failed, format!("the resolver gave no answer for {host}")),
    };
    way.network.dns = dns;
    way.steps.push(Step::new("dns", status, start.elapsed(), found));
    addresses.into_iter().map(|address| (address, port).into()).collect()
}

fn lookup(name: &str) -> Result<(Vec<IpAddr>, Option<String>), Dns> {
    let hints = dns_lookup::AddrInfoHints {
        flags: CANONICAL_NAME,
        socktype: STREAM,
        ..dns_lookup::AddrInfoHints::default()
    };
    let found =
        dns_lookup::getaddrinfo(Some(name), None, Some(hints)).map_err(|error| {
            match error.kind() {
                dns_lookup::LookupErrorKind::NoName | dns_lookup::LookupErrorKind::NoData => {
                    Dns::NoSuchName
                }
                _ => Dns::Silent,
            }
        })?;
    let mut addresses = Vec::new();
    let mut canonical = None;
    for info in found.flatten() {
        canonical = canonical.or(info.canonname);
        let address = info.sockaddr.ip();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok((addresses, canonical))
}

async fn dial(
    environment: &Environment,
    config: &Config,
    addresses: &[SocketAddr],
    deadline: Instant,
    way: &mut Way,
) {
    if addresses.is_empty() {
        way.steps.push(Step::skipped("tcp", "there is no address"));
        return;
    }
    let start = Instant::now();
    let until = bound(deadline, CONNECT);
    let mut tries = JoinSet::new();
    for (index, address) in addresses.iter().copied().enumerate() {
        tries.spawn(async move { (index, address, connect(address, until).await) });
    }
    let mut results = tries.join_all().await;
    results.sort_by_key(|(index, ..)| *index);
    let mut said = Vec::new();
    for (_, address, (connected, took)) in results {
        let tcp = match connected {
            Ok(stream) => {
                way.stream.get_or_insert(stream);
                Tcp::Open
            }
            Err(tcp) => tcp,
        };
        said.push(match tcp {
            Tcp::Open => format!("{address} connected in {:.1} ms", took.as_secs_f64() * 1000.0),
            Tcp::Refused => format!("{address} refused"),
            Tcp::Silent => format!("{address} did not answer in {} ms", CONNECT.as_millis()),
            Tcp::NoRoute => format!("{address} has no route from here"),
            Tcp::Reset => format!("{address} reset"),
        });
        way.network.tcp.push((address, tcp));
    }
    let open = way.network.tcp.iter().filter(|(_, tcp)| *tcp == Tcp::Open).count();
    let status = match open {
        0 => Status::Failed,
        _ if open < way.network.tcp.len() => Status::Warning,
        _ => Status::Ok,
    };
    let (_, port) = target(config);
    let usual_port = environment.engine().usual_port();
    // Only where the port was chosen: a second guess at the default would be the same.
    if open == 0 && port != usual_port && environment.has("PGPORT") {
        let usual = SocketAddr::new(addresses[0].ip(), usual_port);
        way.network.usual_port_answers =
            connect(usual, bound(deadline, Duration::from_millis(300))).await.0.is_ok();
        if way.network.usual_port_answers {
            said.push(format!("{usual} answers"));
        }
    }
    way.steps.push(Step::new("tcp", status, start.elapsed(), said.join("; ")));
}

async fn connect(address: SocketAddr, until: Instant) -> (Result<TcpStream, Tcp>, Duration) {
    let start = Instant::now();
    let connected = match timeout_at(until, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Err(_) => Err(Tcp::Silent),
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => Tcp::Refused,
            io::ErrorKind::ConnectionReset => Tcp::Reset,
            io::ErrorKind::TimedOut => Tcp::Silent,
            _ => Tcp::NoRoute,
        }),
    };
    (connected, start.elapsed())
}
