//! What the steps found. Nothing in here is a secret: of keys only their kind, of servers' messages only
//! their class.

use std::net::SocketAddr;
use std::time::SystemTime;

use rds_iam::Config;

use crate::aws::evidence as aws;
use crate::credentials::evidence as credentials;
use crate::environment::Environment;
pub use aws::{
    Caller, Clock, Counts, Database, Decision, Rds, RdsLog, RdsMetrics, Simulated, Simulation,
};
pub(crate) use aws::{dbuser_arn, principal_of};
pub use credentials::{Credentials, Flaw, Profile, ProfileRole, Source, TokenFile, Way};

/// Everything that is known when the steps have ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Evidence {
    /// The variables.
    pub environment: Environment,
    /// The configuration: the environment's, or, if that has `problems`, one with them repaired as far
    /// as they tell how.
    pub config: Option<Config>,
    /// What is wrong with the environment, a phrase for each variable.
    pub problems: Vec<String>,
    /// The variables that were changed to go on in spite of the problems; empty means unset.
    pub repairs: Vec<(String, String)>,
    /// Credentials.
    pub credentials: Credentials,
    /// Who signs, by STS.
    pub caller: Caller,
    /// How far this machine's clock is ahead of another.
    pub clock: Option<Clock>,
    /// The name's addresses.
    pub dns: Dns,
    /// Each address, and whether it can be connected to.
    pub tcp: Vec<(SocketAddr, Tcp)>,
    /// Whether PostgreSQL's usual port answers there, if the configured one refuses.
    pub usual_port_answers: bool,
    /// The TLS handshake.
    pub tls: Tls,
    /// The login.
    pub login: Login,
    /// The port that a token is accepted for, if the configured one is a tunnel's.
    pub accepted_port: Option<u16>,
    /// What the database says after a login.
    pub facts: Option<Facts>,
    /// Databases that the user may connect to, if the configured one does not exist.
    pub databases: Vec<String>,
    /// What the RDS API says.
    pub rds: Rds,
    /// What RDS's log says of refused tokens.
    pub rds_log: RdsLog,
    /// What RDS counts of refused tokens.
    pub rds_metrics: RdsMetrics,
    /// What IAM says of the caller's policies.
    pub simulation: Simulation,
    /// This machine's time when the check began.
    pub now: SystemTime,
}

/// The name's resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dns {
    /// Not tried.
    #[default]
    Unknown,
    /// `PGHOSTADDR` or an address.
    Literal,
    /// Resolved.
    Resolved {
        /// The name behind the alias, if it is one.
        alias_of: Option<String>,
    },
    /// The resolver says that there is no such name.
    NoSuchName,
    /// The resolver failed or did not answer.
    Silent,
}

/// One address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tcp {
    /// Connected.
    Open,
    /// Refused at once.
    Refused,
    /// No answer.
    Silent,
    /// No route, or not permitted.
    NoRoute,
    /// Reset.
    Reset,
}

/// The TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// Not tried.
    #[default]
    Unknown,
    /// The server accepted the connection and said nothing.
    Silent,
    /// The server agreed to TLS, and then nothing came.
    SilentAfterStart,
    /// The server closed or reset the connection.
    Closed {
        /// Whether the server answers the usual negotiation, where `PGSSLNEGOTIATION` is direct.
        answers_postgres: bool,
    },
    /// The server says that it has no TLS.
    NotOffered,
    /// The server answers the request for TLS with an error, as one that is full or starting does.
    Error,
    /// The server offers no TLS 1.2 and none after it.
    TooOld,
    /// What answers is not PostgreSQL; what it seems to be.
    OtherProtocol(&'static str),
    /// The handshake itself failed.
    Failed,
    /// The server's certificate.
    Presented(Presented),
}

/// What the server presented, and what the functions' own TLS says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presented {
    /// `TLSv1.3`
    pub version: String,
    /// The subjects, from the server's own to the last that it sent.
    pub chain: Vec<String>,
    /// The issuer of the last.
    pub issuer: String,
    /// The names in the certificate.
    pub names: Vec<String>,
    /// Seconds to its expiry; negative after it.
    pub seconds_left: i64,
    /// Seconds since it became valid; negative before.
    pub seconds_old: i64,
    /// The trusted root that it leads to, if one does by name.
    pub root: Option<String>,
    /// Where a root of that name is built in, if it is not trusted.
    pub built_in: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
}

/// Whether the functions' TLS accepts the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Yes.
    Trusted,
    /// It names another host.
    Name,
    /// It has expired.
    Expired,
    /// Its root, or a certificate between, has expired.
    RootExpired,
    /// It is not valid yet.
    NotYetValid,
    /// Its root is not trusted.
    Root,
    /// For another reason.
    Other,
}

/// The login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Login {
    /// Not tried, because of an earlier step.
    #[default]
    Unknown,
    /// It works.
    Works,
    /// Refused.
    Refused {
        /// The class of the message.
        refusal: Refusal,
        /// SQLSTATE.
        code: String,
    },
    /// The server asks for another proof than a password, such as Kerberos.
    OtherMethod,
    /// The connection was closed or reset during the login.
    Closed,
    /// The server did not answer the login.
    Silent,
}

