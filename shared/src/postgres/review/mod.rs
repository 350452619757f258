//! Reads a query file for what PostgreSQL accepts and nobody wants: statements that never answer, purges
//! that delete rows which are not due, and jobs that end too early or never.
//!
//! The rules look at a statement's tokens, not at its meaning. Each recognises a form that is wrong on
//! some table or at some moment, and says what to write instead.

mod address;
mod chunk;
mod condition;
mod endless;
mod shape;
#[cfg(test)]
mod tests;
mod uncounted;

use self::shape::{Statement, Write};
pub use self::uncounted::uncounted;
use crate::error::{Error, ErrorKind};
use crate::query::{Mode, Parameters, Query, Token, first_word, tree};

/// What is wrong with a query file, as far as its text says: each finding with a remedy. Empty for a file
/// in which nothing was found.
pub fn review(query: &Query) -> Vec<Error> {
    if let Err(error) = refuse(query) {
        return vec![error];
    }
    let tokens = tree(&query.sql);
    let Some(statement) = Statement::parse(&tokens) else { return Vec::new() };
    let mut found = Vec::new();
    if query.repeat.is_some() {
        found.extend(endless::check(query, &statement));
        found.extend(chunk::check_file(query, &tokens));
    }
    found.extend(undue(query, &tokens, &statement));
    found
}

/// The writes of a statement that can meet rows which are not due.
fn undue(query: &Query, tokens: &[Token], statement: &Statement<'_>) -> Vec<Error> {
    if query.mode == Mode::Read {
        return Vec::new();
    }
    let check = |write: &Write<'_>| {
        address::check(query, write, tokens).or_else(|| condition::check(query, write, statement))
    };
    statement.writes().iter().filter_map(check).collect()
}

/// Refuses a statement that a connection cannot take: after COPY, PostgreSQL sends rows or waits for them
/// in messages that are no part of an answer.
pub(crate) fn refuse(query: &Query) -> Result<(), Error> {
    if first_word(&query.sql).as_deref() != Some("copy") {
        return Ok(());
    }
    Err(invalid(query)
        .because("COPY moves its rows beside the answer, where no function reads or sends them")
        .remedy("Read with SELECT and write with INSERT; export-query writes the rows of a SELECT to S3 as CSV, JSON or Parquet"))
}

/// Refuses a step of a batch job that would never end, or end with rows left. Warns of one that can meet rows
/// which are not due.
pub(crate) fn refuse_step(query: &Query, parameters: &Parameters) -> Result<(), Error> {
    refuse(query)?;
    if query.repeat.is_none() {
        return Ok(());
    }
    let tokens = tree(&query.sql);
    if let Some(statement) = Statement::parse(&tokens) {
        if let Some(endless) = endless::check(query, &statement) {
            return Err(endless);
        }
        // Jobs that run already must not stop over it: whether the table has partitions is not known here.
        for finding in undue(query, &tokens, &statement) {
            tracing::warn!(
                query = query.name,
                finding = finding.to_string(),
                "a purge may delete too much"
            );
        }
    }
    chunk::check_values(query, &tokens, parameters)
}

fn invalid(query: &Query) -> Error {
    Error::new(ErrorKind::QueryInvalid, format!("query {} is not valid", query.name))
}
