//! PostgreSQL's environment.

use std::ffi::OsString;
use std::time::Duration;

use super::common::wrong_environment;
use super::vars::Vars;
use super::{Common, Dial, Problem};
use crate::endpoint::{Endpoint, EndpointKind, Variables};
use crate::error::Error;
use crate::flaw::Flaw;
use crate::roots::Roots;
use crate::token::TokenSigner;

/// How much of the server's certificate is checked (`PGSSLMODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// The chain, and the name in `PGHOST`.
    VerifyFull,
    /// The chain only.
    VerifyCa,
}

/// How TLS starts (`PGSSLNEGOTIATION`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslNegotiation {
    /// Ask first with an SSLRequest: every server understands it.
    Postgres,
    /// Start with TLS at once: PostgreSQL 17 and later, one round trip fewer.
    Direct,
}

/// Which servers to accept (`PGTARGETSESSIONATTRS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any server.
    Any,
    /// Only one that takes writes.
    ReadWrite,
}

/// Why the region is not known.
const NO_REGION: &str = "PGHOST is not an RDS name that contains the region: set the database's region, such as eu-west-1 (or AWS_REGION outside Lambda)";

/// Why the built-in roots are not enough for `verify-ca` behind RDS Proxy.
const ANY_AMAZON_CERTIFICATE: &str = ": RDS Proxy's certificates come from the public Amazon Root CAs, so with PGSSLMODE=verify-ca anyone's Amazon certificate would get the token; use verify-full, or set it to the roots that you trust";

/// Everything that a function's environment says, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The database's endpoint: tokens are signed for it, and the certificate must name it.
    pub endpoint: Endpoint,
    /// The address that connections use.
    pub dial: Dial,
    /// Database name.
    pub database: String,
    /// Database user, a member of `rds_iam`.
    pub user: String,
    /// Trusted roots for the server's certificate.
    pub roots: Roots,
    /// How much of the certificate is checked.
    pub ssl_mode: SslMode,
    /// How TLS starts.
    pub ssl_negotiation: SslNegotiation,
    /// Bound of one login attempt, DNS to ready.
    pub connect_timeout: Duration,
    /// Which servers to accept.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether the endpoint is RDS Proxy, which allows no start-up options and no SET.
    pub proxy: bool,
    /// Logins tried in one invocation.
    pub login_attempts: u32,
    /// The name in `pg_stat_activity`.
    pub application_name: String,
    /// The settings that every engine has.
    pub common: Common,
}

impl Config {
    /// Reads the process's environment. Query files are looked for beside the binary unless
    /// `QUERIES_DIR` names another folder.
    ///
    /// # Errors
    /// As [`Config::from_vars`].
    pub fn from_env() -> Result<Self, Error> {
        let mut config = Self::from_vars(|name| std::env::var_os(name))?;
        config.common.look_beside_the_binary();
        Ok(config)
    }

    /// Reads variables from anywhere: tests pass a map. Nothing comes from the process itself, so
    /// without `QUERIES_DIR` the folder is `queries`.
    ///
    /// # Errors
    /// [`ConfigInvalid`](crate::ErrorKind::ConfigInvalid), with every variable that is missing or wrong.
    pub fn from_vars(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        Self::check(get).map_err(|problems| wrong_environment(&problems))
    }

    /// As [`Config::from_vars`], for a program that explains each problem by itself.
    ///
    /// # Errors
    /// Every variable that is missing or wrong.
    pub fn check(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<Problem>> {
        let mut vars = Vars::new(&get);
        let config = vars.read();
        vars.finish(config)
    }

    /// The signer of tokens for this endpoint and user.
    pub fn token_signer(&self) -> TokenSigner {
        TokenSigner::new(&self.endpoint, &self.common.region, &self.user)
    }

    /// The endpoint, and the way there if it is another, as messages name it.
    pub(crate) fn target(&self) -> String {
        self.dial.target(&self.endpoint, "PGHOSTADDR")
    }
}

impl Vars<'_> {
    fn read(&mut self) -> Option<Config> {
        let port = self.number("PGPORT", 5432, 1..=65535, "a TCP port") as u16;
        let endpoint = self.endpoint(&Variables::LIBPQ, port, "the database's endpoint");
        let database = self.name_in_the_catalog("PGDATABASE", "the database's name");
        let user =
            self.name_in_the_catalog("PGUSER", "a database user that has been granted rds_iam");
        let named = endpoint.as_ref().and_then(|endpoint| endpoint.region.clone());
        let common = self.common(named, endpoint.as_ref().map(|_| NO_REGION), "queries");
        let dial = self.dial("PGHOSTADDR");
        let proxy = self
            .one_of("DB_PROXY", &[("true", true), ("false", false)], "")
            .or(endpoint.as_ref().map(|e| e.kind == EndpointKind::Proxy))
            .unwrap_or(false);
        let ssl_mode = self.ssl_mode();
        let roots = self.roots("PGSSLROOTCERT", || {
            if proxy && ssl_mode == SslMode::VerifyCa {
                return Some(Err(Flaw::new("is not set", ANY_AMAZON_CERTIFICATE)));
            }
            Some(Roots::built_in(&common.as_ref()?.region, proxy))
        });
        let ssl_negotiation = self.ssl_negotiation();
        let target_session_attrs = self.target_session_attrs();
        let connect_timeout = self.number("PGCONNECT_TIMEOUT", 5, 1..=900, "seconds");
        let login_attempts = self.number("DB_LOGIN_ATTEMPTS", 4, 1..=1000, "a count");
        let function = self.optional("AWS_LAMBDA_FUNCTION_NAME");
        let application_name =
            self.optional("PGAPPNAME").or(function).unwrap_or_else(|| "rds-iam".into());
        Some(Config {
            endpoint: endpoint?,
            dial,
            database: database?,
            user: user?,
            roots: roots?,
            ssl_mode,
            ssl_negotiation,
            connect_timeout: Duration::from_secs(connect_timeout),
            target_session_attrs,
            proxy,
            login_attempts: login_attempts as u32,
            application_name,
            common: common?,
        })
    }

    fn name_in_the_catalog(&mut self, name: &'static str, meaning: &str) -> Option<String> {
        let value = self.required(name, meaning);
        if value.as_ref().is_some_and(|v| v.contains('\0') || v.len() > 63) {
            self.problem(name, "is longer than PostgreSQL's 63 bytes", "");
        }
        value
    }

    fn ssl_mode(&mut self) -> SslMode {
        let modes = [("verify-full", SslMode::VerifyFull), ("verify-ca", SslMode::VerifyCa)];
        let reason = ", because the token travels as a clear-text password inside TLS";
        self.one_of("PGSSLMODE", &modes, reason).unwrap_or(SslMode::VerifyFull)
    }

    fn ssl_negotiation(&mut self) -> SslNegotiation {
        let ways = [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
        self.one_of("PGSSLNEGOTIATION", &ways, "").unwrap_or(SslNegotiation::Postgres)
    }

    fn target_session_attrs(&mut self) -> TargetSessionAttrs {
        let servers =
            [("any", TargetSessionAttrs::Any), ("read-write", TargetSessionAttrs::ReadWrite)];
        self.one_of("PGTARGETSESSIONATTRS", &servers, "").unwrap_or(TargetSessionAttrs::Any)
    }
}

#[cfg(test)]
mod tests;
