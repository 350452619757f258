//! Event to deliveries, deliveries to results, results to the response that the event source expects.

use rds_iam::lambda::{
    BatchResponse, DirectEvent, DuplicateResponse, Handler, Invocation, Response,
};
use rds_iam::query::{Delivered, Library, Parameters};
use rds_iam::session::BatchItem;
use rds_iam::{Config, Error, Session};
use serde::Serialize;

use crate::deliver::deliver;
use crate::delivery::Delivery;
use crate::envelopes::Envelopes;
use crate::event::Event;
use crate::url::HttpResponse;

/// The function: its database, and the query files that were deployed with it.
pub(crate) struct EventQuery {
    session: Session,
    library: Library,
    envelopes: Envelopes,
}

/// A response, by the event's source.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum EventResponse {
    Direct(Response),
    Duplicate(DuplicateResponse),
    Queue(BatchResponse),
    Whole(WholeResponse),
    Url(HttpResponse),
}

/// For sources that deliver an event as a whole.
#[derive(Serialize)]
pub(crate) struct WholeResponse {
    records: usize,
    duplicates: usize,
}

impl EventQuery {
    pub(crate) async fn from_env() -> Result<Self, Error> {
        let config = Config::from_env()?;
        let envelopes = Envelopes::from_env()?;
        Ok(Self { library: config.common.library(), session: Session::new(config)?, envelopes })
    }

    /// Lambda repeats an asynchronous invocation under the same request id: the ledger's key.
    async fn direct(
        &self,
        event: &DirectEvent,
        invocation: &mut Invocation,
    ) -> Result<EventResponse, Error> {
        let query = self.library.load(event.query.as_deref())?;
        invocation.query = Some(query.name.clone());
        let parameters = Parameters::bind(&query, &event.params)?;
        let job = BatchItem {
            query: &query,
            parameters: &parameters,
            message_id: &invocation.request_id,
            keeps_rows: true,
        };
        let mut outcomes = self.session.run_batch(&[job], &mut invocation.work).await?;
        Ok(match outcomes.pop().transpose()? {
            Some(Delivered::Answered(answer)) => {
                EventResponse::Direct(invocation.respond(&query, answer))
            }
            _ => EventResponse::Duplicate(DuplicateResponse::new(&query.name)),
        })
    }

    async fn queue(
        &self,
        deliveries: Vec<Delivery>,
        invocation: &mut Invocation,
    ) -> Result<EventResponse, Error> {
        let ids: Vec<String> = deliveries.iter().map(|delivery| delivery.id.clone()).collect();
        let report = deliver(&self.session, &self.library, deliveries, invocation).await?;
        let failed = ids.into_iter().zip(report.results).filter(|(_, result)| result.is_err());
        Ok(EventResponse::Queue(BatchResponse::of_failures(failed.map(|(id, _)| id))))
    }

    /// A record that fails is the sender's to know; without a connection the invocation itself fails.
    async fn url(
        &self,
        delivery: Delivery,
        invocation: &mut Invocation,
    ) -> Result<EventResponse, Error> {
        let mut report = deliver(&self.session, &self.library, vec![delivery], invocation).await?;
        let duplicate = report.duplicates > 0;
        Ok(EventResponse::Url(match report.results.pop().transpose() {
            Ok(_) => HttpResponse::accepted(duplicate),
            Err(error) => HttpResponse::failed(&error),
        }))
    }

    /// One failure fails the event, which Lambda then delivers again; the ledger remembers what was
    /// written.
    async fn whole(
        &self,
        deliveries: Vec<Delivery>,
        invocation: &mut Invocation,
    ) -> Result<EventResponse, Error> {
        let report = deliver(&self.session, &self.library, deliveries, invocation).await?;
        let records = report.results.len();
        report.results.into_iter().collect::<Result<Vec<()>, Error>>()?;
        Ok(EventResponse::Whole(WholeResponse { records, duplicates: report.duplicates }))
    }
}

impl Handler for EventQuery {
    type Response = EventResponse;

    async fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> Result<EventResponse, Error> {
        match Event::parse(event, self.envelopes)? {
            Event::Direct(event) => self.direct(&event, invocation).await,
            Event::Queue(deliveries) => self.queue(deliveries, invocation).await,
            Event::Url(delivery) => self.url(delivery, invocation).await,
            Event::Whole(deliveries) => self.whole(deliveries, invocation).await,
        }
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
