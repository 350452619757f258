//! Any event to the report: there is nothing to choose.

use aws_smithy_async::time::SharedTimeSource;
use rds_doctor::{Environment, Report, check};
use rds_iam::lambda::{Handler, Invocation};
use rds_iam::{Error, ErrorKind};

/// The function. It keeps nothing: each invocation checks anew.
pub(crate) struct DbCheck {
    environment: Environment,
    clock: SharedTimeSource,
}

/// A wrong configuration is a finding here, not an error.
pub(crate) async fn start() -> Result<DbCheck, Error> {
    Ok(DbCheck { environment: Environment::from_process(), clock: SharedTimeSource::default() })
}

impl Handler for DbCheck {
    type Response = Report;

    async fn handle(&self, event: &str, invocation: &mut Invocation) -> Result<Report, Error> {
        // A schedule's own event is as good as {}; what is no JSON was meant for something else.
        if serde_json::from_str::<serde::de::IgnoredAny>(event).is_err() {
            return Err(Error::new(
                ErrorKind::EventInvalid,
                "the function does not take this event",
            )
            .because("it is not JSON")
            .remedy("Send {}: db-check reads nothing of its event"));
        }
        Ok(check(&self.environment, &self.clock, invocation.work.deadline.remaining()).await)
    }
}
