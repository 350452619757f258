//! The queries that run, for the status endpoints, and their cancellation.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Neptune's default `neptune_query_timeout`.
pub(super) const QUERY_TIMEOUT: Duration = Duration::from_secs(120);
/// How much of a query the status endpoints show.
const SHOWN: usize = 1024;

/// A query language that the gate has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Language {
    OpenCypher,
    Sparql,
}

impl Language {
    /// As the condition `neptune-db:QueryLanguage` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OpenCypher => "OpenCypher",
            Self::Sparql => "Sparql",
        }
    }
}

/// The running queries.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<BTreeMap<(Language, String), Query>>>);

#[derive(Debug)]
struct Query {
    text: String,
    since: Instant,
    cancel: Option<oneshot::Sender<()>>,
}

/// A running query's entry, which ends with it.
pub(super) struct Entry {
    running: Running,
    key: (Language, String),
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key);
    }
}

impl Running {
    /// Notes a query under its own id, or a new one; `None` if one of that id is running.
    pub(super) fn add(
        &self,
        language: Language,
        id: Option<&str>,
        text: &str,
    ) -> Option<(Entry, oneshot::Receiver<()>)> {
        let id = id.map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned);
        let key = (language, id);
        let (cancel, cancelled) = oneshot::channel();
        let text = text.chars().take(SHOWN).collect();
        let query = Query { text, since: Instant::now(), cancel: Some(cancel) };
        let mut queries = self.lock();
        if queries.contains_key(&key) {
            return None;
        }
        queries.insert(key.clone(), query);
        Some((Entry { running: self.clone(), key }, cancelled))
    }

    /// Cancels a query. Returns whether it was running.
    pub(super) fn cancel(&self, language: Language, id: &str) -> bool {
        let mut queries = self.lock();
        let query = queries.get_mut(&(language, id.to_owned()));
        query.and_then(|query| query.cancel.take()).is_some_and(|cancel| cancel.send(()).is_ok())
    }

    pub(super) fn list(&self, language: Language, now: Instant) -> Vec<Value> {
        let queries = self.lock();
        let own = queries.iter().filter(|((other, _), _)| *other == language);
        own.map(|((_, id), query)| {
            let elapsed = now.saturating_duration_since(query.since).as_millis();
            json!({
                "queryId": id,
                "queryString": query.text,
                "queryEvalStats": {
                    "waited": 0,
                    "elapsed": u64::try_from(elapsed).unwrap_or(u64::MAX),
                    "cancelled": query.cancel.is_none(),
                },
            })
        })
        .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Language, String), Query>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
