//! Event to query, query to answer, answer to the response that the source expects.

use std::collections::BTreeMap;

use rds_iam::Error;
use rds_iam::lambda::{
    BatchResponse, DirectEvent, Handler, Invocation, Message, QueryEvent, Response, deliver_each,
};
use rds_iam::neptune::{NeptuneConfig, NeptuneSession, Statement};
use rds_iam::query::{Answer, Chooser};
use serde::Serialize;
use serde_json::value::RawValue;

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

    /// Reads a query file, and names it in the log.
    fn load(&self, name: Option<&str>, invocation: &mut Invocation) -> Result<Statement, Error> {
        let statement = self.session.choose(name, Chooser::Invoker)?;
        invocation.query = Some(statement.query.name.clone());
        Ok(statement)
    }

    async fn direct(
        &self,
        event: &DirectEvent,
        invocation: &mut Invocation,
    ) -> Result<Response, Error> {
        let statement = self.load(event.query.as_deref(), invocation)?;
        self.answer(&statement, &event.params, invocation).await
    }

    async fn answer(
        &self,
        statement: &Statement,
        values: &BTreeMap<String, Box<RawValue>>,
        invocation: &mut Invocation,
    ) -> Result<Response, Error> {
        let answer = self.session.run(statement, values, &mut invocation.work).await?;
        Ok(invocation.respond(&statement.query, answer))
    }

    /// Runs the default query for each message.
    async fn queue(
        &self,
        messages: Vec<Message>,
        invocation: &mut Invocation,
    ) -> Result<BatchResponse, Error> {
        let statement = self.load(None, invocation)?;
        let deliver = async |message: &Message, invocation: &mut Invocation| {
            self.deliver(&statement, message, invocation).await
        };
        deliver_each(messages, invocation, deliver).await
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
        let direct = match QueryEvent::parse(event)? {
            QueryEvent::Queue(messages) => {
                return self.queue(messages, invocation).await.map(QueryResponse::Queue);
            }
            QueryEvent::Direct(event) => self.direct(&event, invocation).await,
            QueryEvent::Rule(event) => {
                let statement = self.load(None, invocation)?;
                let values = event.values(&statement.query)?;
                self.answer(&statement, &values, invocation).await
            }
        };
        direct.map(QueryResponse::Direct)
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
