//! The findings of the steps. Nothing in here is a secret: of keys only their kind, of servers' messages only
//! their class.

use std::time::SystemTime;

use rds_iam::Config;
use rds_iam::postgres::Refusal;

use crate::aws::evidence::{
    Aws, Caller, Counts, Database, Decision, Rds, RdsLog, RdsMetrics, Reasons, Simulation,
    principal_of,
};
use crate::clock::evidence::Clock;
use crate::configuration::evidence::Configuration;
use crate::credentials::evidence::Credentials;
use crate::database::evidence::Facts;
use crate::environment::Environment;
use crate::login::evidence::{Attempt, Login};
use crate::network::evidence::Network;
use crate::tls::evidence::{Presented, Tls};

/// A token is refused if it is signed further ahead than this; STS takes no more either way.
const FUTURE: i64 = 300;
/// A token is refused if it was signed longer ago.
const PAST: i64 = 900;

/// Everything that is known when the steps have ended.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) environment: Environment,
    pub(crate) configuration: Configuration,
    pub(crate) credentials: Credentials,
    pub(crate) aws: Aws,
    /// This machine's clock beside another, if another was seen.
    pub(crate) clock: Option<Clock>,
    pub(crate) network: Network,
    pub(crate) tls: Tls,
    pub(crate) attempt: Attempt,
    /// The database's answers after a login.
    pub(crate) facts: Option<Facts>,
    /// RDS's and IAM's reasons for a refused token.
    pub(crate) reasons: Reasons,
    pub(crate) mysql: crate::mysql::evidence::Evidence,
    pub(crate) neptune: crate::neptune::evidence::Evidence,
    /// This machine's time when the check began.
    pub(crate) now: SystemTime,
}

impl Evidence {
    pub(crate) fn config(&self) -> Option<&Config> {
        self.configuration.config.as_ref()
    }

    /// Whether the clock is far enough off that AWS or RDS refuses a signature for that alone.
    pub(crate) fn clock_is_off(&self) -> bool {
        let Some(clock) = &self.clock else { return false };
        let by_sts = matches!(self.aws.caller, Caller::Refused(_))
            || matches!(self.credentials, Credentials::Missing { .. });
        clock.ahead > FUTURE || clock.ahead < -PAST || by_sts && clock.ahead < -FUTURE
    }

    pub(crate) fn host(&self) -> &str {
        self.config().map_or("", |config| &config.endpoint.host)
    }

    pub(crate) fn user(&self) -> &str {
        self.config().map_or("<user>", |config| &config.user)
    }

    pub(crate) fn presented(&self) -> Option<&Presented> {
        match &self.tls {
            Tls::Presented(presented) => Some(presented),
            _ => None,
        }
    }

    pub(crate) fn refused(&self, wanted: Refusal) -> bool {
        self.attempt.login.is(wanted)
    }

    /// Whether the server took the token, and refused the login for what it looks at afterwards, if at all.
    pub(crate) fn token_accepted(&self) -> bool {
        use Refusal::{NoConnect, NoDatabase, NoLogin, NotAccepting, TooManyOfDatabase};
        let after = [NoConnect, NoDatabase, NoLogin, NotAccepting, TooManyOfDatabase];
        self.attempt.login == Login::Works || after.iter().any(|refusal| self.refused(*refusal))
    }

    pub(crate) fn database(&self) -> Option<&Database> {
        match &self.aws.rds {
            Rds::Is(database) => Some(database),
            _ => None,
        }
    }

    /// RDS's own reason for a refused token, and a phrase that says so.
    pub(crate) fn logged(&self) -> Option<(&'static str, String)> {
        let RdsLog::Says { code, .. } = &self.reasons.log else { return None };
        Some((code, format!("RDS's log says {}", self.reasons.log)))
    }

    /// RDS's counts, if it counted any login.
    pub(crate) fn counted(&self) -> Option<&Counts> {
        match &self.reasons.metrics {
            RdsMetrics::Count(counts) => Some(counts),
            _ => None,
        }
    }

    /// The same as a phrase.
    pub(crate) fn said_count(&self) -> Option<String> {
        self.counted().map(|counts| format!("RDS counts {counts}"))
    }

    /// The result of IAM's simulation, as a phrase.
    pub(crate) fn simulated(&self) -> Option<String> {
        match &self.reasons.simulation {
            Simulation::Says(says) => Some(format!("IAM's simulation says {says}")),
            _ => None,
        }
    }

    /// IAM's decision, if nothing is missing that could make it another.
    pub(crate) fn decided(&self) -> Option<&Decision> {
        match &self.reasons.simulation {
            Simulation::Says(says) if says.missing.is_empty() => Some(&says.decision),
            _ => None,
        }
    }

    pub(crate) fn any_open(&self) -> bool {
        self.network.open_address().is_some()
    }

    /// The principal to give a right to: a role rather than its session.
    pub(crate) fn principal(&self) -> String {
        match (&self.reasons.simulation, &self.aws.caller, &self.reasons.log) {
            // The only one that holds a role's path.
            (Simulation::Says(says), ..) => says.principal.clone(),
            (_, Caller::Is { arn, .. }, _) => principal_of(arn),
            (.., RdsLog::Says { caller: Some(arn), .. }) => principal_of(arn),
            _ => "<the role that signs>".into(),
        }
    }
}
