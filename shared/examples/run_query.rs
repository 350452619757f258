//! A Lambda function on this crate: runs any query file, writes included.
//!
//! Its event is `{"query": "add_customer", "params": {…}}`. With `make serve` running, try it by
//! `cargo build --examples` and `rds-local invoke target/debug/examples/run_query --event FILE`.

use std::collections::BTreeMap;

use rds_iam::lambda::{Handler, Invocation, Response};
use rds_iam::query::{Library, Parameters};
use rds_iam::{Config, Error, ErrorKind, Session};
use serde::Deserialize;
use serde_json::value::RawValue;

struct RunQuery {
    session: Session,
    library: Library,
}

#[derive(Deserialize)]
struct Event {
    query: String,
    #[serde(default)]
    params: BTreeMap<String, Box<RawValue>>,
}

impl Handler for RunQuery {
    type Response = Response;

    async fn handle(&self, event: &str, invocation: &mut Invocation) -> Result<Response, Error> {
        // The parser's own message may quote the event.
        let event: Event = serde_json::from_str(event).map_err(|_| {
            Error::new(ErrorKind::EventInvalid, "the event is not of the form {query, params}")
        })?;
        let query = self.library.load(Some(&event.query))?;
        invocation.query = Some(query.name.clone());
        let parameters = Parameters::bind(&query, &event.params)?;
        let answer = self.session.run(&query, &parameters, &mut invocation.work).await?;
        Ok(invocation.respond(&query, answer))
    }

    async fn shut_down(&self) {
        self.session.close().await;
    }
}

fn main() -> std::process::ExitCode {
    rds_iam::lambda::run(async || {
        let config = Config::from_env()?;
        Ok(RunQuery { library: config.common.library(), session: Session::new(config)? })
    })
}
