//! The environment of a function that queries Neptune.

use std::ffi::OsString;
use std::time::Duration;

use super::common::{host_and_port, wrong_environment};
use super::vars::Vars;
use super::{Common, Problem};
use crate::endpoint::{Variables, is_region};
use crate::error::Error;
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
    /// Dial this host and port instead (`DB_TUNNEL`).
    pub tunnel: Option<(String, u16)>,
    /// Trusted roots: Amazon's, or those of `NEPTUNE_SSLROOTCERT`.
    pub roots: Roots,
    /// Bound of dialling and the TLS handshake.
    pub connect_timeout: Duration,
    /// The settings that every engine has.
    pub common: Common,
}

impl NeptuneConfig {
    /// Reads the process's environment. Query files are in `queries/neptune` beside the binary unless
    /// `QUERIES_DIR` names another folder.
    ///
    /// # Errors
    /// As [`NeptuneConfig::from_vars`].
    pub fn from_env() -> Result<Self, Error> {
        let mut config = Self::from_vars(|name| std::env::var_os(name))?;
        config.common.look_beside_the_binary();
        Ok(config)
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

    /// `host:port`, and the way there if it is another, as messages name it.
    pub(crate) fn target(&self) -> String {
        match &self.tunnel {
            None => self.authority(),
            Some((host, port)) => format!("{} (DB_TUNNEL {host}:{port})", self.authority()),
        }
    }

    /// The `Host` of requests.
    pub(crate) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

fn read(vars: &mut Vars<'_>) -> Option<NeptuneConfig> {
    let port = vars.number("NEPTUNE_PORT", 8182, 1..=65535, "a TCP port") as u16;
    let endpoint = vars.endpoint(&VARIABLES, port, "the cluster's endpoint");
    let host = endpoint.map(|endpoint| endpoint.host);
    let named = host.as_deref().and_then(region);
    let common = vars.common(named, host.as_ref().map(|_| NO_REGION), "queries/neptune");
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
        tunnel,
        roots: roots?,
        connect_timeout: CONNECT_TIMEOUT,
        common: common?,
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
            assert_eq!((config.common.region.as_str(), config.port), (region, 8182), "{host}");
        }
        let alias = config(&[("NEPTUNE_HOST", "graph.example.com"), ("DB_REGION", "eu-west-1")]);
        assert_eq!(alias.unwrap().common.region, "eu-west-1");
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
