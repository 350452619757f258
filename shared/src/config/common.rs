//! The variables that all engines share.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::Problem;
use super::vars::Vars;
use crate::credentials::{Role, role_session_name};
use crate::endpoint::{Endpoint, Variables, is_region};
use crate::error::{Error, ErrorKind};
use crate::flaw::Flaw;
use crate::query::{Library, is_query_name};
use crate::roots::Roots;
use aws_credential_types::provider::SharedCredentialsProvider;

/// The variable that leaves the AWS SDK without root certificates. If the file or folder that `SSL_CERT_FILE` or
/// `SSL_CERT_DIR` names holds no certificates, the SDK aborts the process. An empty value counts as set.
pub fn sdk_roots_problem(get: impl Fn(&str) -> Option<OsString>) -> Option<Problem> {
    let (file, folders) = (get("SSL_CERT_FILE"), get("SSL_CERT_DIR"));
    let holds_roots = |path: &OsString| {
        let path = Path::new(path);
        path.is_file()
            && std::fs::read(path).is_ok_and(|pem| pem.windows(11).any(|w| w == b"-----BEGIN "))
    };
    let is_folder = |paths: &OsString| std::env::split_paths(paths).any(|path| path.is_dir());
    let problem = |variable, what, hint| Some(Problem { variable, flaw: Flaw::new(what, hint) });
    match (&file, &folders) {
        (Some(file), None) if !holds_roots(file) => problem(
            "SSL_CERT_FILE",
            "names no file of certificates",
            ", which AWS's SDK needs; unset it, or name a PEM file",
        ),
        (None, Some(folders)) if !is_folder(folders) => problem(
            "SSL_CERT_DIR",
            "names no folder",
            ", and AWS's SDK needs its certificates; unset it",
        ),
        (Some(file), Some(folders)) if !holds_roots(file) && !is_folder(folders) => problem(
            "SSL_CERT_FILE",
            "names no file of certificates, and SSL_CERT_DIR no folder",
            "; unset them, or name a PEM file",
        ),
        _ => None,
    }
}

/// The settings that every engine's configuration has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Common {
    /// The region that tokens and requests are signed for.
    pub region: String,
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

