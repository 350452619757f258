//! What the steps found. Nothing in here is a secret: of keys only their kind, of servers' messages only
//! their class.

use std::net::SocketAddr;
use std::time::SystemTime;

use rds_iam::Config;

use crate::environment::Environment;

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
    /// What the database says after a login.
    pub facts: Option<Facts>,
    /// Databases that the user may connect to, if the configured one does not exist.
    pub databases: Vec<String>,
    /// What the RDS API says.
    pub rds: Rds,
    /// What RDS's log says of refused tokens.
    pub rds_log: RdsLog,
    /// This machine's time when the check began.
    pub now: SystemTime,
}

/// The credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// The step did not run.
    #[default]
    Unknown,
    /// Found.
    Found {
        /// `AKIA`, `ASIA` or another first four letters.
        kind: &'static str,
        /// Whether a session token belongs to them.
        session_token: bool,
        /// When they end, if their source says so.
        expiry: Option<SystemTime>,
    },
    /// Not found, and why, in this project's words.
    Missing(String),
    /// Their source did not answer.
    Silent,
}

/// The answer to GetCallerIdentity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// Not asked.
    #[default]
    Unknown,
    /// The principal.
    Is {
        /// Its ARN.
        arn: String,
        /// Its account.
        account: String,
        /// Whether these are the credentials before `DB_ROLE_ARN`, whose role STS refused.
        before_role: bool,
    },
    /// STS refused, with this documented code.
    Refused(String),
    /// STS was not reached or did not answer.
    Unreachable,
}

/// This machine's clock beside another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Clock {
    /// Seconds by which this machine is ahead; negative if it is behind.
    pub ahead: i64,
    /// Whose clock the other one is.
    pub source: &'static str,
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
    /// The server closed or reset the connection.
    Closed {
        /// Whether the server answers the usual negotiation, where `PGSSLNEGOTIATION` is direct.
        answers_postgres: bool,
    },
    /// The server says that it has no TLS.
    NotOffered,
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

/// What the RDS API says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rds {
    /// Not asked, for the name is not one of RDS or there are no credentials.
    #[default]
    Unknown,
    /// The caller may not ask.
    Denied,
    /// The API was not reached or did not answer: a private subnet needs an endpoint for it.
    Unreachable,
    /// The caller's account has no such database in this region.
    NotFound {
        /// The endpoint's names that it has.
        endpoints: Vec<String>,
    },
    /// The database.
    Is(Database),
}

/// A database, as RDS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Database {
    /// The id that policies name.
    pub resource_id: Option<String>,
    /// The account that owns it.
    pub account: Option<String>,
    /// Whether IAM authentication is on.
    pub iam: Option<bool>,
    /// Whether a change of that is pending.
    pub iam_pending: bool,
    /// `available`, `stopped`, …
    pub status: String,
    /// Its port.
    pub port: Option<i32>,
    /// Whether it is reachable from outside its VPC.
    pub public: Option<bool>,
    /// Its CA.
    pub ca: Option<String>,
    /// Its security groups.
    pub security_groups: Vec<String>,
    /// The log group of `iam-db-auth-error`; `None` if RDS does not export that log.
    pub auth_log: Option<String>,
}

/// What the log `iam-db-auth-error` says: RDS's own reason, which the client never sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RdsLog {
    /// Not read: no token was refused, or the database is not known.
    #[default]
    Unknown,
    /// RDS does not export it.
    NotExported,
    /// The caller may not read it.
    Denied,
    /// CloudWatch Logs was not reached or did not answer.
    Unreachable,
    /// It has no line about this user in the last quarter of an hour.
    Silent,
    /// The last line about this user.
    Says {
        /// `NotAuthorized` or another documented code.
        code: &'static str,
        /// The principal that it names.
        caller: Option<String>,
        /// How old the line is.
        seconds_ago: i64,
    },
}

/// The reason and whom it is about, without any text of the log; empty if it says none.
impl std::fmt::Display for RdsLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Says { code, caller, seconds_ago } = self else { return Ok(()) };
        f.write_str(code)?;
        if let Some(caller) = caller {
            write!(f, " for {caller}")?;
        }
        write!(f, ", {seconds_ago} s ago")
    }
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

    pub(crate) fn any_open(&self) -> bool {
        self.tcp.iter().any(|(_, tcp)| *tcp == Tcp::Open)
    }

    /// The principal to give a right to: a role rather than its session.
    pub(crate) fn principal(&self) -> String {
        match &self.caller {
            Caller::Is { arn, .. } => principal_of(arn),
            _ => match &self.rds_log {
                RdsLog::Says { caller: Some(arn), .. } => principal_of(arn),
                _ => "<the role that signs>".into(),
            },
        }
    }
}

/// `arn:aws:sts::…:assumed-role/NAME/SESSION` is a session of `arn:aws:iam::…:role/NAME`.
pub(crate) fn principal_of(arn: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    if let ["arn", partition, "sts", "", account, resource] = parts.as_slice()
        && let Some(name) = resource.strip_prefix("assumed-role/").and_then(|r| r.split('/').next())
    {
        return format!("arn:{partition}:iam::{account}:role/{name}");
    }
    arn.to_owned()
}
