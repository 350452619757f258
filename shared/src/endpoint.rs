//! The database's endpoint: its host name gives the region and the kind.
//!
//! Name formats: <https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/Aurora.Overview.Endpoints.html>,
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/rds-proxy-endpoints.html>; China:
//! <https://docs.amazonaws.cn/en_us/aws/latest/userguide/endpoints-Beijing.html>.

use crate::flaw::Flaw;

/// The kind of endpoint that a host name names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndpointKind {
    /// One RDS or Aurora instance.
    Instance,
    /// Aurora's writer (cluster) endpoint.
    ClusterWriter,
    /// Aurora's reader endpoint.
    ClusterReader,
    /// An Aurora custom endpoint.
    ClusterCustom,
    /// The writer endpoint of an Aurora global database, whose name has no region.
    Global,
    /// RDS Proxy, its default endpoint or an additional one.
    Proxy,
    /// Not an RDS name: an alias (CNAME), an address, a tunnel.
    Other,
}

/// A host and port, with the kind and region that the name gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Lower-case host name: RDS names are, and tokens are signed for lower case.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The kind of endpoint.
    pub kind: EndpointKind,
    /// The region in the name, if it holds one.
    pub region: Option<String>,
}

/// The DNS suffix of each partition, as the SDKs' partitions.json has them; a test compares.
const SUFFIXES: [&str; 7] = [
    ".amazonaws.com",
    ".amazonaws.com.cn",
    ".amazonaws.eu",
    ".c2s.ic.gov",
    ".sc2s.sgov.gov",
    ".cloud.adc-e.uk",
    ".csp.hci.ic.gov",
];

/// The variables in which an engine takes its endpoint, as messages name them.
pub(crate) struct Variables {
    pub(crate) host: &'static str,
    pub(crate) port: &'static str,
    /// The address to dial instead.
    pub(crate) address: &'static str,
}

impl Variables {
    /// libpq's.
    pub(crate) const LIBPQ: Self = Self { host: "PGHOST", port: "PGPORT", address: "PGHOSTADDR" };
}

impl Endpoint {
    /// Reads a host name.
    ///
    /// # Errors
    /// The flaw of a host that cannot be an endpoint. It names libpq's variables.
    pub fn parse(host: &str, port: u16) -> Result<Self, Flaw> {
        Self::parse_for(&Variables::LIBPQ, host, port)
    }

    /// As [`Endpoint::parse`], for an engine whose variables have other names.
    pub(crate) fn parse_for(variables: &Variables, host: &str, port: u16) -> Result<Self, Flaw> {
        check_host(variables, host)?;
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let (kind, region) = classify(&host);
        Ok(Self { host, port, kind, region })
    }
}

fn check_host(variables: &Variables, host: &str) -> Result<(), Flaw> {
    if host.contains(',') {
        return Err(Flaw::new(
            "holds several hosts",
            "; give one endpoint (Aurora's cluster endpoint follows a failover by itself)",
        ));
    }
    if host.starts_with('/') || host.starts_with('@') {
        return Err(Flaw::new("is a Unix socket", "; RDS IAM authentication needs TCP and TLS"));
    }
    if host.contains("://") {
        return Err(Flaw::new("is a URL", "; give the host name alone"));
    }
    let port_in_host = host.rsplit_once(':').is_some_and(|(name, port)| {
        !name.contains(':') && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
    });
    if port_in_host {
        return Err(Flaw::new("holds a port", format!("; put the port into {}", variables.port)));
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        let Variables { host, address, .. } = variables;
        return Err(Flaw::new(
            "is an IPv6 address",
            format!("; put it into {address}, and the RDS name into {host}"),
        ));
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if host.len() > 253
        || !host.bytes().all(legal)
        || !host.bytes().any(|b| b.is_ascii_alphanumeric())
    {
        return Err(Flaw::new(
            "is not a host name",
            " (letters, digits, dots and hyphens, 253 at most)",
        ));
    }
    Ok(())
}

/// The partition of a region, as ARNs name it.
pub fn partition(region: &str) -> &'static str {
    match region {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("eusc-") => "aws-eusc",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        region if region.starts_with("eu-isoe-") => "aws-iso-e",
        region if region.starts_with("us-isof-") => "aws-iso-f",
        _ => "aws",
    }
}

/// Kind and region of a lower-case host name.
fn classify(host: &str) -> (EndpointKind, Option<String>) {
    const OTHER: (EndpointKind, Option<String>) = (EndpointKind::Other, None);
    let Some(name) = SUFFIXES.iter().find_map(|suffix| host.strip_suffix(suffix)) else {
        return OTHER;
    };
    // `id.hash.region.rds`, or in China also `id.hash.rds.region`.
    let labels: Vec<&str> = name.split('.').collect();
    let (region, front) = match labels.as_slice() {
        [front @ .., region, "rds"] | [front @ .., "rds", region] => (*region, front),
        _ => return OTHER,
    };
    let [_, .., group] = front else { return OTHER };
    if region == "global" {
        return (EndpointKind::Global, None);
    }
    if !is_region(region) {
        return OTHER;
    }
    let kind = if group.starts_with("cluster-ro-") {
        EndpointKind::ClusterReader
    } else if group.starts_with("cluster-custom-") {
        EndpointKind::ClusterCustom
    } else if group.starts_with("cluster-") {
        EndpointKind::ClusterWriter
    } else if group.starts_with("proxy-") {
        EndpointKind::Proxy
    } else {
        EndpointKind::Instance
    };
    (kind, Some(region.to_owned()))
}

