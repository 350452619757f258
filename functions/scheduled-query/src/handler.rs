//! Event to query, query to answer, answer to response.

use rds_iam::lambda::{Handler, Invocation, Response};
use rds_iam::query::{Library, Parameters};
use rds_iam::{Config, Error, Session};

use crate::event;

/// The function: its database, and the query files that were deployed with it.
pub(crate) struct ScheduledQuery {
    session: Session,
    library: Library,
}

impl ScheduledQuery {
    pub(crate) async fn from_env() -> Result<Self, Error> {
        let config = Config::from_env()?;
        Ok(Self { library: config.common.library(), session: Session::new(config)? })
    }
}

impl Handler for ScheduledQuery {
    type Response = Response;

    async fn handle(&self, event: &str, invocation: &mut Invocation) -> Result<Response, Error> {
        let event = event::parse(event)?;
        let query = self.library.load(event.direct.query.as_deref())?;
        invocation.query = Some(query.name.clone());
        let parameters = Parameters::bind_at(&query, &event.direct.params, Some(event.time))?;
        let answer = self.session.read(&query, &parameters, &mut invocation.work).await?;
        Ok(invocation.respond(&query, answer))
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
