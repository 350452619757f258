//! A batch's records to statements, and the statements' outcomes to the records' fates.
//!
//! A record fails alone. Records of a standard queue run together; those of a FIFO queue's group
//! run one after another, and after a failure the group's rest is not tried, so that its order
//! holds when they all come again.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rds_iam::lambda::Invocation;
use rds_iam::query::{Delivered, Parameters, Query};
use rds_iam::session::{Answer, Job};
use rds_iam::{Error, ErrorKind};

use crate::event::Delivery;
use crate::handler::EventQuery;
use crate::message::Message;

/// What became of a record.
pub(crate) type Fate = Result<(), Error>;

/// A message's statement, ready to run.
struct Prepared {
    query: Arc<Query>,
    parameters: Parameters,
    message_id: String,
}

/// Query files that were read in this invocation.
type Queries = HashMap<Option<String>, Result<Arc<Query>, Error>>;

impl EventQuery {
    /// Runs every record's statements. Fails as a whole if there is no connection for the first of
    /// them: then nothing was tried.
    pub(crate) async fn deliver(
        &self,
        deliveries: Vec<Delivery>,
        invocation: &mut Invocation,
    ) -> Result<Vec<Fate>, Error> {
        let mut queries = Queries::new();
        let mut lines = line_up(&deliveries);
        let mut ids = Vec::with_capacity(deliveries.len());
        let mut prepared = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            ids.push(delivery.id);
            prepared.push(delivery.messages.and_then(|messages| {
                messages.iter().map(|message| self.prepare(message, &mut queries)).collect()
            }));
        }
        invocation.records.total = ids.len();
        let mut fates: Vec<Option<Fate>> = ids.iter().map(|_| None).collect();
        for round in 0.. {
            // The first of each line, together.
            let wave: Vec<(usize, usize)> = lines
                .iter_mut()
                .enumerate()
                .filter_map(|(line, waiting)| Some((line, waiting.pop_front()?)))
                .collect();
            if wave.is_empty() {
                break;
            }
            let indexes: Vec<usize> = wave.iter().map(|(_, index)| *index).collect();
            match self.run_wave(&indexes, &prepared, &mut fates, invocation).await {
                Ok(()) => {}
                Err(error) if round == 0 => return Err(error),
                Err(error) => {
                    for index in indexes {
                        fates[index].get_or_insert_with(|| Err(error.clone()));
                    }
                }
            }
            for (line, index) in wave {
                let Some(Err(error)) = &fates[index] else { continue };
                note_failure(&ids[index], error, invocation);
                for behind in lines[line].drain(..) {
                    let error = Err(behind_a_failure());
                    invocation.records.count(&error);
                    fates[behind] = Some(error);
                }
            }
        }
        Ok(fates.into_iter().map(|fate| fate.unwrap_or_else(|| Err(behind_a_failure()))).collect())
    }

    /// Runs the statements of these records, and notes their fates. Fails if there is no connection.
    async fn run_wave(
        &self,
        indexes: &[usize],
        prepared: &[Result<Vec<Prepared>, Error>],
        fates: &mut [Option<Fate>],
        invocation: &mut Invocation,
    ) -> Result<(), Error> {
        let mut jobs = Vec::new();
        let mut owners = Vec::new();
        for index in indexes {
            match &prepared[*index] {
                Err(error) => fates[*index] = Some(Err(error.clone())),
                Ok(all) => {
                    // Until one of its statements fails; of none, there is nothing to fail.
                    fates[*index] = Some(Ok(()));
                    jobs.extend(all.iter().map(|one| Job {
                        query: &one.query,
                        parameters: &one.parameters,
                        message_id: &one.message_id,
                        wants_answer: false,
                    }));
                    owners.extend(all.iter().map(|_| *index));
                }
            }
        }
        if jobs.is_empty() {
            return Ok(());
        }
        invocation.query = Some(jobs[0].query.name.clone());
        let outcomes = match self
            .session
            .run_batch(&jobs, invocation.deadline, &mut invocation.report)
            .await
        {
            Ok(outcomes) => outcomes,
            Err(error) => {
                for owner in owners {
                    fates[owner] = None;
                }
                return Err(error);
            }
        };
        for (owner, outcome) in owners.into_iter().zip(outcomes) {
            match outcome {
                Ok(Delivered::Duplicate) => invocation.records.duplicates += 1,
                Ok(Delivered::Answered(Answer::Metrics(metrics))) => {
                    invocation.metrics.push(metrics);
                }
                Ok(Delivered::Answered(_)) => {}
                Err(error) => fates[owner] = Some(Err(error)),
            }
        }
        Ok(())
    }

    /// A message's statement. A bug that one message meets is that message's failure only.
    fn prepare(&self, message: &Message, queries: &mut Queries) -> Result<Prepared, Error> {
        guarded(|| {
            let query = queries
                .entry(message.query.clone())
                .or_insert_with(|| self.load(message.query.as_deref()).map(Arc::new))
                .clone()?;
            let parameters = Parameters::bind(&query, &message.values(&query))?;
            Ok(Prepared { query, parameters, message_id: message.id.clone() })
        })
    }
}

/// Makes a panic the error of what was being done.
fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::InternalPanic, "the function panicked at a record")
            .because("this is a bug")
            .remedy("Report it with the log line that names the place"))
    })
}

/// Which records wait for which: those of a FIFO queue's group for one another, others for none.
fn line_up(deliveries: &[Delivery]) -> Vec<VecDeque<usize>> {
    let mut lines: Vec<VecDeque<usize>> = Vec::new();
    let mut of_group: HashMap<&str, usize> = HashMap::new();
    for (index, delivery) in deliveries.iter().enumerate() {
        let line = match &delivery.group {
            Some(group) => *of_group.entry(group).or_insert(lines.len()),
            None => lines.len(),
        };
        if line == lines.len() {
            lines.push(VecDeque::new());
        }
        lines[line].push_back(index);
    }
    lines
}

fn behind_a_failure() -> Error {
    Error::new(ErrorKind::QueryFailed, "a record was not tried")
        .because("an earlier one of its message group failed")
        .remedy("It comes again, in its order")
}

/// A line for each record that failed, in the words that tell what to do: a passing failure mends
/// itself, a permanent one ends in the dead-letter queue.
fn note_failure(id: &str, error: &Error, invocation: &mut Invocation) {
    invocation.records.count(&Err(error.clone()));
    tracing::warn!(
        recordId = id,
        errorType = error.kind().error_type(),
        errorMessage = error.to_string(),
        failure = if error.kind().is_passing() { "passing" } else { "permanent" },
        "record failed"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_its_records_failure_only() {
        let none: [u8; 0] = [];
        let index = none.len();
        let fates: Vec<Result<u8, Error>> =
            vec![guarded(|| Ok(1)), guarded(|| Ok(none[index])), guarded(|| Ok(3))];
        assert_eq!((fates[0].as_ref().ok(), fates[2].as_ref().ok()), (Some(&1), Some(&3)));
        assert_eq!(fates[1].as_ref().unwrap_err().kind(), ErrorKind::InternalPanic);
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
