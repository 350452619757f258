//! Event to parameters, rows to an answer.

use rds_iam::lambda::{Handler, Invocation};
use rds_iam::query::{Answer, Parameters, Query};
use rds_iam::{Config, Error, ErrorKind, Session};
use serde::{Deserialize, Serialize};

/// The function's own errorType. `rds_iam::ErrorKind` has those of the crate.
const NO_ORDERS: ErrorKind = ErrorKind::Custom("Orders.None");

/// The function: its database, and its query.
pub struct CustomerOrders {
    session: Session,
    query: Query,
}

/// The event, whose fields are the query's parameters.
#[derive(Deserialize, Serialize)]
struct Event {
    customer: String,
}

/// A row of the query.
#[derive(Deserialize)]
struct Order {
    cents: i64,
}

/// The function's answer.
#[derive(Serialize)]
pub struct Summary {
    orders: usize,
    cents: i64,
}

impl CustomerOrders {
    pub async fn from_env() -> Result<Self, Error> {
        let sql = include_str!("../queries/customer_orders.sql");
        let query = Query::parse("customer_orders", sql)?;
        Ok(Self {
            session: Session::new(Config::from_env()?)?,
            query,
        })
    }
}

impl Handler for CustomerOrders {
    type Response = Summary;

    async fn handle(&self, event: &str, invocation: &mut Invocation) -> Result<Summary, Error> {
        // The parser's own message may quote the event, which no log should hold.
        let event: Event = serde_json::from_str(event).map_err(|_| {
            Error::new(ErrorKind::EventInvalid, "the event has no customer")
                .remedy(r#"Send {"customer": "a name"}"#)
        })?;
        let parameters = Parameters::of(&self.query, &event)?;
        let work = &mut invocation.work;
        let answer = self.session.read(&self.query, &parameters, work).await?;
        let Answer::Rows(rows) = &answer else {
            return Err(Error::new(
                ErrorKind::QueryInvalid,
                "the query does not return rows",
            ));
        };
        let orders: Vec<Order> = rows.deserialize()?;
        // The log line gets the query's name and the number of rows.
        invocation.respond(&self.query, answer);
        if orders.is_empty() {
            return Err(Error::new(NO_ORDERS, "the customer has no orders"));
        }
        Ok(Summary {
            orders: orders.len(),
            cents: orders.iter().map(|order| order.cents).sum(),
        })
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}
