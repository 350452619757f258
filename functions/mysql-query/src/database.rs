//! Aurora MySQL, as the function uses it.

use std::collections::BTreeMap;

use rds_iam::lambda::QueryBackend;
use rds_iam::query::{Chooser, Delivered, Library, Parameters, Query};
use rds_iam::{Error, MysqlConfig, MysqlSession, Work};
use serde_json::value::RawValue;

/// The database, and the query files that were deployed with the function.
pub(crate) struct Database {
    session: MysqlSession,
    library: Library,
}

impl Database {
    pub(crate) fn from_env() -> Result<Self, Error> {
        let config = MysqlConfig::from_env()?;
        Ok(Self { library: config.common.library(), session: MysqlSession::new(config) })
    }
}

impl QueryBackend for Database {
    type Statement = Query;

    const HAS_LEDGER: bool = true;

    fn choose(&self, name: Option<&str>) -> Result<Query, Error> {
        self.library.choose(name, Chooser::Invoker)
    }

    fn query(statement: &Query) -> &Query {
        statement
    }

    async fn deliver(
        &self,
        query: &Query,
        values: &BTreeMap<String, Box<RawValue>>,
        id: &str,
        work: &mut Work,
    ) -> Result<Delivered, Error> {
        let parameters = Parameters::bind(query, values)?;
        self.session.deliver(query, &parameters, id, work).await
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
