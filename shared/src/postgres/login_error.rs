//! Explains a failed login, and says whether another attempt may help. docs/errors.md has the causes behind
//! each message.

use std::io;

use tokio_postgres::error::DbError;

use super::read_only::Cause;
use super::refusal::Refusal;
use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::retry::{LoginError, Retry};

impl LoginError {
    pub(crate) fn timed_out(config: &Config, stage: &str) -> Self {
        Error::new(ErrorKind::NetworkTimeout, format!("no login at {}", config.target()))
            .because(format!("{stage} got no answer in time"))
            .remedy("Check the security groups, subnets and routes between the function and the database: silence is the network; see docs/errors.md#networktimeout")
            .retry(Retry::Again)
    }

    pub(crate) fn unreachable(config: &Config, error: &io::Error) -> Self {
        let remedy = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "Check PGHOST and PGPORT, and that the database is running: nothing listens there"
            }
            _ => {
                "Check PGHOST and the function's subnets: an RDS name resolves to a private address only inside its VPC"
            }
        };
        Error::new(ErrorKind::NetworkUnreachable, format!("{} cannot be reached", config.target()))
            .because(error.to_string())
            .remedy(remedy)
            .retry(Retry::Again)
    }

    /// `PGTARGETSESSIONATTRS` is `read-write`, and the session is not. `cause` is what the server says.
    pub(super) fn not_writable(config: &Config, cause: Option<&Cause>) -> Self {
        if let Some(cause) = cause.filter(|cause| !cause.passes()) {
            let what = format!("{} takes no writes of {}", config.target(), config.user);
            return cause
                .explain(Error::new(ErrorKind::ConfigInvalid, what))
                .also("PGTARGETSESSIONATTRS is read-write")
                .retry(Retry::No);
        }
        Error::new(ErrorKind::DatabaseUnavailable, format!("{} takes no writes", config.target()))
            .because("it is a standby or a reader, and PGTARGETSESSIONATTRS is read-write")
            .remedy("Use the cluster (writer) endpoint; after a failover its name follows within a minute")
            .retry(Retry::Again)
    }

    pub(crate) fn no_tls_setup(error: &impl std::error::Error) -> Self {
        Error::new(ErrorKind::ConfigInvalid, "TLS cannot be set up")
            .because(error.to_string())
            .remedy("Check PGHOST")
            .retry(Retry::No)
    }

    /// From a TLS handshake or login that failed.
    pub(crate) fn from_postgres(config: &Config, error: &tokio_postgres::Error) -> Self {
        if let Some(refusal) = error.as_db_error() {
            return Self::refused(config, refusal);
        }
        // Its own Display says only at which step it failed.
        let mut why = None;
        let mut next = std::error::Error::source(error);
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<io::Error>() {
                return Self::unreachable(config, io);
            }
            why.get_or_insert_with(|| cause.to_string());
            next = cause.source();
        }
        let why = why.unwrap_or_else(|| error.to_string());
        if why.contains("certificate") || why.contains("hostname") {
            return Error::new(
                ErrorKind::TlsUntrusted,
                format!("the certificate of {} is not trusted", config.target()),
            )
            .because(why)
            .remedy("Set PGHOST to the RDS endpoint's own name, not an alias or address, and PGSSLROOTCERT, if set, to its roots; see docs/errors.md#tlsuntrusted")
            .retry(Retry::No);
        }
        let (kind, retry) = if error.is_closed() {
            (ErrorKind::NetworkUnreachable, Retry::Again)
        } else {
            (ErrorKind::TlsUntrusted, Retry::No)
        };
        Error::new(kind, format!("no TLS connection to {}", config.target()))
            .because(why)
            .remedy("Check that PGHOST and PGPORT name a PostgreSQL server that offers TLS")
            .retry(retry)
    }

    fn refused(config: &Config, answer: &DbError) -> Self {
        let (refusal, code) = (Refusal::of(answer), answer.code().code());
        let (user, database) = (&config.user, &config.database);
        let rejected = |remedy: String| (ErrorKind::AuthRejected, Retry::No, remedy);
        let unavailable =
            |remedy: &str| (ErrorKind::DatabaseUnavailable, Retry::Again, remedy.to_owned());
        let (kind, retry, remedy) = match refusal {
            Refusal::Token => (
                ErrorKind::AuthRejected,
                Retry::FreshCredentials,
                format!(
                    "Check that the role's policy allows rds-db:connect on dbuser:<resource id>/{user} (the db-…, cluster-… or prx-… id, the user's exact case); a throttled login gets the same answer; see docs/errors.md#authrejected"
                ),
            ),
            Refusal::Password => rejected(format!(
                "Run GRANT rds_iam TO {user} as an administrator, and check that the user exists and that IAM authentication is on for the database"
            )),
            Refusal::NoRole => rejected(format!(
                "Run CREATE ROLE {user} LOGIN and GRANT rds_iam TO {user} as an administrator, or correct PGUSER"
            )),
            Refusal::NoLogin => {
                rejected(format!("Run ALTER ROLE {user} LOGIN as an administrator"))
            }
            Refusal::ProxySecret => rejected(format!(
                "Add a secret for {user} to the proxy's authentication, or set its DefaultAuthScheme to IAM_AUTH"
            )),
            Refusal::Hba => rejected(
                "Check that the connection reaches the database itself and uses TLS".into(),
            ),
            Refusal::NoConnect => {
                rejected(format!("Run GRANT CONNECT ON DATABASE {database} TO {user}"))
            }
            Refusal::NoDatabase => {
                (ErrorKind::ConfigInvalid, Retry::No, "Set PGDATABASE to one that exists".into())
            }
            Refusal::NotAccepting => unavailable(&format!(
                "Run ALTER DATABASE {database} ALLOW_CONNECTIONS true as an administrator"
            )),
            Refusal::TooMany => unavailable(
                "Limit the function's concurrency, raise max_connections, or put RDS Proxy in between",
            ),
            Refusal::TooManyOfRole => unavailable(&format!(
                "Limit the function's concurrency, or run ALTER ROLE {user} CONNECTION LIMIT -1"
            )),
            Refusal::TooManyOfDatabase => unavailable(&format!(
                "Limit the function's concurrency, or run ALTER DATABASE {database} CONNECTION LIMIT -1"
            )),
            Refusal::Starting => unavailable("Wait for it to come up"),
            Refusal::Other => unavailable("Look for the SQLSTATE in the server's log"),
        };
        let at = config.target();
        let what = match kind {
            ErrorKind::ConfigInvalid => format!("there is no database {database} at {at}"),
            ErrorKind::AuthRejected => format!("{user} was refused at {at}"),
            _ => format!("{at} accepts no login now"),
        };
        let error = Error::new(kind, what).remedy(remedy);
        let error = match refusal {
            Refusal::NoDatabase => error,
            Refusal::Token => error.because(refusal.to_string()),
            _ => error.because(format!("{refusal} (SQLSTATE {code})")),
        };
        error.retry(retry)
    }
}
