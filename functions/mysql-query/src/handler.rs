//! Event to query, query to answer, answer to the response that the source expects.

use std::collections::BTreeMap;

use rds_iam::lambda::{
    BatchResponse, DirectEvent, DuplicateResponse, Handler, Invocation, Message, QueryEvent,
    Response, deliver_each,
};
use rds_iam::query::{Answer, Chooser, Delivered, Library, Parameters, Query};
use rds_iam::{Error, MysqlConfig, MysqlSession};
use serde::Serialize;
use serde_json::value::RawValue;

/// The function: its database, and the query files that were deployed with it.
pub(crate) struct MysqlQuery {
    session: MysqlSession,
    library: Library,
}

/// A response, by the event's source.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum QueryResponse {
    Direct(Response),
    Duplicate(DuplicateResponse),
    Queue(BatchResponse),
}

impl MysqlQuery {
    pub(crate) async fn from_env() -> Result<Self, Error> {
        let config = MysqlConfig::from_env()?;
        Ok(Self { library: config.library(), session: MysqlSession::new(config) })
    }

    /// Reads a query file, and names it in the log.
    fn load(&self, name: Option<&str>, invocation: &mut Invocation) -> Result<Query, Error> {
        let query = self.library.choose(name, Chooser::Invoker)?;
        invocation.query = Some(query.name.clone());
        Ok(query)
    }

    /// Lambda repeats an asynchronous invocation under the same request id: the ledger's key of a write.
    async fn direct(
        &self,
        event: &DirectEvent,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let query = self.load(event.query.as_deref(), invocation)?;
        let id = invocation.request_id.clone();
        self.answer(&query, &event.params, &id, invocation).await
    }

    /// EventBridge may deliver an event more than once, under the event's own id.
    async fn rule(
        &self,
        event: &Message,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let query = self.load(None, invocation)?;
        let id = match event.id.is_empty() && query.id.is_none() {
            true => invocation.request_id.clone(),
            false => event.ledger_id(&query)?,
        };
        self.answer(&query, &event.values(&query)?, &id, invocation).await
    }

    async fn answer(
        &self,
        query: &Query,
        values: &BTreeMap<String, Box<RawValue>>,
        id: &str,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let parameters = Parameters::bind(query, values)?;
        let delivered = self.session.deliver(query, &parameters, id, &mut invocation.work).await?;
        Ok(match delivered {
            Delivered::Answered(answer) => QueryResponse::Direct(invocation.respond(query, answer)),
            Delivered::Duplicate => QueryResponse::Duplicate(DuplicateResponse::new(&query.name)),
        })
    }

    /// Runs the default query for each message.
    async fn queue(
        &self,
        messages: Vec<Message>,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let query = self.load(None, invocation)?;
        let mut duplicates = 0;
        let deliver = async |message: &Message, invocation: &mut Invocation| {
            let parameters = Parameters::bind(&query, &message.values(&query)?)?;
            let id = message.ledger_id(&query)?;
            match self.session.deliver(&query, &parameters, &id, &mut invocation.work).await? {
                Delivered::Duplicate => duplicates += 1,
                Delivered::Answered(Answer::Metrics(metrics)) => invocation.metrics.push(metrics),
                Delivered::Answered(_) => {}
            }
            Ok(())
        };
        let response = deliver_each(messages, invocation, deliver).await?;
        invocation.counters.push(("duplicates", duplicates));
        Ok(QueryResponse::Queue(response))
    }
}

impl Handler for MysqlQuery {
    type Response = QueryResponse;

    async fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        match QueryEvent::parse(event)? {
            QueryEvent::Direct(event) => self.direct(&event, invocation).await,
            QueryEvent::Rule(event) => self.rule(&event, invocation).await,
            QueryEvent::Queue(messages) => self.queue(messages, invocation).await,
        }
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
