//! Opens a transaction with its time-outs: the function's, or the session's own where that is shorter.
//!
//! A session has limits of its own from `ALTER ROLE … SET statement_timeout`, from the database or from the
//! server. No message of the login tells them, so the first BEGIN of a connection reads them, in the same round
//! trip; the later ones are built from what it read.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::{Client, SimpleQueryRow};

use super::statement_error::condition;
use super::text::first_row;
use crate::error::Error;
use crate::query::{Query, cancelled, ended_by_a_limit, timed_out};

/// The settings that bound a transaction, in the order of [`Milliseconds`].
const SETTINGS: [&str; 3] =
    ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
/// PostgreSQL's unit of them. As the session's own, 0 is no limit.
type Milliseconds = [u64; 3];

/// The kinds of transaction.
#[derive(Clone, Copy)]
pub(super) enum Transaction {
    Read,
    Write,
    /// A read whose statements all see one snapshot.
    Snapshot,
}

impl Transaction {
    fn begin(self) -> &'static str {
        match self {
            Self::Read => "BEGIN READ ONLY",
            Self::Write => "BEGIN",
            Self::Snapshot => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }
}

/// A session's own time-outs, once a BEGIN has read them.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionLimits(Arc<OnceLock<Milliseconds>>);

impl SessionLimits {
    /// Opens a transaction. `timeout` is left out behind RDS Proxy, where SET pins the session. A transaction
    /// that is left idle ends after `idle`, if that is shorter.
    pub(super) async fn begin(
        &self,
        client: &Client,
        transaction: Transaction,
        timeout: Option<Duration>,
        idle: Duration,
    ) -> Result<(), tokio_postgres::Error> {
        let text = self.text(transaction, timeout, idle);
        if timeout.is_none() || self.0.get().is_some() {
            return client.batch_execute(&text).await;
        }
        let messages = client.simple_query(&text).await?;
        if let Some(own) = first_row(&messages).and_then(read) {
            self.0.get_or_init(|| own);
        }
        Ok(())
    }

    /// The text that opens a transaction.
    pub(super) fn text(
        &self,
        transaction: Transaction,
        timeout: Option<Duration>,
        idle: Duration,
    ) -> String {
        let mut text = transaction.begin().to_owned();
        let Some(timeout) = timeout else { return text };
        let functions = milliseconds(timeout, idle);
        match self.0.get() {
            Some(own) => {
                for ((name, own), functions) in SETTINGS.iter().zip(own).zip(functions) {
                    let shorter = if *own == 0 { functions } else { functions.min(*own) };
                    text.push_str(&format!("; SET LOCAL {name} = {shorter}"));
                }
            }
            None => text.push_str(&reading(functions)),
        }
        text
    }

    /// The limit of a statement that is sent now, in a transaction with this time-out.
    pub(crate) fn limit(&self, timeout: Option<Duration>) -> Limit {
        Limit { since: Instant::now(), timeout, session: self.clone() }
    }

    /// The session's own `statement_timeout`.
    fn statement(&self) -> Option<Duration> {
        let [statement, ..] = *self.0.get()?;
        (statement > 0).then(|| Duration::from_millis(statement))
    }
}

fn milliseconds(timeout: Duration, idle: Duration) -> Milliseconds {
    let of = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
    let statement = of(timeout);
    // Half for locks, so that there is time to run once they are granted; and a sandbox that
    // freezes or dies in between holds its locks no longer than the statement could run.
    [statement, (statement / 2).max(1), of(timeout.min(idle))]
}

/// Sets the shorter of the session's and these time-outs, and shows the session's. They are read before
/// anything is set: OFFSET 0 keeps the subquery apart.
fn reading(functions: Milliseconds) -> String {
    let own = SETTINGS.map(|name| {
        format!(
            "(pg_catalog.date_part('epoch', pg_catalog.current_setting('{name}')::pg_catalog.interval) \
             * 1000)::pg_catalog.int8 AS {name}"
        )
    });
    let set = SETTINGS.iter().zip(functions).map(|(name, functions)| {
        format!(
            "pg_catalog.set_config('{name}', \
             LEAST(NULLIF(own.{name}, 0), {functions})::pg_catalog.text, true)"
        )
    });
    let set: Vec<String> = set.collect();
    format!("; SELECT own.*, {} FROM (SELECT {} OFFSET 0) AS own", set.join(", "), own.join(", "))
}

fn read(row: &SimpleQueryRow) -> Option<Milliseconds> {
    let mut own = [0; 3];
    for (index, own) in own.iter_mut().enumerate() {
        *own = row.get(index)?.parse().ok()?;
    }
    Some(own)
}

/// When a statement was sent, and how long the server lets it run.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    since: Instant,
    /// The function's; none behind RDS Proxy.
    timeout: Option<Duration>,
    session: SessionLimits,
}

impl Limit {
    /// When the function's time-out has ended the statement.
    pub(super) fn end(&self) -> Option<Instant> {
        self.timeout.map(|timeout| self.since + timeout)
    }

    /// The error of a statement that the server ended with 57014; `None` if it was the function's time-out. The
    /// server began later than this side did, so before a time-out has passed here, it was none.
    pub(super) fn canceled(&self, query: &Query) -> Option<Error> {
        let Some(timeout) = self.timeout else {
            let why = "the statement_timeout of its user, database or server ended it, or a request to cancel it";
            return Some(timed_out(query, why));
        };
        let own = self.session.statement().filter(|own| *own < timeout);
        if self.since.elapsed() < own.unwrap_or(timeout) {
            return Some(cancelled(query, &condition("57014")));
        }
        own.map(|own| ended_by_a_limit(query, "statement_timeout", own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_SECONDS: Option<Duration> = Some(Duration::from_secs(10));

    fn limits(own: Milliseconds) -> SessionLimits {
        SessionLimits(Arc::new(OnceLock::from(own)))
    }

    #[test]
    fn the_shorter_is_set() {
        let text = |own, idle| limits(own).text(Transaction::Write, TEN_SECONDS, idle);
        assert_eq!(
            text([0, 0, 0], Duration::MAX),
            "BEGIN; SET LOCAL statement_timeout = 10000; SET LOCAL lock_timeout = 5000; \
             SET LOCAL idle_in_transaction_session_timeout = 10000"
        );
        assert_eq!(
            text([300, 60_000, 86_400_000], Duration::from_secs(3)),
            "BEGIN; SET LOCAL statement_timeout = 300; SET LOCAL lock_timeout = 5000; \
             SET LOCAL idle_in_transaction_session_timeout = 3000"
        );
    }

    #[test]
    fn without_a_time_out_nothing_is_set() {
        let unread = SessionLimits::default();
        assert_eq!(unread.text(Transaction::Read, None, Duration::MAX), "BEGIN READ ONLY");
    }

    #[tokio::test(start_paused = true)]
    async fn each_end_has_its_own_words() {
        let query = Query::parse("q", "SELECT 1").unwrap();
        let limit = limits([300, 0, 0]).limit(TEN_SECONDS);
        let words = |limit: &Limit| limit.canceled(&query).map(|error| error.to_string());
        assert!(words(&limit).unwrap().contains("was cancelled"));
        tokio::time::advance(Duration::from_millis(300)).await;
        assert!(words(&limit).unwrap().contains("statement_timeout of 0.3 s"));

        let longer = limits([60_000, 0, 0]).limit(TEN_SECONDS);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(words(&longer).unwrap().contains("was cancelled"));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(words(&longer), None);
    }
}
