//! Effectively once: a message's id goes into a ledger together with what the message causes.
//!
//! `sql/ledger.sql` makes the table. The entry is a plain INSERT, so that a message which comes again
//! violates the ledger's own constraint, and with it nothing else happens.

use std::time::Duration;

use futures_util::future::join;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::errors::outcome_unknown;
use super::execute::{Answer, Failure, Progress, Stage, Statement, begin};
use super::{Mode, Parameters, Query, ResultKind};

const CONSTRAINT: &str = "message_ledger_pkey";
const INSERT: &str = "INSERT INTO message_ledger (query, message_id) VALUES ($1, $2)";

/// The entry is made before the file's statement runs, which is evaluated for its one row: so a
/// message that comes again is told by the ledger, and not by a constraint of the statement's own.
const AFTER: &str = "\n) SELECT (SELECT count(*) FROM _)::text FROM message_ledger_entry";

/// What came of a message's statement.
#[derive(Clone, Debug)]
pub enum Delivered {
    /// It ran.
    Answered(Answer),
    /// It had run before, and nothing was changed.
    Duplicate,
}

/// Whether a write and its entry fit into one statement, which then needs no transaction around it,
/// and can be sent together with others. A result with a rule must be looked at before COMMIT; and
/// what runs unwrapped cannot be put together with anything.
pub(crate) fn fits_one_statement(query: &Query) -> bool {
    query.mode == Mode::Write && query.result == ResultKind::Rows
}

/// Runs a write and makes its entry, as one statement. The rows are only counted.
pub(crate) async fn in_one_statement(
    client: &Client,
    query: &Query,
    parameters: &Parameters,
    message_id: &str,
) -> Result<Delivered, Failure> {
    let count = query.params.len();
    let before = format!(
        "WITH message_ledger_entry AS (INSERT INTO message_ledger (query, message_id) VALUES (${}, ${}) RETURNING 1), _ AS (\n",
        count + 1,
        count + 2
    );
    let statement = Statement::between(query, &before, AFTER);
    let mut typed = parameters.typed();
    typed.push((&query.name, Type::TEXT));
    typed.push((&message_id, Type::TEXT));
    let rows = client.query_typed(&statement.text, &typed).await;
    match rows {
        Ok(rows) => {
            let count = rows.first().and_then(|row| row.try_get::<_, &str>(0).ok()?.parse().ok());
            Ok(Delivered::Answered(Answer::Affected(count.unwrap_or(0))))
        }
        Err(error) if is_duplicate(&error) => Ok(Delivered::Duplicate),
        // By itself it is a transaction: PostgreSQL may have committed it.
        Err(error) => Err(repeatable(statement.failed_write(&error, Stage::Committing))),
    }
}

/// Runs a write and makes its entry, in a transaction whose COMMIT is sent when all is well: three
/// round trips. `BEGIN` goes first and alone, for without it the entry would commit by itself.
pub(crate) async fn step_by_step(
    client: &Client,
    query: &Query,
    parameters: &Parameters,
    message_id: &str,
    statement_timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<Delivered, Failure> {
    let Progress { stage, violations } = progress;
    let statement = Statement::new(query);
    let failed =
        |error: &tokio_postgres::Error, stage| repeatable(statement.failed_write(error, stage));
    let begun = client.batch_execute(&begin(Mode::Write, statement_timeout)).await;
    begun.map_err(|error| failed(&error, Stage::Begun))?;
    *stage = Stage::Begun;
    let entry: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&query.name, Type::TEXT), (&message_id, Type::TEXT)];
    let entry = client.execute_typed(INSERT, &entry);
    let (entry, answer) = join(entry, statement.run(client, parameters, violations)).await;
    let failure = match (entry, answer) {
        (Ok(_), Ok(answer)) => {
            *stage = Stage::Committing;
            let committed = client.batch_execute("COMMIT").await;
            return match committed {
                Ok(()) => Ok(Delivered::Answered(answer)),
                Err(error) => Err(failed(&error, Stage::Committing)),
            };
        }
        (Err(error), _) if is_duplicate(&error) => None,
        (Err(error), _) => Some(failed(&error, Stage::Begun)),
        (Ok(_), Err(error)) => Some(error.or(|error| failed(&error, Stage::Begun))),
    };
    let usable = failure.as_ref().is_none_or(|failure| failure.usable);
    let usable = usable && client.batch_execute("ROLLBACK").await.is_ok();
    match failure {
        Some(failure) => Err(Failure { usable, ..failure }),
        None if usable => Ok(Delivered::Duplicate),
        None => Err(Failure { error: outcome_unknown(query, Stage::Begun), usable, repeat: true }),
    }
}

/// With an entry, what may have happened can be tried again: it does not happen twice.
fn repeatable(failure: Failure) -> Failure {
    Failure { repeat: failure.repeat || !failure.usable, ..failure }
}

fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|db| {
        db.code().code() == "23505"
            && db.constraint() == Some(CONSTRAINT)
            && db.table() == Some("message_ledger")
    })
}
