//! Reads the environment as a function does. If that fails, fixes what can be guessed, so that the remaining
//! steps still run.

use std::net::IpAddr;

use rds_iam::Config;
use rds_iam::config::Problem;
use rds_iam::endpoint::{Endpoint, is_region};
use tokio::time::Instant;

use crate::configuration::evidence::Configuration;
use crate::environment::Environment;
use crate::report::{Status, Step};

type Repairs = Vec<(String, String)>;

pub(crate) fn read(environment: &Environment) -> (Configuration, Step) {
    let start = Instant::now();
    let step = |status, found: String| Step::new("configuration", status, start.elapsed(), found);
    match Config::check(|name| environment.raw(name)) {
        Ok(config) => {
            let endpoint = &config.endpoint;
            let found = format!(
                "{} at {}:{}, database {}, region {}",
                config.user, endpoint.host, endpoint.port, config.database, config.common.region
            );
            let step = step(Status::Ok, found);
            (Configuration { config: Some(config), ..Configuration::default() }, step)
        }
        Err(problems) => {
            let repairs = repairs(environment, &problems);
            let repaired = environment.with(&repairs);
            let config = Config::check(|name| repaired.raw(name)).ok();
            let said: Vec<String> = problems.iter().map(Problem::to_string).collect();
            let step = step(Status::Failed, said.join("; "));
            (Configuration { config, problems, repairs }, step)
        }
    }
}

/// Values for the wrong variables, where they can be guessed; the others are unset.
fn repairs(environment: &Environment, problems: &[Problem]) -> Repairs {
    let mut repairs = Repairs::new();
    for problem in problems {
        let name = problem.variable;
        let given = environment.get(name).unwrap_or_default();
        let clean = given.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        let mut set = |name: &str, value: &str| repairs.push((name.to_owned(), value.to_owned()));
        match name {
            "PGHOST" => host(clean, &mut set),
            "PGHOSTADDR" => address(clean, environment.get("PGPORT").unwrap_or("5432"), &mut set),
            "DB_TUNNEL" => set(name, &tunnel(clean).unwrap_or_default()),
            "PGTARGETSESSIONATTRS" => {
                let writes =
                    ["read-write", "primary"].contains(&clean.to_ascii_lowercase().as_str());
                set(name, if writes { "read-write" } else { "any" });
            }
            // An Availability Zone is its region and a letter.
            "DB_REGION" | "AWS_REGION" => {
                let lower = clean.to_ascii_lowercase();
                let zone = lower.strip_suffix(|c: char| c.is_ascii_lowercase()).unwrap_or_default();
                let region = [lower.as_str(), zone].into_iter().find(|name| is_region(name));
                set(name, region.unwrap_or_default());
            }
            "PGPORT" => {
                let digits = clean.trim_matches(|c: char| !c.is_ascii_digit());
                let port = digits.parse::<u16>().ok().filter(|port| *port != 0);
                set(name, &port.map(|port| port.to_string()).unwrap_or_default());
            }
            "PGSSLMODE" => set(name, "verify-full"),
            "DB_PROXY" | "DB_METRICS" => {
                let on = ["true", "1", "yes", "on"].contains(&clean.to_ascii_lowercase().as_str());
                set(name, if on { "true" } else { "false" });
            }
            // A name that was pasted with its quotes or a line break; else unset, and so the default.
            _ if clean != given && !clean.is_empty() => set(name, clean),
            _ => set(name, ""),
        }
    }
    let mut seen = std::collections::HashSet::new();
    repairs.retain(|(name, _)| seen.insert(name.clone()));
    repairs
}

/// The address in a network or in brackets; a name belongs to DB_TUNNEL.
fn address(given: &str, port: &str, set: &mut impl FnMut(&str, &str)) {
    let bare = given.split('/').next().unwrap_or_default().trim_matches(['[', ']']);
    if bare.parse::<IpAddr>().is_ok() {
        return set("PGHOSTADDR", bare);
    }
    set("PGHOSTADDR", "");
    if let Some(tunnel) = tunnel(given).or_else(|| tunnel(&format!("{given}:{port}"))) {
        set("DB_TUNNEL", &tunnel);
    }
}

/// `host:port` in a URL, with a space for the colon, or as a port alone.
fn tunnel(given: &str) -> Option<String> {
    let rest = given.split_once("://").map_or(given, |(_, rest)| rest).trim_end_matches('/');
    let rest = rest.split_whitespace().collect::<Vec<_>>().join(":").replace("::", ":");
    let (host, port) = rest.rsplit_once(':').unwrap_or(("", &rest));
    let host = if host.is_empty() { "localhost" } else { host };
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let fits = port.parse::<u16>().is_ok_and(|port| port != 0) && host.bytes().all(legal);
    fits.then(|| format!("{host}:{port}"))
}

/// The host in a URL, a `host:port`, a list, or quotes.
fn host(given: &str, set: &mut impl FnMut(&str, &str)) {
    let rest = given.split_once("://").map_or(given, |(_, rest)| rest);
    let authority = rest.split(['/', '?', ',']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let ipv6 = authority.matches(':').count() > 1;
    match authority.rsplit_once(':') {
        Some((host, port)) if !ipv6 && port.parse::<u16>().is_ok() => {
            set("PGHOST", host);
            set("PGPORT", port);
        }
        _ if Endpoint::parse(authority.trim(), 5432).is_ok() => set("PGHOST", authority.trim()),
        _ => set("PGHOST", ""),
    }
}
