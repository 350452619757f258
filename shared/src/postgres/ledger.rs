//! Effectively once: a message's id goes into a ledger in the transaction of what the message causes.
//!
//! `sql/ledger.sql` makes the table. The entry is a plain INSERT, so that a message which arrives
//! again violates the ledger's own constraint, and nothing else happens.

use std::time::Duration;

use futures_util::future::{join, join3};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::types::Type;

use super::begin::Transaction;
use super::execute::{Statement, TRANSACTION_TIMEOUT};
use super::outcome::{Failure, NoAnswer, Progress, Stage};
use super::read_only::refuses_writes;
use super::statement_error::{condition, is_raised, names_an_object, own_words};
use super::{Connection, Leaves, text};
use crate::error::{Error, ErrorKind};
use crate::query::{Answer, Delivered, Mode, Parameters, Query, ResultKind, outcome_unknown};

const CONSTRAINT: &str = "message_ledger_pkey";
const INSERT: &str = "INSERT INTO message_ledger (query, message_id) VALUES ($1, $2)";

/// The file's statement comes first, so that it sees no name of ours.
const BEFORE: &str = "WITH rds_iam_rows AS (\n";

/// Whether a write and its entry fit into one statement, which then needs no transaction around it
/// and can be sent together with others. A result with a rule must be checked before COMMIT, and a
/// statement that runs unwrapped cannot be combined with anything.
pub(crate) fn fits_one_statement(query: &Query) -> bool {
    query.mode == Mode::Write && query.result == ResultKind::Rows
}

/// The CTE that makes the entry, behind the file's statement. It is made before that runs, which is evaluated for the
/// entry's one row: so the ledger reports a message that arrives again, and not a constraint of the
/// statement's own.
///
/// The entry's values are literals: as parameters they would have numbers, and a file that uses a
/// number beyond its own would store them. In hexadecimal, no value can end the literal.
fn entry(query: &Query, message_id: &str) -> String {
    let literal = |text: &str| {
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        format!("pg_catalog.convert_from(pg_catalog.decode('{hex}', 'hex'), 'UTF8')")
    };
    let (query, message_id) = (literal(&query.name), literal(message_id));
    format!(
        "\n), rds_iam_entry AS (INSERT INTO message_ledger (query, message_id) \
         VALUES ({query}, {message_id}) RETURNING 1) \
         SELECT (SELECT pg_catalog.count(*) FROM rds_iam_rows)::text FROM rds_iam_entry"
    )
}

/// Runs a write and makes its entry, as one statement. The rows are only counted.
///
/// The statement is atomic by itself, so `COMMIT` is sent with it: nothing has to be checked in
/// between. The transaction only limits the SET LOCALs; behind RDS Proxy there are none, and no transaction.
pub(crate) async fn in_one_statement(
    connection: &Connection,
    query: &Query,
    parameters: &Parameters,
    message_id: &str,
    statement_timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<Delivered, Failure> {
    let (client, leaves) = (&connection.client, Leaves::of(query));
    let statement = Statement::between(query, BEFORE, &entry(query, message_id));
    let statement = statement.within(connection.limits.limit(statement_timeout));
    let texts = text::texts(parameters);
    let typed = text::typed(&texts);
    progress.stage = Stage::Committing;
    let rows = client.query_typed(&statement.text, &typed);
    let rows = match statement_timeout {
        Some(_) => {
            let begun = connection.begin(Transaction::Write, statement_timeout);
            let commit = connection.end("COMMIT", leaves);
            // Polled in this order, and each queues its message when first polled.
            let (_, rows, committed) = join3(begun, rows, commit).await;
            rows.and_then(|rows| committed.map(|()| rows))
        }
        None => {
            connection.sends_release(leaves);
            rows.await
        }
    };
    match rows {
        Ok(rows) => {
            let count = rows.first().and_then(|row| row.try_get::<_, &str>(0).ok()?.parse().ok());
            Ok(Delivered::Answered(Answer::Affected(count.unwrap_or(0))))
        }
        Err(error) if is_duplicate(&error) => Ok(Delivered::Duplicate),
        Err(error) if refuses_writes(&error) => Err(connection.refused_write(query).await),
        Err(error) => Err(failed(&statement, Whose::Either, &error, Stage::Committing)),
    }
}

/// Which statement an error may be of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Entry,
    File,
    /// One statement holds both.
    Either,
}

