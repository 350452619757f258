//! Event to deliveries, deliveries to their fates, fates to what Lambda's event sources expect.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rds_iam::lambda::{Handler, Invocation};
use rds_iam::query::{Delivered, Parameters, Query};
use rds_iam::session::Job;
use rds_iam::{Config, Error, ErrorKind, Session};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::event::{Delivery, Event};

/// The function: its database, and the query files that were deployed with it.
pub(crate) struct EventQuery {
    pub(crate) session: Session,
    pub(crate) queries_dir: PathBuf,
    pub(crate) default_query: Option<String>,
}

/// What SQS's event source mapping reads
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html>).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BatchResponse {
    batch_item_failures: Vec<ItemFailure>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ItemFailure {
    item_identifier: String,
}

/// Of sources that deliver an event as a whole.
#[derive(Serialize)]
struct WholeResponse {
    records: usize,
    duplicates: usize,
}

#[derive(Serialize)]
struct DuplicateResponse<'a> {
    query: &'a str,
    duplicate: bool,
}

impl EventQuery {
    pub(crate) fn from_env() -> Result<Self, Error> {
        let config = Config::from_env()?;
        Ok(Self {
            queries_dir: config.queries_dir.clone(),
            default_query: config.default_query.clone(),
            session: Session::new(config)?,
        })
    }

    /// Reads the query that is named, or else the function's own.
    pub(crate) fn load(&self, name: Option<&str>) -> Result<Query, Error> {
        let name = name.or(self.default_query.as_deref()).ok_or_else(|| {
            Error::new(ErrorKind::EventInvalid, "the event names no query")
                .because("and the function has no default one")
                .remedy(
                    "Set QUERY on the function, or name a query in the message attribute \"query\"",
                )
        })?;
        Query::load(&self.queries_dir, name)
    }

    /// Lambda repeats an asynchronous invocation under the same request id: the ledger's key.
    async fn direct(
        &self,
        query: Option<&str>,
        params: &BTreeMap<String, Box<RawValue>>,
        invocation: &mut Invocation,
    ) -> Result<Box<RawValue>, Error> {
        let query = self.load(query)?;
        invocation.query = Some(query.name.clone());
        let parameters = Parameters::bind(&query, params)?;
        let message_id = invocation.request_id.clone();
        let job = Job {
            query: &query,
            parameters: &parameters,
            message_id: &message_id,
            wants_answer: true,
        };
        let mut outcomes =
            self.session.run_batch(&[job], invocation.deadline, &mut invocation.report).await?;
        match outcomes.pop().transpose()? {
            Some(Delivered::Answered(answer)) => invocation.respond(&query, answer),
            _ => json(&DuplicateResponse { query: &query.name, duplicate: true }),
        }
    }

    async fn queue(
        &self,
        deliveries: Vec<Delivery>,
        invocation: &mut Invocation,
    ) -> Result<Box<RawValue>, Error> {
        let ids: Vec<String> = deliveries.iter().map(|delivery| delivery.id.clone()).collect();
        let fates = self.deliver(deliveries, invocation).await?;
        let failed = ids.into_iter().zip(fates).filter(|(_, fate)| fate.is_err());
        json(&BatchResponse {
            batch_item_failures: failed
                .map(|(item_identifier, _)| ItemFailure { item_identifier })
                .collect(),
        })
    }

    /// One failure fails the event, which Lambda then delivers again; what has been written is in
    /// the ledger.
    async fn whole(
        &self,
        deliveries: Vec<Delivery>,
        invocation: &mut Invocation,
    ) -> Result<Box<RawValue>, Error> {
        let fates = self.deliver(deliveries, invocation).await?;
        let records = fates.len();
        fates.into_iter().collect::<Result<Vec<()>, Error>>()?;
        json(&WholeResponse { records, duplicates: invocation.records.duplicates })
    }
}

impl Handler for EventQuery {
    async fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> Result<Box<RawValue>, Error> {
        match Event::parse(event)? {
            Event::Direct { query, params } => {
                self.direct(query.as_deref(), &params, invocation).await
            }
            Event::Queue(deliveries) => self.queue(deliveries, invocation).await,
            Event::Whole(deliveries) => self.whole(deliveries, invocation).await,
        }
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}

fn json(response: &impl Serialize) -> Result<Box<RawValue>, Error> {
    to_raw_value(response).map_err(|_| {
        Error::new(ErrorKind::QueryFailed, "the response has no JSON form").remedy("This is a bug")
    })
}