/// Classes of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// RDS did not accept the token.
    Token,
    /// The token was taken for a password.
    Password,
    /// RDS Proxy has no secret for the user.
    ProxySecret,
    /// The role does not exist.
    NoRole,
    /// pg_hba.
    Hba,
    /// The role may not log in.
    NoLogin,
    /// The database does not exist.
    NoDatabase,
    /// The user may not connect to the database.
    NoConnect,
    /// The database accepts no connections.
    NotAccepting,
    /// The server has too many connections.
    TooMany,
    /// The role has too many connections.
    TooManyOfRole,
    /// The database has too many connections.
    TooManyOfDatabase,
    /// Starting, stopping or recovering.
    Starting,
    /// Something else.
    Other,
}

/// What the database says of itself and of the user.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Facts {
    /// `15.14`
    pub version: String,
    /// Whether it takes no writes.
    pub read_only: bool,
    /// What sets `default_transaction_read_only`: `pg_settings.source`.
    pub read_only_source: String,
    /// Whether it is a standby.
    pub standby: bool,
    /// Milliseconds for one statement.
    pub round_trip_ms: f64,
    /// Connections in use.
    pub connections: i64,
    /// The most that it takes.
    pub max_connections: i64,
    /// Membership in `rds_iam`; `None` where that role does not exist.
    pub rds_iam: Option<bool>,
    /// Tables of the user's schemas.
    pub tables: i64,
    /// How many of them the user may read, and write.
    pub readable: i64,
    /// How many of them the user may write.
    pub writable: i64,
    /// Each ledger: its name, and whether the user may use it; `None` if it does not exist.
    pub ledgers: Vec<(&'static str, Option<bool>)>,
}

impl Evidence {
    pub(crate) fn host(&self) -> &str {
        self.config.as_ref().map_or("", |config| &config.endpoint.host)
    }

    pub(crate) fn user(&self) -> &str {
        self.config.as_ref().map_or("<user>", |config| &config.user)
    }

    pub(crate) fn presented(&self) -> Option<&Presented> {
        match &self.tls {
            Tls::Presented(presented) => Some(presented),
            _ => None,
        }
    }

    pub(crate) fn refused(&self, wanted: Refusal) -> bool {
        matches!(&self.login, Login::Refused { refusal, .. } if *refusal == wanted)
    }

    /// Whether the server took the token, and refused the login for what it looks at afterwards, if at all.
    pub(crate) fn token_accepted(&self) -> bool {
        use Refusal::{NoConnect, NoDatabase, NoLogin, NotAccepting, TooManyOfDatabase};
        let after = [NoConnect, NoDatabase, NoLogin, NotAccepting, TooManyOfDatabase];
        self.login == Login::Works || after.iter().any(|refusal| self.refused(*refusal))
    }

    pub(crate) fn database(&self) -> Option<&Database> {
        match &self.rds {
            Rds::Is(database) => Some(database),
            _ => None,
        }
    }

    /// RDS's own reason for a refused token, and a phrase that says so.
    pub(crate) fn logged(&self) -> Option<(&'static str, String)> {
        let RdsLog::Says { code, .. } = &self.rds_log else { return None };
        Some((code, format!("RDS's log says {}", self.rds_log)))
    }

    /// What RDS counted, if it counted any login.
    pub(crate) fn counted(&self) -> Option<&Counts> {
        match &self.rds_metrics {
            RdsMetrics::Count(counts) => Some(counts),
            _ => None,
        }
    }

    /// The same as a phrase.
    pub(crate) fn said_count(&self) -> Option<String> {
        self.counted().map(|counts| format!("RDS counts {counts}"))
    }

    /// What IAM's simulation says, as a phrase.
    pub(crate) fn simulated(&self) -> Option<String> {
        match &self.simulation {
            Simulation::Says(says) => Some(format!("IAM's simulation says {says}")),
            _ => None,
        }
    }

    /// IAM's decision, if nothing is missing that could make it another.
    pub(crate) fn decided(&self) -> Option<&Decision> {
        match &self.simulation {
            Simulation::Says(says) if says.missing.is_empty() => Some(&says.decision),
            _ => None,
        }
    }

    pub(crate) fn any_open(&self) -> bool {
        self.tcp.iter().any(|(_, tcp)| *tcp == Tcp::Open)
    }

    /// The principal to give a right to: a role rather than its session.
    pub(crate) fn principal(&self) -> String {
        match (&self.simulation, &self.caller, &self.rds_log) {
            // The only one that holds a role's path.
            (Simulation::Says(says), ..) => says.principal.clone(),
            (_, Caller::Is { arn, .. }, _) => principal_of(arn),
            (.., RdsLog::Says { caller: Some(arn), .. }) => principal_of(arn),
            _ => "<the role that signs>".into(),
        }
    }
}
