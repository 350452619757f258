//! The environment of a function, read once into a [`Config`].
//!
//! Variables have libpq's names where libpq has one
//! (<https://www.postgresql.org/docs/current/libpq-envars.html>). Everything that is missing or
//! wrong is reported at once, by name, with what to set. An empty variable counts as unset.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use aws_credential_types::provider::SharedCredentialsProvider;

use crate::credentials::{Role, role_session_name};
use crate::endpoint::{Endpoint, EndpointKind, is_region};
use crate::error::{Error, ErrorKind};
use crate::query::{Library, is_query_name};
use crate::roots::Roots;
use crate::token::TokenSigner;
use vars::Vars;

pub(crate) mod vars;

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

/// Where to dial instead of `PGHOST:PGPORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dial {
    /// The endpoint itself.
    Endpoint,
    /// `PGHOSTADDR`, on the endpoint's port.
    Address(IpAddr),
    /// `DB_TUNNEL`: host and port of a forwarder.
    Tunnel(String, u16),
}

/// Everything that a function's environment says, checked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The database's endpoint: tokens are signed for it, and the certificate must name it.
    pub endpoint: Endpoint,
    /// The region that tokens are signed for.
    pub region: String,
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
    /// What `pg_stat_activity` shows.
    pub application_name: String,
    /// The role to assume before signing.
    pub role: Option<Role>,
    /// The region whose STS is called for that role: the function's own, where its VPC endpoint is.
    pub sts_region: String,
    /// The URL of another STS than AWS's own.
    pub sts_endpoint: Option<String>,
    /// The query that runs when the event names none.
    pub default_query: Option<String>,
    /// The folder of query files.
    pub queries_dir: PathBuf,
}

impl Config {
    /// Reads the process's environment. Query files are looked for beside the binary unless
    /// `QUERIES_DIR` names another folder.
    ///
    /// # Errors
    /// As [`Config::from_vars`].
    pub fn from_env() -> Result<Self, Error> {
        let mut config = Self::from_vars(|name| std::env::var_os(name))?;
        if std::env::var_os("QUERIES_DIR").is_none_or(|folder| folder.is_empty()) {
            config.queries_dir = beside_the_binary();
        }
        Ok(config)
    }

    /// Reads variables from anywhere: tests pass a map. Nothing comes from the process itself, so
    /// without `QUERIES_DIR` the folder is `queries`.
    ///
    /// # Errors
    /// [`ConfigInvalid`](ErrorKind::ConfigInvalid), with every variable that is missing or wrong.
    pub fn from_vars(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        Self::check(get).map_err(|problems| {
            Error::new(ErrorKind::ConfigInvalid, "the function's environment is wrong")
                .because(problems.join("; "))
                .remedy("Set these variables on the function (in its template, or its configuration in the console)")
        })
    }

    /// As [`Config::from_vars`], for a program that explains each problem by itself.
    ///
    /// # Errors
    /// One phrase for each variable that is missing or wrong; it begins with the variable's name.
    pub fn check(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Vec<String>> {
        let mut vars = Vars::new(&get);
        match vars.read() {
            Some(config) if vars.problems().is_empty() => Ok(config),
            _ => Err(vars.problems().to_vec()),
        }
    }

    /// The signer of tokens for this endpoint and user.
    pub fn token_signer(&self) -> TokenSigner {
        TokenSigner {
            host: self.endpoint.host.clone(),
            port: self.endpoint.port,
            region: self.region.clone(),
            user: self.user.clone(),
        }
    }

    /// The uncached source of credentials: the environment's, and those of `DB_ROLE_ARN`.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        #[cfg(feature = "role")]
        let provider = crate::credentials::RawProvider::new(
            &self.sts_region,
            self.role.clone(),
            self.sts_endpoint.clone(),
        );
        #[cfg(not(feature = "role"))]
        let provider = crate::credentials::EnvironmentProvider;
        SharedCredentialsProvider::new(provider)
    }

    /// The function's query files, and the one that runs by default.
    pub fn library(&self) -> Library {
        Library::new(&self.queries_dir, self.default_query.clone())
    }

