//! What the steps found. Nothing in here is a secret: of keys only their kind, of servers' messages only
//! their class.

use std::net::SocketAddr;
use std::time::SystemTime;

use rds_iam::Config;
use rds_iam::config::Problem;
use rds_iam::postgres::Refusal;

use crate::aws::evidence::{
    Caller, Clock, Counts, Database, Decision, Rds, RdsLog, RdsMetrics, Simulation, principal_of,
};
use crate::credentials::evidence::Credentials;
use crate::database::evidence::Facts;
use crate::environment::Environment;
use crate::login::evidence::Login;
use crate::network::evidence::{Dns, Tcp};
use crate::tls::evidence::{Presented, Tls};

/// Everything that is known when the steps have ended.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// The variables.
    pub(crate) environment: Environment,
    /// The configuration: the environment's, or, if that has `problems`, one with them repaired as far
    /// as they tell how.
    pub(crate) config: Option<Config>,
    /// The variables that are missing or wrong.
    pub(crate) problems: Vec<Problem>,
    /// The variables that were changed to go on in spite of the problems; empty means unset.
    pub(crate) repairs: Vec<(String, String)>,
    /// Credentials.
    pub(crate) credentials: Credentials,
    /// Who signs, by STS.
    pub(crate) caller: Caller,
    /// How far this machine's clock is ahead of another.
    pub(crate) clock: Option<Clock>,
    /// The name's addresses.
    pub(crate) dns: Dns,
    /// Each address, and whether it can be connected to.
    pub(crate) tcp: Vec<(SocketAddr, Tcp)>,
    /// Whether PostgreSQL's usual port answers there, if the configured one refuses.
    pub(crate) usual_port_answers: bool,
    /// The TLS handshake.
    pub(crate) tls: Tls,
    /// The login.
    pub(crate) login: Login,
    /// The port that a token is accepted for, if the configured one is a tunnel's.
    pub(crate) accepted_port: Option<u16>,
    /// What the database says after a login.
    pub(crate) facts: Option<Facts>,
    /// Databases that the user may connect to, if the configured one does not exist.
    pub(crate) databases: Vec<String>,
    /// What the RDS API says.
    pub(crate) rds: Rds,
    /// What RDS's log says of refused tokens.
    pub(crate) rds_log: RdsLog,
    /// What RDS counts of refused tokens.
    pub(crate) rds_metrics: RdsMetrics,
    /// What IAM says of the caller's policies.
    pub(crate) simulation: Simulation,
    /// This machine's time when the check began.
    pub(crate) now: SystemTime,
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
