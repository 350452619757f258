//! Event to query, query to answer, answer to the response that the source expects.

use std::collections::HashSet;

use rds_iam::lambda::{
    BatchResponse, DirectEvent, Handler, Invocation, Response, log_failed_record,
};
use rds_iam::neptune::{NeptuneConfig, NeptuneSession, Statement};
use rds_iam::query::{Answer, Mode};
use rds_iam::{Error, ErrorKind};
use serde::Serialize;

use crate::event::{Event, Message};

/// The function: its cluster, and the query files that were deployed with it.
pub(crate) struct NeptuneQuery {
    session: NeptuneSession,
}

/// A response, by the event's source.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum QueryResponse {
    Direct(Response),
    Queue(BatchResponse),
}

impl NeptuneQuery {
    pub(crate) async fn from_env() -> Result<Self, Error> {
        Ok(Self { session: NeptuneSession::new(NeptuneConfig::from_env()?)? })
    }

    /// A direct event may name any query that reads; one that writes must be the function's own (`QUERY`)
    /// or say `selectable = true`, because whoever may invoke the function would otherwise choose among
    /// all writes of the package.
    async fn direct(
        &self,
        event: &DirectEvent,
        invocation: &mut Invocation,
    ) -> Result<Response, Error> {
        let statement = self.session.load(event.query.as_deref())?;
        let query = &statement.query;
        invocation.query = Some(query.name.clone());
        if event.query.is_some() && query.mode == Mode::Write && !query.selectable {
            let what = format!("query {} does not run for an event that names it", query.name);
            return Err(Error::new(ErrorKind::QueryDenied, what)
                .because("it writes, and its front matter does not say selectable = true")
                .remedy("Set QUERY to it, or let events choose this query"));
        }
        let answer = self.session.run(&statement, &event.params, &mut invocation.work).await?;
        Ok(invocation.respond(&statement.query, answer))
    }

    /// Runs the default query for each message, one after another. A message fails alone; after a failure
    /// the rest of its FIFO group is not tried, so that the group's order holds.
    async fn queue(
        &self,
        messages: Vec<Message>,
        invocation: &mut Invocation,
    ) -> Result<BatchResponse, Error> {
        let statement = self.session.load(None)?;
        invocation.query = Some(statement.query.name.clone());
        let (total, mut failures) = (messages.len(), Vec::new());
        let mut stopped: HashSet<String> = HashSet::new();
        for message in messages {
            if message.group.as_ref().is_some_and(|group| stopped.contains(group)) {
                failures.push(message.id);
                continue;
            }
            if let Err(error) = self.deliver(&statement, &message, invocation).await {
                log_failed_record(&message.id, &error);
                stopped.extend(message.group);
                failures.push(message.id);
            }
        }
        let counters = [("records", total), ("failed_records", failures.len())];
        invocation.counters.extend(counters.map(|(name, count)| (name, count as u64)));
        Ok(BatchResponse::of_failures(failures))
    }

    async fn deliver(
        &self,
        statement: &Statement,
        message: &Message,
        invocation: &mut Invocation,
    ) -> Result<(), Error> {
        let values = message.values(&statement.query)?;
        let answer = self.session.run(statement, &values, &mut invocation.work).await?;
        if let Answer::Metrics(metrics) = answer {
            invocation.metrics.push(metrics);
        }
        Ok(())
    }
}

impl Handler for NeptuneQuery {
    type Response = QueryResponse;

    async fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        match Event::parse(event)? {
            Event::Direct(event) => {
                self.direct(&event, invocation).await.map(QueryResponse::Direct)
            }
            Event::Queue(messages) => {
                self.queue(messages, invocation).await.map(QueryResponse::Queue)
            }
        }
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