/// Runs a write and makes its entry, in a transaction whose COMMIT is sent when both succeeded: three
/// round trips. `BEGIN` is sent first and alone: without it, the entry would be committed alone.
pub(crate) async fn step_by_step(
    connection: &Connection,
    query: &Query,
    parameters: &Parameters,
    message_id: &str,
    statement_timeout: Option<Duration>,
    progress: &mut Progress,
) -> Result<Delivered, Failure> {
    let Progress { stage, violations } = progress;
    let (client, leaves) = (&connection.client, Leaves::of(query));
    let statement = Statement::new(query).within(connection.limits.limit(statement_timeout));
    let failed = |error: &_, whose, stage| failed(&statement, whose, error, stage);
    let begun = connection.begin(Transaction::Write, statement_timeout).await;
    begun.map_err(|error| failed(&error, Whose::File, Stage::Begun))?;
    *stage = Stage::Begun;
    let entry: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 2] =
        [(&query.name, Type::TEXT), (&message_id, Type::TEXT)];
    let entry = client.execute_typed(INSERT, &entry);
    let (entry, answer) = join(entry, statement.run(client, parameters, violations)).await;
    let failure = match (entry, answer) {
        (Ok(_), Ok(answer)) => {
            *stage = Stage::Committing;
            let committed = connection.end("COMMIT", leaves).await;
            return match committed {
                Ok(()) => Ok(Delivered::Answered(answer)),
                Err(error) => Err(failed(&error, Whose::File, Stage::Committing)),
            };
        }
        (Err(error), _) if is_duplicate(&error) => None,
        (Err(error), _) | (Ok(_), Err(NoAnswer::Postgres(error))) if refuses_writes(&error) => {
            Some(connection.refused_write(query).await)
        }
        (Err(error), _) => Some(failed(&error, Whose::Entry, Stage::Begun)),
        (Ok(_), Err(error)) => Some(error.or(|error| failed(&error, Whose::File, Stage::Begun))),
    };
    let usable = failure.as_ref().is_none_or(|failure| failure.usable);
    let usable = usable && connection.end("ROLLBACK", leaves).await.is_ok();
    match failure {
        Some(failure) => Err(Failure { usable, ..failure }),
        None if usable => Ok(Delivered::Duplicate),
        None => Err(Failure { error: outcome_unknown(query, Stage::Begun), usable, repeat: true }),
    }
}

/// With an entry, a write that may have happened can run again: it does not happen twice.
fn failed(
    statement: &Statement<'_>,
    whose: Whose,
    error: &tokio_postgres::Error,
    stage: Stage,
) -> Failure {
    let failure = statement.failed_write(error, stage);
    let code = error.as_db_error().map(|db| db.code().code());
    let again = !failure.usable && code != Some(TRANSACTION_TIMEOUT);
    let error = ledger_error(statement, whose, error).unwrap_or(failure.error);
    Failure { error, repeat: failure.repeat || again, ..failure }
}

/// The error of a ledger that is missing, or that the user may not write to. The server's message is
/// compared and not passed on: a statement's own error can hold a value that looks like the table's name.
fn ledger_error(
    statement: &Statement<'_>,
    whose: Whose,
    error: &tokio_postgres::Error,
) -> Option<Error> {
    let db = error.as_db_error().filter(|_| whose != Whose::File)?;
    let (code, query) = (db.code().code(), statement.query);
    // In one statement, the entry stands behind the file's text.
    let entry = match whose {
        Whose::Either => statement.prefix + query.sql.chars().count(),
        _ => 0,
    };
    let in_the_entry = match db.position() {
        Some(ErrorPosition::Original(at)) => *at as usize > entry,
        _ => false,
    };
    let names_it = db.message().contains("message_ledger");
    let why = match code {
        "42501" if names_it && own_words(db).is_some() && names_an_object(db) => {
            "the database user may not INSERT into it"
        }
        _ if code.starts_with("42") && names_it && in_the_entry => {
            "the table is missing, or is not the one that sql/ledger.sql makes"
        }
        _ => return None,
    };
    let what = format!("query {} could not write its entry into message_ledger", query.name);
    let why = format!("{why} ({})", condition(code));
    Some(Error::new(ErrorKind::QueryDenied, what).because(why).remedy(
        "Run sql/ledger.sql in this database as an administrator, and grant INSERT on the table to the function's user",
    ))
}

fn is_duplicate(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|db| {
        !is_raised(db)
            && db.code().code() == "23505"
            && db.constraint() == Some(CONSTRAINT)
            && db.table() == Some("message_ledger")
    })
}