    /// The endpoint, and the way there if it is another, as messages name it.
    pub(crate) fn target(&self) -> String {
        let endpoint = format!("{}:{}", self.endpoint.host, self.endpoint.port);
        match &self.dial {
            Dial::Endpoint => endpoint,
            Dial::Address(address) => format!("{endpoint} (PGHOSTADDR {address})"),
            Dial::Tunnel(host, port) => format!("{endpoint} (DB_TUNNEL {host}:{port})"),
        }
    }
}

impl Vars<'_> {
    fn read(&mut self) -> Option<Config> {
        let port = self.number("PGPORT", 5432, 1..=65535, "a TCP port") as u16;
        let endpoint = self.required("PGHOST", "the database's endpoint").and_then(|host| {
            Endpoint::parse(&host, port).map_err(|why| self.problem("PGHOST", &why)).ok()
        });
        let database = self.name_in_the_catalog("PGDATABASE", "the database's name");
        let user =
            self.name_in_the_catalog("PGUSER", "a database user that has been granted rds_iam");
        let region = self.region(endpoint.as_ref());
        let dial = self.dial();
        let proxy = self
            .one_of("DB_PROXY", &[("true", true), ("false", false)], "")
            .or(endpoint.as_ref().map(|e| e.kind == EndpointKind::Proxy))
            .unwrap_or(false);
        // The log reads it, before there is a Config; here it is only checked.
        let _ = self.one_of("DB_METRICS", &[("true", true), ("false", false)], "");
        let ssl_mode = self.ssl_mode();
        let roots = self.roots(region.as_deref(), proxy, ssl_mode);
        let ssl_negotiation = self.ssl_negotiation();
        let target_session_attrs = self.target_session_attrs();
        let connect_timeout = self.number("PGCONNECT_TIMEOUT", 5, 1..=900, "seconds");
        let login_attempts = self.number("DB_LOGIN_ATTEMPTS", 4, 1..=1000, "a count");
        let function = self.optional("AWS_LAMBDA_FUNCTION_NAME");
        let application_name = self
            .optional("PGAPPNAME")
            .or_else(|| function.clone())
            .unwrap_or_else(|| "rds-iam".into());
        let role = self.role(function.as_deref());
        let sts_endpoint = self.sts_endpoint();
        let sts_region = self.optional("AWS_REGION").or_else(|| region.clone());
        let (queries_dir, default_query) = self.queries();
        Some(Config {
            endpoint: endpoint?,
            region: region?,
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
            role,
            sts_region: sts_region?,
            sts_endpoint,
            default_query,
            queries_dir,
        })
    }

    fn name_in_the_catalog(&mut self, name: &'static str, meaning: &str) -> Option<String> {
        let value = self.required(name, meaning);
        if value.as_ref().is_some_and(|v| v.contains('\0') || v.len() > 63) {
            self.problem(name, "is longer than PostgreSQL's 63 bytes");
        }
        value
    }

    fn roots(&mut self, region: Option<&str>, proxy: bool, ssl_mode: SslMode) -> Option<Roots> {
        let roots = match self.optional("PGSSLROOTCERT") {
            Some(given) => Roots::from_variable(&given),
            None if proxy && ssl_mode == SslMode::VerifyCa => Err(
                "is not set: RDS Proxy's certificates come from the public Amazon Root CAs, so with \
                 PGSSLMODE=verify-ca anyone's Amazon certificate would get the token; use \
                 verify-full, or set it to the roots that you trust"
                    .into(),
            ),
            None => Roots::built_in(region?, proxy),
        };
        roots.map_err(|why| self.problem("PGSSLROOTCERT", &why)).ok()
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

    pub(crate) fn sts_endpoint(&mut self) -> Option<String> {
        let names = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
        let (name, url) =
            names.into_iter().find_map(|name| self.optional(name).map(|url| (name, url)))?;
        match url.split_once("://") {
            Some(("https", _)) => {}
            Some(("http", rest)) if is_this_machine(rest) => {}
            Some(("http", _)) => self.problem(
                name,
                "is http:// to another machine: role credentials would travel in the clear; use https://",
            ),
            _ => self.problem(name, "is not a URL, https://…"),
        }
        Some(url)
    }

    fn queries(&mut self) -> (PathBuf, Option<String>) {
        let default_query = self.optional("QUERY");
        if default_query.as_ref().is_some_and(|name| !is_query_name(name)) {
            self.problem("QUERY", "is not a query's name (letters, digits, _ and -, without .sql)");
        }
        let folder = self.optional("QUERIES_DIR").map_or_else(|| "queries".into(), PathBuf::from);
        (folder, default_query)
    }

    fn region(&mut self, endpoint: Option<&Endpoint>) -> Option<String> {
        if let Some(region) = endpoint.and_then(|e| e.region.clone()) {
            return Some(region);
        }
        let found = ["DB_REGION", "AWS_REGION"]
            .into_iter()
            .find_map(|name| self.optional(name).map(|region| (name, region)));
        match found {
            Some((_, region)) if is_region(&region) => Some(region),
            Some((name, _)) => {
                self.problem(name, "is not a region's name, such as eu-west-1");
                None
            }
            None => {
                if endpoint.is_some() {
                    self.problem("DB_REGION", "is not set, and PGHOST is not an RDS name that contains the region: set the database's region, such as eu-west-1 (or AWS_REGION outside Lambda)");
                }
                None
            }
        }
    }

    fn dial(&mut self) -> Dial {
        let address = self.optional("PGHOSTADDR").and_then(|value| match value.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => {
                self.problem("PGHOSTADDR", "is not an IP address; a host name goes into DB_TUNNEL");
                None
            }
        });
        if let Some(tunnel) = self.optional("DB_TUNNEL") {
            match host_and_port(&tunnel) {
                Some((host, port)) => return Dial::Tunnel(host, port),
                None => self.problem("DB_TUNNEL", "is not host:port, such as localhost:15432"),
            }
        }
        address.map_or(Dial::Endpoint, Dial::Address)
    }

    pub(crate) fn role(&mut self, function: Option<&str>) -> Option<Role> {
        let external_id = self.optional("DB_ROLE_EXTERNAL_ID");
        let session_name = self.optional("DB_ROLE_SESSION_NAME");
        let Some(arn) = self.optional("DB_ROLE_ARN") else {
            for (name, given) in [
                ("DB_ROLE_EXTERNAL_ID", external_id.is_some()),
                ("DB_ROLE_SESSION_NAME", session_name.is_some()),
            ] {
                if given {
                    self.problem(name, "is set without DB_ROLE_ARN");
                }
            }
            return None;
        };
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        let is_role_arn = matches!(parts.as_slice(),
            ["arn", partition, "iam", "", account, resource]
                if !partition.is_empty()
                    && account.len() == 12
                    && account.bytes().all(|b| b.is_ascii_digit())
                    && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()));
        if cfg!(not(feature = "role")) {
            self.problem(
                "DB_ROLE_ARN",
                "needs the feature role of the crate, which this binary was built without",
            );
        }
        if !is_role_arn {
            self.problem("DB_ROLE_ARN", "is not a role's ARN, arn:aws:iam::123456789012:role/NAME");
        }
        let session_name =
            session_name.unwrap_or_else(|| role_session_name(function.unwrap_or("rds-iam")));
        if session_name != role_session_name(&session_name) {
            self.problem(
                "DB_ROLE_SESSION_NAME",
                "is not 2 to 64 letters, digits or characters of _=,.@-, which STS asks for",
            );
        }
        Some(Role { arn, external_id, session_name })
    }
}

/// Whether what follows `http://` leads to this machine: loopback, or the name that Docker gives it
/// inside a container.
fn is_this_machine(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    matches!(host, "localhost" | "host.docker.internal")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

pub(crate) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    (!host.is_empty() && host.bytes().all(legal)).then(|| (host.to_owned(), port))
}

pub(crate) fn beside_the_binary() -> PathBuf {
    let folder = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    folder.unwrap_or_default().join("queries")
}

#[cfg(test)]
mod tests;