/// Whether this has the form of a region's name: `eu-west-1`, `us-gov-west-1`, `eusc-de-east-1`.
pub fn is_region(name: &str) -> bool {
    let parts: Vec<&str> = name.split('-').collect();
    let [partition, areas @ .., number] = parts.as_slice() else {
        return false;
    };
    let word = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase());
    matches!(partition.len(), 2 | 4)
        && word(partition)
        && !areas.is_empty()
        && areas.iter().all(|area| word(area))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind_and_region(host: &str) -> (EndpointKind, Option<String>) {
        let endpoint = Endpoint::parse(host, 5432).unwrap();
        (endpoint.kind, endpoint.region)
    }

    #[test]
    fn rds_names_give_kind_and_region() {
        use EndpointKind::*;
        let cases = [
            ("db.c1a2b3.us-east-1.rds.amazonaws.com", Instance, "us-east-1"),
            ("DB.C1A2B3.US-EAST-1.RDS.AMAZONAWS.COM", Instance, "us-east-1"),
            ("db.c1a2b3.us-east-1.rds.amazonaws.com.", Instance, "us-east-1"),
            ("a.cluster-c1a2b3.eu-west-3.rds.amazonaws.com", ClusterWriter, "eu-west-3"),
            ("a.cluster-ro-c1a2b3.eu-west-3.rds.amazonaws.com", ClusterReader, "eu-west-3"),
            (
                "a.cluster-custom-c1a2b3.ap-southeast-2.rds.amazonaws.com",
                ClusterCustom,
                "ap-southeast-2",
            ),
            ("p.proxy-c1a2b3.us-west-2.rds.amazonaws.com", Proxy, "us-west-2"),
            ("e.endpoint.proxy-c1a2b3.us-west-2.rds.amazonaws.com", Proxy, "us-west-2"),
            ("db.c1a2b3.us-gov-west-1.rds.amazonaws.com", Instance, "us-gov-west-1"),
            ("db.c1a2b3.rds.cn-north-1.amazonaws.com.cn", Instance, "cn-north-1"),
            ("db.c1a2b3.cn-northwest-1.rds.amazonaws.com.cn", Instance, "cn-northwest-1"),
            ("p.proxy-c1a2b3.cn-north-1.rds.amazonaws.com.cn", Proxy, "cn-north-1"),
            ("a.cluster-c1a2b3.eusc-de-east-1.rds.amazonaws.eu", ClusterWriter, "eusc-de-east-1"),
            ("db.c1a2b3.us-iso-east-1.rds.c2s.ic.gov", Instance, "us-iso-east-1"),
            ("db.c1a2b3.eu-isoe-west-1.rds.cloud.adc-e.uk", Instance, "eu-isoe-west-1"),
            ("db.c1a2b3.us-isof-south-1.rds.csp.hci.ic.gov", Instance, "us-isof-south-1"),
            ("db.c1a2b3.mx-central-1.rds.amazonaws.com", Instance, "mx-central-1"),
        ];
        for (host, kind, region) in cases {
            assert_eq!(kind_and_region(host), (kind, Some(region.to_owned())), "{host}");
        }
    }

    #[test]
    fn other_names_have_no_region() {
        for host in ["localhost", "10.0.0.1", "db.example.com", "us-east-1.rds.amazonaws.com"] {
            assert_eq!(kind_and_region(host), (EndpointKind::Other, None), "{host}");
        }
        let global = "g.global-c1a2b3.global.rds.amazonaws.com";
        assert_eq!(kind_and_region(global), (EndpointKind::Global, None));
    }

    #[test]
    fn impossible_hosts_are_refused_with_the_reason() {
        for (host, reason) in [
            ("", "not a host name"),
            ("a b", "not a host name"),
            ("a,b", "several hosts"),
            ("/var/run/postgresql", "Unix socket"),
            ("postgres://db", "a URL"),
            ("db:5432", "PGPORT"),
            ("::1", "PGHOSTADDR"),
        ] {
            let error = Endpoint::parse(host, 5432).unwrap_err();
            assert!(error.to_string().contains(reason), "{host}: {error}");
        }
    }

    #[test]
    fn availability_zones_are_not_regions() {
        assert!(is_region("us-east-1") && is_region("us-iso-east-1"));
        for name in ["us-east-1a", "us-east", "US-EAST-1", "", "useast1"] {
            assert!(!is_region(name), "{name}");
        }
    }
}
