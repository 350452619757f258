//! A token that RDS refused: whom the questions about it are for, and how long they may take.

use std::time::{Duration, SystemTime};

use aws_types::SdkConfig;
use rds_iam::Config;
use rds_iam::postgres::Refusal;
use tokio::time::{Instant, timeout_at};

use super::client;
use super::step::Answers;
use crate::aws::evidence::{Caller, Database, Rds};
use crate::environment::Environment;
use crate::login::evidence::Login;

/// A token is no older either.
pub(crate) const RECENT: Duration = Duration::from_secs(15 * 60);

/// A token that RDS refused, and what is known of it.
pub(crate) struct Refused<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) config: &'a Config,
    pub(crate) sdk: &'a SdkConfig,
    pub(crate) caller: &'a Caller,
    pub(crate) database: &'a Database,
}

/// When the questions are asked, and until when.
#[derive(Clone, Copy)]
pub(crate) struct When {
    pub(crate) now: SystemTime,
    pub(crate) deadline: Instant,
}

impl<'a> Refused<'a> {
    /// The refused token, if that is how the login ended, of a database that RDS has described.
    pub(crate) fn by_rds(
        environment: &'a Environment,
        config: Option<&'a Config>,
        aws: &'a Answers,
        login: &Login,
    ) -> Option<Self> {
        let (sdk, caller) = (aws.sdk.as_ref()?, &aws.aws.caller);
        match (login, &aws.aws.rds) {
            (Login::Refused { refusal: Refusal::Token, .. }, Rds::Is(database)) => {
                Some(Self { environment, config: config?, sdk, caller, database })
            }
            _ => None,
        }
    }

    /// The configuration of a service's client, if the caller's keys may be shown to it.
    pub(crate) fn service(&self, name: &str) -> Option<SdkConfig> {
        client::for_service(self.environment, self.sdk, self.config, name)
    }
}

impl When {
    /// An answer, or `otherwise` if it does not come in time.
    pub(crate) async fn within<T>(self, answer: impl Future<Output = T>, otherwise: T) -> T {
        timeout_at(self.deadline, answer).await.unwrap_or(otherwise)
    }
}

pub(crate) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
