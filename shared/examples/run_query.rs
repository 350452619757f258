//! A Lambda function of one's own on this crate: runs any query file, those that write too.
//!
//! Its event is `{"query": "add_customer", "params": {…}}`. With `make serve` running, try it by
//! `cargo build --examples` and `rds-local invoke target/debug/examples/run_query --event FILE`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rds_iam::lambda::{Handler, Invocation};
use rds_iam::query::{Parameters, Query};
use rds_iam::{Config, Error, ErrorKind, Session};
use serde::Deserialize;
use serde_json::value::RawValue;

struct RunQuery {
    session: Session,
    queries_dir: PathBuf,
}

#[derive(Deserialize)]
struct Event {
    query: String,
    #[serde(default)]
    params: BTreeMap<String, Box<RawValue>>,
}

impl Handler for RunQuery {
    async fn handle(
        &self,
        event: &str,
        invocation: &mut Invocation,
    ) -> Result<Box<RawValue>, Error> {
        // The parser's own message may quote the event.
        let event: Event = serde_json::from_str(event).map_err(|_| {
            Error::new(ErrorKind::EventInvalid, "the event is not of the form {query, params}")
        })?;
        let query = Query::load(&self.queries_dir, &event.query)?;
        let parameters = Parameters::bind(&query, &event.params)?;
        invocation.query = Some(query.name.clone());
        let answer = self
            .session
            .run(&query, &parameters, invocation.deadline, &mut invocation.report)
            .await?;
        invocation.respond(&query, answer)
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(|| {
        let config = Config::from_env()?;
        let queries_dir = config.queries_dir.clone();
        Ok(RunQuery { session: Session::new(config)?, queries_dir })
    })
}
