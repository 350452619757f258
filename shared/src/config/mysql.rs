//! Aurora MySQL's environment. Variables have the names of MySQL's programs where those have one
//! (<https://dev.mysql.com/doc/refman/8.4/en/environment-variables.html>).

use std::ffi::OsString;
use std::time::Duration;

use super::common::wrong_environment;
use super::vars::Vars;
use super::{Common, Dial, Problem};
use crate::endpoint::{Endpoint, EndpointKind, Variables};
use crate::error::Error;
use crate::roots::Roots;
use crate::token::TokenSigner;

/// How long one login may take, name resolution to ready.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// MySQL's longest names (<https://dev.mysql.com/doc/refman/8.4/en/identifier-length.html>).
const LONGEST_DATABASE: usize = 64;
const LONGEST_USER: usize = 32;
const VARIABLES: Variables =
    Variables { host: "MYSQL_HOST", port: "MYSQL_TCP_PORT", address: "MYSQL_HOSTADDR" };
/// Why the region is not known.
const NO_REGION: &str = "MYSQL_HOST is not an RDS name that contains the region: set the database's region, such as eu-west-1 (or AWS_REGION outside Lambda)";

/// Everything that the environment of a function says that queries Aurora MySQL, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MysqlConfig {
    /// The database's endpoint (`MYSQL_HOST`, `MYSQL_TCP_PORT`): tokens are signed for it, and the
    /// certificate must name it.
    pub endpoint: Endpoint,
    /// The address that connections use (`MYSQL_HOSTADDR`, `DB_TUNNEL`).
    pub dial: Dial,
    /// Database name (`MYSQL_DATABASE`).
    pub database: String,
    /// Database user, created with `AWSAuthenticationPlugin` (`MYSQL_USER`).
    pub user: String,
    /// Trusted roots for the server's certificate: the region's, or those of `MYSQL_SSL_CA`.
    pub roots: Roots,
    /// Bound of one login attempt, DNS to ready.
    pub connect_timeout: Duration,
    /// Logins tried in one invocation.
    pub login_attempts: u32,
    /// The settings that every engine has.
    pub common: Common,
}

impl MysqlConfig {
    /// Reads the process's environment. Query files are in `queries/mysql` beside the binary unless
    /// `QUERIES_DIR` names another folder.
    ///
    /// # Errors
    /// As [`MysqlConfig::from_vars`].
    pub fn from_env() -> Result<Self, Error> {
        let mut config = Self::from_vars(|name| std::env::var_os(name))?;
        config.common.look_beside_the_binary();
        Ok(config)
    }

    /// Reads variables from anywhere. Nothing comes from the process itself, so without `QUERIES_DIR`
    /// the folder is `queries/mysql`.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid), with every variable that is missing or wrong.
    pub fn from_vars(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        Self::check(get).map_err(|problems| wrong_environment(&problems))
    }

