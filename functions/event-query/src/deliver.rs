//! Turns a batch's records into statements, and their outcomes into one result for each record.
//!
//! A record fails alone. Records of a standard queue run together; those of a FIFO queue's group
//! run one after another, and after a failure the rest of the group is not tried, so that the
//! order holds when they arrive again.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rds_iam::lambda::{Invocation, log_failed_record, log_written_record};
use rds_iam::query::{Answer, Chooser, Delivered, Library, Mode, Parameters, Query};
use rds_iam::session::BatchItem;
use rds_iam::{Error, ErrorKind, Session};

use crate::delivery::Delivery;
use crate::message::Message;

/// How a record ended.
pub(crate) type RecordResult = Result<(), Error>;

/// How a batch ended.
pub(crate) struct Report {
    /// One result for each record, in order.
    pub(crate) results: Vec<RecordResult>,
    /// How many messages had been processed before.
    pub(crate) duplicates: usize,
}

/// Runs every record's statements, and counts records, duplicates and failures for the log. Fails as
/// a whole if there is no connection for the first of them: then nothing was tried.
pub(crate) async fn deliver(
    session: &Session,
    library: &Library,
    deliveries: Vec<Delivery>,
    invocation: &mut Invocation,
) -> Result<Report, Error> {
    let mut groups = line_up(&deliveries);
    let mut batch = Batch::new(library, deliveries);
    let mut ended = Ok(());
    for round in 0.. {
        // The first record of each group, together.
        let heads: Vec<(usize, usize)> = groups
            .iter_mut()
            .enumerate()
            .filter_map(|(group, waiting)| Some((group, waiting.pop_front()?)))
            .collect();
        if heads.is_empty() {
            break;
        }
        let indexes: Vec<usize> = heads.iter().map(|(_, index)| *index).collect();
        if let Err(error) = batch.run(&indexes, session, invocation).await {
            if round == 0 {
                ended = Err(error);
                break;
            }
            for index in indexes {
                batch.results[index].get_or_insert_with(|| Err(error.clone()));
            }
        }
        for (group, index) in heads {
            let Some(Err(error)) = &batch.results[index] else { continue };
            log_failed_record(&batch.ids[index], error);
            let behind = behind_a_failure(error);
            for waiting in groups[group].drain(..) {
                batch.results[waiting] = Some(Err(behind.clone()));
            }
        }
    }
    batch.count(invocation);
    ended?;
    // A record without a result must not be acknowledged.
    let results =
        batch.results.into_iter().map(|result| result.unwrap_or_else(|| Err(not_tried())));
    Ok(Report { results: results.collect(), duplicates: batch.duplicates })
}

/// A message's statement, ready to run.
struct Prepared {
    query: Arc<Query>,
    parameters: Parameters,
    message_id: String,
}

/// Query files that were read in this invocation, by the name that the message gives.
type Queries = HashMap<Option<String>, Result<Arc<Query>, Error>>;

/// An event's records, by index.
struct Batch {
    ids: Vec<String>,
    prepared: Vec<Result<Vec<Prepared>, Error>>,
    results: Vec<Option<RecordResult>>,
    duplicates: usize,
}

impl Batch {
    fn new(library: &Library, deliveries: Vec<Delivery>) -> Self {
        let mut queries = Queries::new();
        let mut ids = Vec::with_capacity(deliveries.len());
        let mut prepared = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            ids.push(delivery.id);
            prepared.push(delivery.messages.and_then(|messages| {
                messages.iter().map(|message| prepare(library, message, &mut queries)).collect()
            }));
        }
        let results = ids.iter().map(|_| None).collect();
        Self { ids, prepared, results, duplicates: 0 }
    }

    /// Runs the statements of these records, and notes each record's result. An error means that
    /// there was no connection: their results stay open.
    async fn run(
        &mut self,
        indexes: &[usize],
        session: &Session,
        invocation: &mut Invocation,
    ) -> Result<(), Error> {
        let mut jobs = Vec::new();
        let mut owners = Vec::new();
        for index in indexes {
            match &self.prepared[*index] {
                Err(error) => self.results[*index] = Some(Err(error.clone())),
                Ok(all) => {
                    jobs.extend(all.iter().map(Prepared::job));
                    owners.extend(all.iter().map(|_| *index));
                }
            }
        }
        if let Some(first) = jobs.first() {
            invocation.query = Some(first.query.name.clone());
            let outcomes = session.run_batch(&jobs, &mut invocation.work).await?;
            for ((owner, job), outcome) in owners.into_iter().zip(&jobs).zip(outcomes) {
                let id = &self.ids[owner];
                match outcome {
                    Ok(Delivered::Duplicate) => {
                        self.duplicates += 1;
                        log_written_record(id, &job.query.name, None);
                    }
                    Ok(Delivered::Answered(Answer::Metrics(metrics))) => {
                        invocation.metrics.push(metrics);
                    }
                    Ok(Delivered::Answered(answer)) if job.query.mode == Mode::Write => {
                        log_written_record(id, &job.query.name, Some(affected(&answer)));
                    }
                    Ok(Delivered::Answered(_)) => {}
                    // A record of several messages fails with the first that fails.
                    Err(error) => {
                        self.results[owner].get_or_insert(Err(error));
                    }
                }
            }
        }
        for index in indexes {
            self.results[*index].get_or_insert(Ok(()));
        }
        Ok(())
    }

    fn count(&self, invocation: &mut Invocation) {
        let failures = self.results.iter().flatten().filter_map(|result| result.as_ref().err());
        let (transient, permanent): (Vec<_>, Vec<_>) =
            failures.partition(|error| error.is_transient());
        let counters = [
            ("records", self.ids.len()),
            ("duplicates", self.duplicates),
            ("transient_failures", transient.len()),
            ("permanent_failures", permanent.len()),
        ];
        invocation.counters.extend(counters.map(|(name, count)| (name, count as u64)));
    }
}

