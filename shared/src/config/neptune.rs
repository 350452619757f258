//! The environment of a function that queries Neptune.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;

use crate::config::vars::Vars;
use crate::config::{
    Common, Problem, host_and_port, provider, queries_beside_the_binary, wrong_environment,
};
use crate::credentials::Role;
use crate::endpoint::{Variables, is_region};
use crate::error::Error;
use crate::query::Library;
use crate::roots::Roots;

const VARIABLES: Variables =
    Variables { host: "NEPTUNE_HOST", port: "NEPTUNE_PORT", address: "DB_TUNNEL" };
/// Why the region is not known.
const NO_REGION: &str = "NEPTUNE_HOST is not a Neptune name that tells the region: set the cluster's region, such as eu-west-1";
/// How long dialling and the TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything that the environment says, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NeptuneConfig {
    /// The cluster's endpoint (`NEPTUNE_HOST`, `NEPTUNE_PORT`): requests are signed for it, and the
    /// certificate must name it.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The region that requests are signed for.
    pub region: String,
    /// Dial this host and port instead (`DB_TUNNEL`).
    pub tunnel: Option<(String, u16)>,
    /// Trusted roots: Amazon's, or those of `NEPTUNE_SSLROOTCERT`.
    pub roots: Roots,
    /// Bound of dialling and the TLS handshake.
    pub connect_timeout: Duration,
    /// The role to assume before signing.
    pub role: Option<Role>,
    /// The region whose STS is called for that role.
    pub sts_region: String,
    /// The URL of another STS than AWS's own.
    pub sts_endpoint: Option<String>,
    /// The query that runs when the event names none.
    pub default_query: Option<String>,
    /// The folder of query files.
    pub queries_dir: PathBuf,
}

impl NeptuneConfig {
    /// Reads the process's environment. Query files are in `queries/neptune` beside the binary unless
    /// `QUERIES_DIR` names another folder.
    ///
    /// # Errors
    /// As [`NeptuneConfig::from_vars`].
    pub fn from_env() -> Result<Self, Error> {
        let mut config = Self::from_vars(|name| std::env::var_os(name))?;
        let folder = queries_beside_the_binary().map(|folder| folder.join("neptune"));
        config.queries_dir = folder.unwrap_or(config.queries_dir);
        Ok(config)
    }

    /// The function's query files, and the one that runs by default.
    pub fn library(&self) -> Library {
        Library::new(&self.queries_dir, self.default_query.clone())
    }

    /// Reads variables from anywhere.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid), with every variable that is missing or wrong.
    pub fn from_vars(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        Self::check(get).map_err(|problems| wrong_environment(&problems))
    }

    /// As [`NeptuneConfig::from_vars`], for a program that explains each problem by itself.
    ///
    /// # Errors
    /// Every variable that is missing or wrong.
    pub fn check(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<Problem>> {
        let mut vars = Vars::new(&get);
        let config = read(&mut vars);
        vars.finish(config)
    }

    /// The uncached source of credentials: the environment's, and those of `DB_ROLE_ARN`.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        provider(&self.sts_region, self.role.as_ref(), self.sts_endpoint.as_deref())
    }

    /// `host:port`, and the way there if it is another, as messages name it.
    pub(super) fn target(&self) -> String {
        match &self.tunnel {
            None => self.authority(),
            Some((host, port)) => format!("{} (DB_TUNNEL {host}:{port})", self.authority()),
        }
    }

    /// The `Host` of requests.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn read(vars: &mut Vars<'_>) -> Option<NeptuneConfig> {
    let port = vars.number("NEPTUNE_PORT", 8182, 1..=65535, "a TCP port") as u16;
    let endpoint = vars.endpoint(&VARIABLES, port, "the cluster's endpoint");
    let host = endpoint.map(|endpoint| endpoint.host);
    let named = host.as_deref().and_then(region);
    let common = vars.common(named, host.as_ref().map(|_| NO_REGION), "queries/neptune");
    let Common { region, role, sts_region, sts_endpoint, default_query, queries_dir } = common;
    let tunnel = vars.optional("DB_TUNNEL").and_then(|tunnel| {
        let parsed = host_and_port(&tunnel);
        if parsed.is_none() {
            vars.problem("DB_TUNNEL", "is not host:port", ", such as localhost:18182");
        }
        parsed
    });
    let roots = vars.roots("NEPTUNE_SSLROOTCERT", || Some(Ok(Roots::amazon())));
    Some(NeptuneConfig {
        host: host?,
        port,
        region: region?,
        tunnel,
        roots: roots?,
        connect_timeout: CONNECT_TIMEOUT,
        role,
        sts_region: sts_region?,
        sts_endpoint,
        default_query,
        queries_dir,
    })
}

/// The region in `….REGION.neptune.amazonaws.com`, or in China `….neptune.REGION.amazonaws.com.cn`.
fn region(host: &str) -> Option<String> {
    let labels: Vec<&str> = host.split('.').collect();
    let at = labels.iter().rposition(|label| *label == "neptune");
    let beside = at.map(|at| [at.checked_sub(1), Some(at + 1)]);
    let named = beside.into_iter().flatten().flatten();
    let mut named = named.filter_map(|at| labels.get(at)).filter(|label| is_region(label));
    named.next().map(|region| (*region).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::collections::BTreeMap;

    fn config(pairs: &[(&str, &str)]) -> Result<NeptuneConfig, Error> {
        let vars: BTreeMap<&str, &str> = pairs.iter().copied().collect();
        NeptuneConfig::from_vars(|name| vars.get(name).map(|value| OsString::from(*value)))
    }

    #[test]
    fn the_name_tells_the_region() {
        for (host, region) in [
            ("a.cluster-c1.eu-west-3.neptune.amazonaws.com", "eu-west-3"),
            ("A.CLUSTER-RO-C1.us-east-1.Neptune.amazonaws.com.", "us-east-1"),
            ("a.cluster-c1.neptune.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ] {
            let config = config(&[("NEPTUNE_HOST", host)]).unwrap();
            assert_eq!((config.region.as_str(), config.port), (region, 8182), "{host}");
        }
        let alias = config(&[("NEPTUNE_HOST", "graph.example.com"), ("DB_REGION", "eu-west-1")]);
        assert_eq!(alias.unwrap().region, "eu-west-1");
    }

    #[test]
    fn everything_wrong_is_reported_at_once() {
        let error = config(&[
            ("NEPTUNE_HOST", "https://x"),
            ("DB_TUNNEL", "x"),
            ("NEPTUNE_SSLROOTCERT", "missing.pem"),
            ("QUERY", "../x"),
        ])
        .unwrap_err();
        for name in ["NEPTUNE_HOST is a URL", "DB_TUNNEL", "NEPTUNE_SSLROOTCERT", "QUERY"] {
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(config(&[]).unwrap_err().to_string().contains("NEPTUNE_HOST is not set"));
    }
}
