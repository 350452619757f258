//! A function that runs one query for each event, or for each message of a queue: the same for every engine.

use std::collections::BTreeMap;
use std::future::Future;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    BatchResponse, DirectEvent, DuplicateResponse, Handler, Invocation, QueryEvent, QueryMessage,
    Response, deliver_each,
};
use crate::error::Error;
use crate::query::{Answer, Delivered, Query};
use crate::work::Work;

/// A database, and the query files that were deployed with the function.
pub trait QueryBackend {
    /// A query file, in the engine's language.
    type Statement;

    /// Whether writes go into a ledger. The log line then counts duplicates.
    const HAS_LEDGER: bool;

    /// Reads the query file that an event names, or else the default one.
    ///
    /// # Errors
    /// If there is no such file, it is wrong, or an event may not name it.
    fn choose(&self, name: Option<&str>) -> Result<Self::Statement, Error>;

    /// The front matter of a statement.
    fn query(statement: &Self::Statement) -> &Query;

    /// Runs a statement with these values. `id` is the ledger's key of a write.
    ///
    /// # Errors
    /// Those of the values, the login and the statement.
    fn deliver(
        &self,
        statement: &Self::Statement,
        values: &BTreeMap<String, Box<RawValue>>,
        id: &str,
        work: &mut Work,
    ) -> impl Future<Output = Result<Delivered, Error>>;

    /// Closes the connection: for when the sandbox ends.
    fn close(&self) -> impl Future<Output = ()>;
}

/// The function's handler.
#[derive(Debug)]
pub struct QueryFunction<E>(pub E);

/// A response, by the event's source.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum QueryResponse {
    /// The answer to an event.
    Direct(Response),
    /// The answer to an event whose write took effect before.
    Duplicate(DuplicateResponse),
    /// The messages of a queue that failed.
    Queue(BatchResponse),
}

impl<E: QueryBackend> QueryFunction<E> {
    /// Reads a query file, and names it in the log.
    fn choose(
        &self,
        name: Option<&str>,
        invocation: &mut Invocation,
    ) -> Result<E::Statement, Error> {
        let statement = self.0.choose(name)?;
        invocation.query = Some(E::query(&statement).name.clone());
        Ok(statement)
    }

    /// Lambda repeats an asynchronous invocation under the same request id: the ledger's key of a write.
    async fn direct(
        &self,
        event: &DirectEvent,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let statement = self.choose(event.query.as_deref(), invocation)?;
        let id = invocation.request_id.clone();
        self.answer(&statement, &event.params, &id, invocation).await
    }

    /// EventBridge may deliver an event more than once, under the event's own id.
    async fn rule(
        &self,
        event: &QueryMessage,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let statement = self.choose(None, invocation)?;
        let query = E::query(&statement);
        let id = match event.id.is_empty() && query.id.is_none() {
            true => invocation.request_id.clone(),
            false => event.ledger_id(query)?,
        };
        self.answer(&statement, &event.values(query)?, &id, invocation).await
    }

    async fn answer(
        &self,
        statement: &E::Statement,
        values: &BTreeMap<String, Box<RawValue>>,
        id: &str,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let query = E::query(statement);
        Ok(match self.0.deliver(statement, values, id, &mut invocation.work).await? {
            Delivered::Answered(answer) => QueryResponse::Direct(invocation.respond(query, answer)),
            Delivered::Duplicate => QueryResponse::Duplicate(DuplicateResponse::new(&query.name)),
        })
    }

    /// Runs the default query for each message.
    async fn queue(
        &self,
        messages: Vec<QueryMessage>,
        invocation: &mut Invocation,
    ) -> Result<QueryResponse, Error> {
        let statement = self.choose(None, invocation)?;
        let query = E::query(&statement);
        let mut duplicates = 0;
        let deliver = async |message: &QueryMessage, invocation: &mut Invocation| {
            let (values, id) = (message.values(query)?, message.ledger_id(query)?);
            match self.0.deliver(&statement, &values, &id, &mut invocation.work).await? {
                Delivered::Duplicate => duplicates += 1,
                Delivered::Answered(Answer::Metrics(metrics)) => invocation.metrics.push(metrics),
                Delivered::Answered(_) => {}
            }
            Ok(())
        };
        let response = deliver_each(messages, invocation, deliver).await?;
        if E::HAS_LEDGER {
            invocation.counters.push(("duplicates", duplicates));
        }
        Ok(QueryResponse::Queue(response))
    }
}

impl<E: QueryBackend> Handler for QueryFunction<E> {
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
        self.0.close().await;
    }
}