impl Common {
    /// The uncached source of credentials: the environment's, and those of `DB_ROLE_ARN`.
    pub fn credentials(&self) -> SharedCredentialsProvider {
        #[cfg(feature = "role")]
        let provider = crate::credentials::RawProvider::new(
            self.sts_region.as_str(),
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

    /// Looks for the default folder of query files beside the binary, as in a deployed package.
    pub(super) fn look_beside_the_binary(&mut self) {
        if std::env::var_os("QUERIES_DIR").is_some_and(|folder| !folder.is_empty()) {
            return;
        }
        let binary = std::env::current_exe().unwrap_or_default();
        let beside = binary.parent().unwrap_or(Path::new("")).join(&self.queries_dir);
        self.queries_dir = beside;
    }
}

impl Vars<'_> {
    /// Reads the variables that every engine has. `named` is the region in the endpoint's name; without
    /// one, `unnamed` says why there is none, or is `None` if the endpoint itself is wrong. `folder` is the
    /// default folder of query files. `None` without a region, which is then among the problems.
    pub(super) fn common(
        &mut self,
        named: Option<String>,
        unnamed: Option<&str>,
        folder: &str,
    ) -> Option<Common> {
        let region = self.region(named, unnamed);
        // The log reads it, before there is a configuration; here it is only checked.
        let _ = self.one_of("DB_METRICS", &[("true", true), ("false", false)], "");
        let role = self.role();
        // Without a role, the SDK makes no connection.
        if role.is_some()
            && let Some(Problem { variable, flaw }) = sdk_roots_problem(self.get)
        {
            self.flaw(variable, flaw);
        }
        let sts_endpoint = self.sts_endpoint();
        let own_region = self.optional("AWS_REGION");
        let (queries_dir, default_query) = self.queries(folder);
        let region = region?;
        let sts_region = own_region.unwrap_or_else(|| region.clone());
        Some(Common { region, role, sts_region, sts_endpoint, default_query, queries_dir })
    }

    /// The database's endpoint.
    pub(super) fn endpoint(
        &mut self,
        variables: &Variables,
        port: u16,
        meaning: &str,
    ) -> Option<Endpoint> {
        let value = self.required(variables.host, meaning)?;
        let endpoint = Endpoint::parse_for(variables, &value, port);
        endpoint.map_err(|flaw| self.flaw(variables.host, flaw)).ok()
    }

    /// The roots that a variable names, or else the built-in ones.
    pub(super) fn roots(
        &mut self,
        name: &'static str,
        built_in: impl FnOnce() -> Option<Result<Roots, Flaw>>,
    ) -> Option<Roots> {
        let roots = match self.text(name) {
            Some(given) => Roots::from_variable(&given),
            None => built_in()?,
        };
        roots.map_err(|flaw| self.flaw(name, flaw)).ok()
    }

    fn region(&mut self, named: Option<String>, unnamed: Option<&str>) -> Option<String> {
        if named.is_some() {
            return named;
        }
        let found = ["DB_REGION", "AWS_REGION"]
            .into_iter()
            .find_map(|name| self.optional(name).map(|region| (name, region)));
        match found {
            Some((_, region)) if is_region(&region) => return Some(region),
            Some((name, _)) => self.problem(name, "is not a region's name", ", such as eu-west-1"),
            None => {
                if let Some(why) = unnamed {
                    self.problem("DB_REGION", "is not set", &format!(", and {why}"));
                }
            }
        }
        None
    }

    fn queries(&mut self, folder: &str) -> (PathBuf, Option<String>) {
        let default_query = self.optional("QUERY");
        if default_query.as_ref().is_some_and(|name| !is_query_name(name)) {
            self.problem(
                "QUERY",
                "is not a query's name",
                " (letters, digits, _ and -, without its ending)",
            );
        }
        let folder = self.optional("QUERIES_DIR").map_or_else(|| folder.into(), PathBuf::from);
        (folder, default_query)
    }

    fn sts_endpoint(&mut self) -> Option<String> {
        let names = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];
        let (name, url) =
            names.into_iter().find_map(|name| self.optional(name).map(|url| (name, url)))?;
        match url.split_once("://") {
            Some(("https", _)) => {}
            Some(("http", rest)) if is_this_machine(rest) => {}
            Some(("http", _)) => self.problem(
                name,
                "is http:// to another machine",
                ": role credentials would travel in the clear; use https://",
            ),
            _ => self.problem(name, "is not a URL", ", https://…"),
        }
        Some(url)
    }

    fn role(&mut self) -> Option<Role> {
        let function = self.optional("AWS_LAMBDA_FUNCTION_NAME");
        let external_id = self.optional("DB_ROLE_EXTERNAL_ID");
        let session_name = self.optional("DB_ROLE_SESSION_NAME");
        let Some(arn) = self.optional("DB_ROLE_ARN") else {
            for (name, given) in [
                ("DB_ROLE_EXTERNAL_ID", external_id.is_some()),
                ("DB_ROLE_SESSION_NAME", session_name.is_some()),
            ] {
                if given {
                    self.problem(name, "is set without DB_ROLE_ARN", "");
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
                "needs the feature role of the crate",
                ", which this binary was built without",
            );
        }
        if !is_role_arn {
            self.problem(
                "DB_ROLE_ARN",
                "is not a role's ARN",
                ", arn:aws:iam::123456789012:role/NAME",
            );
        }
        let session_name = session_name
            .unwrap_or_else(|| role_session_name(function.as_deref().unwrap_or("rds-iam")));
        if session_name != role_session_name(&session_name) {
            self.problem(
                "DB_ROLE_SESSION_NAME",
                "is not 2 to 64 letters, digits or characters of _=,.@-",
                ", which STS asks for",
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

pub(super) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    (!host.is_empty() && host.bytes().all(legal)).then(|| (host.to_owned(), port))
}

/// The error of an environment with these problems.
pub(super) fn wrong_environment(problems: &[Problem]) -> Error {
    let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
    Error::new(ErrorKind::ConfigInvalid, "the function's environment is wrong")
        .because(problems.join("; "))
        .remedy("Set these variables on the function (in its template, or its configuration in the console)")
}
