//! Event to query, query to answer, answer to response.

use std::path::PathBuf;

use rds_iam::lambda::{Handler, Invocation};
use rds_iam::query::{Parameters, Query};
use rds_iam::{Config, Error, ErrorKind, Session};
use serde_json::value::RawValue;

use crate::event::Event;

/// The function: its database, and the query files that were deployed with it.
pub(crate) struct ScheduledQuery {
    session: Session,
    queries_dir: PathBuf,
    default_query: Option<String>,
}

impl ScheduledQuery {
    pub(crate) fn from_env() -> Result<Self, Error> {
        let config = Config::from_env()?;
        Ok(Self {
            queries_dir: config.queries_dir.clone(),
            default_query: config.default_query.clone(),
            session: Session::new(config)?,
        })
    }
}

impl Handler for ScheduledQuery {
    async fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> Result<Box<RawValue>, Error> {
        let event = Event::parse(event)?;
        let name = event.query.as_ref().or(self.default_query.as_ref()).ok_or_else(|| {
            Error::new(ErrorKind::EventInvalid, "the event names no query")
                .because("and the function has no default one")
                .remedy("Send {\"query\": \"NAME\"}, or set QUERY on the function")
        })?;
        let query = Query::load(&self.queries_dir, name)?;
        invocation.query = Some(query.name.clone());
        let parameters = Parameters::bind(&query, &event.params)?;
        let answer = self
            .session
            .read(&query, &parameters, invocation.deadline, &mut invocation.report)
            .await?;
        invocation.respond(&query, answer)
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
