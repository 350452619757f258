//! A Neptune cluster, as the function uses it.

use std::collections::BTreeMap;

use rds_iam::lambda::QueryBackend;
use rds_iam::neptune::Statement;
use rds_iam::query::{Chooser, Delivered, Library, Query};
use rds_iam::{Error, NeptuneConfig, NeptuneSession, Work};
use serde_json::value::RawValue;

/// The cluster, and the query files that were deployed with the function.
pub(crate) struct Cluster {
    session: NeptuneSession,
    library: Library,
}

impl Cluster {
    pub(crate) fn from_env() -> Result<Self, Error> {
        let config = NeptuneConfig::from_env()?;
        Ok(Self { library: config.common.library(), session: NeptuneSession::new(config)? })
    }
}

impl QueryBackend for Cluster {
    type Statement = Statement;

    const HAS_LEDGER: bool = false;

    fn choose(&self, name: Option<&str>) -> Result<Statement, Error> {
        Statement::choose(&self.library, name, Chooser::Invoker)
    }

    fn query(statement: &Statement) -> &Query {
        &statement.query
    }

    /// A message that arrives twice runs twice, so that `id` has no use.
    async fn deliver(
        &self,
        statement: &Statement,
        values: &BTreeMap<String, Box<RawValue>>,
        _id: &str,
        work: &mut Work,
    ) -> Result<Delivered, Error> {
        self.session.run(statement, values, work).await.map(Delivered::Answered)
    }

    async fn close(&self) {
        self.session.close().await;
    }
}