    /// As [`MysqlConfig::from_vars`], for a program that explains each problem by itself.
    ///
    /// # Errors
    /// Every variable that is missing or wrong.
    pub fn check(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<Problem>> {
        let mut vars = Vars::new(&get);
        let config = read(&mut vars);
        vars.finish(config)
    }

    /// The signer of tokens for this endpoint and user.
    pub fn token_signer(&self) -> TokenSigner {
        TokenSigner::new(&self.endpoint, &self.common.region, &self.user)
    }

    /// The endpoint, and the way there if it is another, as messages name it.
    pub(crate) fn target(&self) -> String {
        self.dial.target(&self.endpoint, "MYSQL_HOSTADDR")
    }
}

fn read(vars: &mut Vars<'_>) -> Option<MysqlConfig> {
    let port = vars.number("MYSQL_TCP_PORT", 3306, 1..=65535, "a TCP port") as u16;
    let endpoint = vars.endpoint(&VARIABLES, port, "the database's endpoint");
    let database = name(vars, "MYSQL_DATABASE", LONGEST_DATABASE, "the database's name");
    let meaning = "a database user that was created with AWSAuthenticationPlugin";
    let user = name(vars, "MYSQL_USER", LONGEST_USER, meaning);
    let named = endpoint.as_ref().and_then(|endpoint| endpoint.region.clone());
    let common = vars.common(named, endpoint.as_ref().map(|_| NO_REGION), "queries/mysql");
    let dial = vars.dial("MYSQL_HOSTADDR");
    let proxy = endpoint.as_ref().is_some_and(|endpoint| endpoint.kind == EndpointKind::Proxy);
    let built_in = || Some(Roots::built_in(&common.as_ref()?.region, proxy));
    let roots = vars.roots("MYSQL_SSL_CA", built_in);
    let login_attempts = vars.number("DB_LOGIN_ATTEMPTS", 4, 1..=1000, "a count");
    Some(MysqlConfig {
        endpoint: endpoint?,
        dial,
        database: database?,
        user: user?,
        roots: roots?,
        connect_timeout: CONNECT_TIMEOUT,
        login_attempts: login_attempts as u32,
        common: common?,
    })
}

fn name(
    vars: &mut Vars<'_>,
    variable: &'static str,
    longest: usize,
    meaning: &str,
) -> Option<String> {
    let value = vars.required(variable, meaning);
    if value.as_ref().is_some_and(|v| v.contains('\0') || v.chars().count() > longest) {
        vars.problem(variable, &format!("is longer than MySQL's {longest} characters"), "");
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use std::collections::BTreeMap;

    const GOOD: [(&str, &str); 3] = [
        ("MYSQL_HOST", "a.cluster-c1a2b3.eu-west-3.rds.amazonaws.com"),
        ("MYSQL_DATABASE", "sample_db"),
        ("MYSQL_USER", "iam_ro_user"),
    ];

    fn config(extra: &[(&str, &str)]) -> Result<MysqlConfig, Error> {
        let vars: BTreeMap<&str, &str> = GOOD.iter().chain(extra).copied().collect();
        MysqlConfig::from_vars(|name| vars.get(name).map(OsString::from))
    }

    #[test]
    fn defaults_are_the_documented_ones() {
        let config = config(&[("MYSQL_TCP_PORT", ""), ("QUERY", "")]).unwrap();
        assert_eq!((config.endpoint.port, config.common.region.as_str()), (3306, "eu-west-3"));
        assert_eq!((config.login_attempts, config.dial), (4, Dial::Endpoint));
        assert_eq!(config.common.queries_dir, std::path::PathBuf::from("queries/mysql"));
        assert!(config.common.role.is_none() && config.common.default_query.is_none());
    }

    #[test]
    fn everything_wrong_is_reported_at_once_by_mysqls_names() {
        let long = "x".repeat(33);
        let error = config(&[
            ("MYSQL_HOST", "db:3306"),
            ("MYSQL_USER", &long),
            ("MYSQL_HOSTADDR", "localhost"),
            ("MYSQL_SSL_CA", "missing.pem"),
            ("DB_TUNNEL", "x"),
            ("QUERY", "../x"),
        ])
        .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        let told = error.to_string();
        for what in [
            "MYSQL_HOST holds a port; put the port into MYSQL_TCP_PORT",
            "MYSQL_USER is longer",
            "MYSQL_HOSTADDR is not an IP address",
            "MYSQL_SSL_CA names a file",
            "DB_TUNNEL",
            "QUERY",
        ] {
            assert!(told.contains(what), "{what}: {told}");
        }
        assert!(!told.contains("PG"), "{told}");
        let error = MysqlConfig::from_vars(|_| None).unwrap_err().to_string();
        for name in ["MYSQL_HOST", "MYSQL_DATABASE", "MYSQL_USER"] {
            assert!(error.contains(&format!("{name} is not set")), "{error}");
        }
    }

    #[test]
    fn another_address_keeps_the_endpoints_name() {
        let config = config(&[("MYSQL_HOSTADDR", "10.0.0.5")]).unwrap();
        let name = "a.cluster-c1a2b3.eu-west-3.rds.amazonaws.com:3306";
        assert_eq!(config.target(), format!("{name} (MYSQL_HOSTADDR 10.0.0.5)"));
        assert_eq!(config.token_signer().host, config.endpoint.host);
    }
}
