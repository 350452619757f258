//! AWS's answers about the caller and about the database.

use rds_iam::Config;
use rds_iam::endpoint::partition;

/// Who signs, and what is known of the database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Aws {
    pub(crate) caller: Caller,
    /// The RDS API's answer.
    pub(crate) rds: Rds,
}

/// RDS's and IAM's reasons for a refused token.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reasons {
    pub(crate) log: RdsLog,
    pub(crate) metrics: RdsMetrics,
    /// IAM's decision over the caller's policies.
    pub(crate) simulation: Simulation,
}

/// The answer to GetCallerIdentity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Not asked.
    #[default]
    Unknown,
    Is {
        arn: String,
        account: String,
        /// Whether these are the credentials before `DB_ROLE_ARN`, whose role STS refused.
        before_role: bool,
    },
    /// STS refused, with this documented code.
    Refused(String),
    /// STS was not reached or did not answer.
    Unreachable,
}

/// The RDS API's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rds {
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
    Is(Box<Database>),
}

/// A database, as RDS describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Database {
    /// Its identifier, as commands name it.
    pub(crate) id: String,
    pub(crate) address: Option<String>,
    /// The id that policies name.
    pub(crate) resource_id: Option<String>,
    pub(crate) account: Option<String>,
    pub(crate) iam: Option<bool>,
    /// Whether a change of that is pending.
    pub(crate) iam_pending: bool,
    /// `available`, `stopped`, …
    pub(crate) status: String,
    pub(crate) port: Option<i32>,
    /// Whether it is reachable from outside its VPC.
    pub(crate) public: Option<bool>,
    pub(crate) ca: Option<String>,
    pub(crate) security_groups: Vec<String>,
    /// The log group of `iam-db-auth-error`; `None` if RDS does not export that log.
    pub(crate) auth_log: Option<String>,
    /// The dimension of its metrics, and its value; a proxy has none of IAM authentication.
    pub(crate) dimension: Option<(&'static str, String)>,
}

/// The log `iam-db-auth-error`: RDS's own reason, which the client never sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RdsLog {
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

/// The counts of RDS's metrics `IamDbAuthConnection…` in the last quarter of an hour, for all users of the
/// database together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RdsMetrics {
    /// Not read: no token was refused, or the database is not known.
    #[default]
    Unknown,
    /// The caller may not read them.
    Denied,
    /// CloudWatch was not reached or did not answer.
    Unreachable,
    /// They count no login at all.
    Silent,
    Count(Counts),
}

/// Logins with a token, and the refused ones by RDS's reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    /// The token was not valid.
    pub(crate) invalid_token: u64,
    pub(crate) insufficient_permissions: u64,
    pub(crate) throttling: u64,
    /// RDS could not check the token.
    pub(crate) server_error: u64,
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "in 15 minutes {} logins with a token", self.requests)?;
        let refused = [
            ("invalid token", self.invalid_token),
            ("insufficient permissions", self.insufficient_permissions),
            ("throttling", self.throttling),
            ("server error", self.server_error),
        ];
        for (reason, count) in refused.into_iter().filter(|(_, count)| *count > 0) {
            write!(f, ", {count} refused for {reason}")?;
        }
        Ok(())
    }
}

/// IAM's simulation (`SimulatePrincipalPolicy`) of `rds-db:connect` for the caller on the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Simulation {
    /// Not asked: no token was refused, or the caller or the database's resource id is not known.
    #[default]
    Unknown,
    /// The caller may not ask.
    Denied,
    /// IAM was not reached or did not answer.
    Unreachable,
    /// IAM does not know the caller under the name that STS gives it.
    NoSuchPrincipal,
    Says(Simulated),
}

/// The decision over the caller's policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Simulated {
    /// Whether they allow it.
    pub(crate) decision: Decision,
    /// The principal, by the ARN that IAM has for it.
    pub(crate) principal: String,
    /// Condition keys of the policies that the simulation has no value for: the decision may be another
    /// where they have one.
    pub(crate) missing: Vec<String>,
}

/// IAM's decision, and what makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The policies allow it. A session's own policy is not asked.
    Allowed,
    ImplicitDeny,
    /// A statement denies it; in which policies, if IAM says.
    ExplicitDeny(Vec<String>),
    /// The permissions boundary does not allow it.
    Boundary,
    /// A policy of the organization does not allow it.
    Organization,
}

impl std::fmt::Display for Simulated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let why = match &self.decision {
            Decision::Allowed => "allowed",
            Decision::ImplicitDeny => "implicitDeny: no policy allows it",
            Decision::ExplicitDeny(_) => "explicitDeny: a statement denies it",
            Decision::Boundary => "implicitDeny: the permissions boundary does not allow it",
            Decision::Organization => "a policy of the organization does not allow it",
        };
        write!(f, "{why}, for {}", self.principal)?;
        if !self.missing.is_empty() {
            write!(f, ", without a value for {}", self.missing.join(", "))?;
        }
        Ok(())
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

/// The resource that a policy names for the configured user, on the database of this resource id.
pub(crate) fn dbuser_arn(config: &Config, account: &str, resource_id: &str) -> String {
    let (region, user) = (&config.common.region, &config.user);
    format!("arn:{}:rds-db:{region}:{account}:dbuser:{resource_id}/{user}", partition(region))
}

impl Caller {
    pub(crate) fn account(&self) -> Option<&str> {
        match self {
            Self::Is { account, .. } => Some(account),
            _ => None,
        }
    }
}
