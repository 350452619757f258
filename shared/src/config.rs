//! The environment of a function, read once into a [`Config`].
//!
//! Variables have libpq's names where libpq has one
//! (<https://www.postgresql.org/docs/current/libpq-envars.html>). Everything that is missing or
//! wrong is reported at once, by name, with what to set. An empty variable counts as unset.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

mod vars;

use vars::Vars;

use crate::endpoint::{Endpoint, EndpointKind, is_region};
use crate::error::{Error, ErrorKind};
use crate::query::is_query_name;
use crate::tls::Roots;

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

/// Which servers are good enough (`PGTARGETSESSIONATTRS`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any server.
    Any,
    /// Only one that takes writes.
    ReadWrite,
}

/// A role to assume before signing (`DB_ROLE_ARN` and its companions).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// `arn:<partition>:iam::<account>:role/<name>`
    pub arn: String,
    /// The external id that the role's trust policy asks for.
    pub external_id: Option<String>,
    /// The role session's name, as CloudTrail shows it.
    pub session_name: String,
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
pub struct Config {
    /// The database's endpoint: tokens are signed for it, and the certificate must name it.
    pub endpoint: Endpoint,
    /// The region that tokens are signed for.
    pub region: String,
    /// Where connections really go.
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
    /// Which servers are good enough.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether the endpoint is RDS Proxy, which allows no start-up options and no SET.
    pub proxy: bool,
    /// Logins tried in one invocation.
    pub login_attempts: u32,
    /// What `pg_stat_activity` shows.
    pub application_name: String,
    /// The role to assume before signing.
    pub role: Option<Role>,
    /// Another STS than AWS's own, for that role.
    pub sts_endpoint: Option<String>,
    /// The query that runs when the event names none.
    pub default_query: Option<String>,
    /// The folder of query files.
    pub queries_dir: PathBuf,
}

impl Config {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self, Error> {
        Self::from_vars(|name| std::env::var_os(name))
    }

    /// Reads variables from anywhere: tests pass a map.
    pub fn from_vars(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let mut vars = Vars::new(&get);
        let config = vars.read();
        match config {
            Some(config) if vars.problems().is_empty() => Ok(config),
            _ => Err(Error::new(ErrorKind::ConfigInvalid, "the function's environment is wrong")
                .because(vars.problems().join("; "))
                .remedy("Set these variables on the function (in its template, or its configuration in the console)")),
        }
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
        let database = self.required("PGDATABASE", "the database's name");
        let user = self.required("PGUSER", "a database user that has been granted rds_iam");
        for (name, value) in [("PGDATABASE", &database), ("PGUSER", &user)] {
            if value.as_ref().is_some_and(|v| v.contains('\0') || v.len() > 63) {
                self.problem(name, "is longer than PostgreSQL's 63 bytes");
            }
        }
        let region = self.region(endpoint.as_ref());
        let dial = self.dial();
        let proxy = self
            .one_of("DB_PROXY", &[("true", true), ("false", false)], "")
            .or(endpoint.as_ref().map(|e| e.kind == EndpointKind::Proxy))
            .unwrap_or(false);
        // Read by the log, which is there before this is; here it is only checked.
        let _ = self.one_of("DB_METRICS", &[("true", true), ("false", false)], "");
        let roots = match self.optional("PGSSLROOTCERT") {
            Some(given) => {
                Roots::from_variable(&given).map_err(|why| self.problem("PGSSLROOTCERT", &why)).ok()
            }
            None => region.as_ref().and_then(|region| {
                Roots::built_in(region, proxy)
                    .map_err(|why| self.problem("PGSSLROOTCERT", &why))
                    .ok()
            }),
        };
        let ssl_mode = self
            .one_of(
                "PGSSLMODE",
                &[("verify-full", SslMode::VerifyFull), ("verify-ca", SslMode::VerifyCa)],
                ", because the token travels as a clear-text password inside TLS",
            )
            .unwrap_or(SslMode::VerifyFull);
        let ssl_negotiation = self
            .one_of(
                "PGSSLNEGOTIATION",
                &[("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)],
                "",
            )
            .unwrap_or(SslNegotiation::Postgres);
        let target_session_attrs = self
            .one_of(
                "PGTARGETSESSIONATTRS",
                &[("any", TargetSessionAttrs::Any), ("read-write", TargetSessionAttrs::ReadWrite)],
                "",
            )
            .unwrap_or(TargetSessionAttrs::Any);
        let connect_timeout = self.number("PGCONNECT_TIMEOUT", 5, 1..=900, "seconds");
        let login_attempts = self.number("DB_LOGIN_ATTEMPTS", 4, 1..=1000, "a count");
        let function = self.optional("AWS_LAMBDA_FUNCTION_NAME");
        let application_name = self
            .optional("PGAPPNAME")
            .or_else(|| function.clone())
            .unwrap_or_else(|| "rds-iam".into());
        let role = self.role(function.as_deref());
        let sts_endpoint = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"]
            .into_iter()
            .find_map(|name| self.optional(name).map(|url| (name, url)));
        if let Some((name, url)) = &sts_endpoint
            && !(url.starts_with("http://") || url.starts_with("https://"))
        {
            self.problem(name, "is not a URL, http://… or https://…");
        }
        let default_query = self.optional("QUERY");
        if default_query.as_ref().is_some_and(|name| !is_query_name(name)) {
            self.problem("QUERY", "is not a query's name (letters, digits, _ and -, without .sql)");
        }
        let queries_dir =
            self.optional("QUERIES_DIR").map_or_else(beside_the_binary, PathBuf::from);
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
            sts_endpoint: sts_endpoint.map(|(_, url)| url),
            default_query,
            queries_dir,
        })
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
                    self.problem("DB_REGION", "is not set, and PGHOST is not an RDS name that tells the region: set the database's region, such as eu-west-1 (or AWS_REGION outside Lambda)");
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

    fn role(&mut self, function: Option<&str>) -> Option<Role> {
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

fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    (!host.is_empty() && host.bytes().all(legal)).then(|| (host.to_owned(), port))
}

/// A role session's name that STS accepts: `[\w+=,.@-]{2,64}`
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
fn role_session_name(name: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    let mut clean: String = name.chars().map(|c| if legal(c) { c } else { '-' }).take(64).collect();
    while clean.len() < 2 {
        clean.push('-');
    }
    clean
}

fn beside_the_binary() -> PathBuf {
    let folder = std::env::current_exe().ok().and_then(|exe| exe.parent().map(PathBuf::from));
    folder.unwrap_or_default().join("queries")
}

#[cfg(test)]
mod tests;