impl Prepared {
    fn job(&self) -> BatchItem<'_> {
        BatchItem {
            query: &self.query,
            parameters: &self.parameters,
            message_id: &self.message_id,
            keeps_rows: false,
        }
    }
}

/// How many rows a write affected, or returned.
fn affected(answer: &Answer) -> u64 {
    match answer {
        Answer::Affected(rows) => *rows,
        Answer::Rows(rows) => rows.len() as u64,
        Answer::One(_) => 1,
        _ => 0,
    }
}

/// A message's statement. A bug that one message triggers fails that message only.
fn prepare(library: &Library, message: &Message, queries: &mut Queries) -> Result<Prepared, Error> {
    guarded(|| {
        let query = queries
            .entry(message.query.clone())
            .or_insert_with(|| {
                library.choose(message.query.as_deref(), Chooser::Message).map(Arc::new)
            })
            .clone()?;
        let parameters = Parameters::bind_message(&query, &message.values(&query), &message.body)?;
        let message_id = message.ledger_id(&query)?;
        Ok(Prepared { query, parameters, message_id })
    })
}

/// Turns a panic into an error.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::InternalPanic, "the function panicked at a record")
            .because("this is a bug")
            .remedy("Report it, with the log line that names the place"))
    })
}

/// Groups the records that must run in order: those of a FIFO queue's message group. Every other
/// record forms its own group.
fn line_up(deliveries: &[Delivery]) -> Vec<VecDeque<usize>> {
    let mut groups: Vec<VecDeque<usize>> = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (index, delivery) in deliveries.iter().enumerate() {
        let group = match &delivery.group {
            Some(group) => *by_name.entry(group).or_insert(groups.len()),
            None => groups.len(),
        };
        if group == groups.len() {
            groups.push(VecDeque::new());
        }
        groups[group].push_back(index);
    }
    groups
}

fn behind_a_failure(failed: &Error) -> Error {
    let error = not_tried()
        .because("an earlier record of its message group or shard failed")
        .remedy("It arrives again, in its order");
    // It succeeds as soon as the one before it does.
    if failed.is_transient() { error.transient() } else { error }
}

fn not_tried() -> Error {
    Error::new(ErrorKind::QueryFailed, "a record was not tried")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_fails_its_record_only() {
        let none: [u8; 0] = [];
        let index = none.len();
        let results: Vec<Result<u8, Error>> =
            vec![guarded(|| Ok(1)), guarded(|| Ok(none[index])), guarded(|| Ok(3))];
        assert_eq!((results[0].as_ref().ok(), results[2].as_ref().ok()), (Some(&1), Some(&3)));
        assert_eq!(results[1].as_ref().unwrap_err().kind(), ErrorKind::InternalPanic);
    }

    #[test]
    fn a_record_behind_a_transient_failure_is_transient() {
        let deadlock = Error::new(ErrorKind::QueryFailed, "x").transient();
        assert!(behind_a_failure(&deadlock).is_transient());
        assert!(!behind_a_failure(&Error::new(ErrorKind::QueryFailed, "x")).is_transient());
    }

    #[test]
    fn only_a_groups_records_wait_for_one_another() {
        let delivery = |group: Option<&str>| Delivery {
            id: String::new(),
            group: group.map(str::to_owned),
            messages: Ok(Vec::new()),
        };
        let deliveries = [Some("a"), None, Some("b"), Some("a"), None].map(delivery);
        assert_eq!(line_up(&deliveries), [vec![0, 3], vec![1], vec![2], vec![4]]);
    }
}
