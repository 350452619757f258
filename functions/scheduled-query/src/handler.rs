//! Event to query, query to rows, rows to response.

use std::path::PathBuf;

use rds_iam::lambda::{Handler, Invocation};
use rds_iam::query::{Parameters, Query};
use rds_iam::session::Answer;
use rds_iam::{Config, Error, ErrorKind, Session};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use crate::event::Event;

/// The function: its database, and the query files that were deployed with it.
pub(crate) struct ScheduledQuery {
    session: Session,
    queries_dir: PathBuf,
    default_query: Option<String>,
}

#[derive(Serialize)]
struct Response<'a> {
    query: &'a str,
    #[serde(flatten)]
    answer: Body<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Rows { rows: &'a rds_iam::query::Rows, row_count: usize },
    Affected { affected: u64 },
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
        let body = match &answer {
            Answer::Rows(rows) => {
                invocation.row_count = Some(rows.len());
                Body::Rows { rows, row_count: rows.len() }
            }
            Answer::Affected(affected) => Body::Affected { affected: *affected },
        };
        to_raw_value(&Response { query: &query.name, answer: body }).map_err(|_| {
            Error::new(ErrorKind::QueryFailed, "the rows have no JSON form").remedy("This is a bug")
        })
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
