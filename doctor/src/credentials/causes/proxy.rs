//! The proxy of the environment, which the SDK uses for every request unless `NO_PROXY` names the host.

use crate::cause::Found;
use crate::environment::Environment;
use crate::remedy::Remedy;

/// A proxy that a URL is requested through.
pub(super) struct Proxy {
    variable: &'static str,
    host: String,
    /// The variable of the hosts without a proxy, and its value.
    exempt: (&'static str, String),
}

/// The proxy that the SDK would use for this URL.
pub(super) fn of(environment: &Environment, url: &str) -> Option<Proxy> {
    let (scheme, host) = parts(url)?;
    let first = |names: [&'static str; 2]| names.into_iter().find(|name| environment.has(name));
    let own = match scheme {
        "http" => ["HTTP_PROXY", "http_proxy"],
        _ => ["HTTPS_PROXY", "https_proxy"],
    };
    let variable = first(own).or_else(|| first(["ALL_PROXY", "all_proxy"]))?;
    let exempt = first(["NO_PROXY", "no_proxy"]).unwrap_or("NO_PROXY");
    let hosts = environment.get(exempt).unwrap_or_default().to_owned();
    let covers = |entry: &str| {
        let entry = entry.trim().trim_start_matches('.');
        entry == "*" || host.strip_suffix(entry).is_some_and(|r| r.is_empty() || r.ends_with('.'))
    };
    if hosts.split(',').filter(|entry| !entry.trim().is_empty()).any(covers) {
        return None;
    }
    Some(Proxy { variable, host: host.to_owned(), exempt: (exempt, hosts) })
}

impl Proxy {
    /// Names the variable, whose value may hold a password, and exempts the host.
    pub(super) fn explain(&self, found: Found) -> Found {
        let Self { variable, host, exempt: (exempt, hosts) } = self;
        let hosts = if hosts.is_empty() { host.clone() } else { format!("{hosts},{host}") };
        found
            .titled(format!("{host} cannot be reached through the proxy of {variable}"))
            .also(format!("{variable} is set, and {exempt} does not name {host}: the request goes to that proxy"))
            .remedy(Remedy::variable(exempt, hosts))
    }
}

/// The scheme and the host of a URL.
fn parts(url: &str) -> Option<(&str, &str)> {
    let (scheme, authority) = authority(url)?;
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    (!host.is_empty()).then_some((scheme, host))
}

/// The scheme, and what comes after a user and a password and before a path.
fn authority(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    // A password may hold a slash.
    let rest = rest.rsplit('@').next().unwrap_or_default();
    Some((scheme, rest.split(['/', '?', '#']).next().unwrap_or_default()))
}

/// The server of a URL, to show: a path or a query may be secret too.
pub(super) fn server(url: &str) -> String {
    authority(url)
        .map_or("something that is not a URL".into(), |(scheme, host)| format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(variables: &[(&str, &str)], url: &str) -> Option<&'static str> {
        let changes: Vec<(String, String)> =
            variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        of(&Environment::default().with(&changes), url).map(|proxy| proxy.variable)
    }

    #[test]
    fn the_scheme_and_no_proxy_decide() {
        let both = [("HTTPS_PROXY", "http://u:p@p:1"), ("http_proxy", "p:2")];
        let sts = "https://sts.us-east-1.amazonaws.com";
        assert_eq!(proxy(&both, sts), Some("HTTPS_PROXY"));
        assert_eq!(proxy(&both, "http://169.254.170.2/x"), Some("http_proxy"));
        assert_eq!(proxy(&[("all_proxy", "p:1")], sts), Some("all_proxy"));
        for exempt in ["*", ".amazonaws.com", "a, sts.us-east-1.amazonaws.com", "amazonaws.com"] {
            assert_eq!(proxy(&[("HTTPS_PROXY", "p:1"), ("no_proxy", exempt)], sts), None);
        }
        let other = [("HTTPS_PROXY", "p:1"), ("NO_PROXY", "aws.com,,x")];
        assert_eq!(proxy(&other, sts), Some("HTTPS_PROXY"));
        assert_eq!(proxy(&[], sts), None);
    }

    #[test]
    fn a_password_is_not_shown() {
        assert_eq!(server("http://h:80/s3cret?token=s3cret"), "http://h:80");
        for url in ["http://u:s3cret@h/x", "http://u:s3/cret@h", "u:s3cret@h"] {
            assert!(!server(url).contains("s3"), "{}", server(url));
        }
    }
}
