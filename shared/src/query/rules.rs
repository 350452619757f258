//! The rules of each kind of result, and the error of a lost answer, for every engine.

use super::{Answer, Metrics, Query, ResultKind, Rows, has_violations, not_one};
use crate::error::{Error, ErrorKind};

/// The progress of a write, which decides what a lost answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// `BEGIN` and the statement were sent. If `BEGIN` fails, the statement autocommits.
    #[cfg(feature = "postgres")]
    Sent,
    /// The transaction is open: without `COMMIT`, the server rolls it back.
    Begun,
    /// `COMMIT` was sent.
    Committing,
}

/// The answer that these rows are, by the result's own rules.
pub(crate) fn answer(query: &Query, rows: Rows, violations: Option<u64>) -> Result<Answer, Error> {
    match &query.result {
        ResultKind::Rows | ResultKind::Affected => Ok(Answer::Rows(rows)),
        ResultKind::One => {
            let none = rows.is_empty();
            rows.into_one().map(Answer::One).ok_or_else(|| not_one(query, none))
        }
        ResultKind::Check { fail, .. } => match violations.unwrap_or(0) {
            violations @ 1.. if *fail => Err(has_violations(query, violations)),
            violations => Ok(Answer::Check { violations, rows }),
        },
        ResultKind::Metric(options) => {
            Metrics::from_rows(query, options, &rows).map(Answer::Metrics)
        }
    }
}

/// The error of a write whose answer was lost, or did not come in time, at this stage.
pub(crate) fn outcome_unknown(query: &Query, stage: Stage) -> Error {
    let name = &query.name;
    Error::new(
        ErrorKind::QueryOutcomeUnknown,
        format!("it is unknown whether query {name} has written"),
    )
    .because(match stage {
        #[cfg(feature = "postgres")]
        Stage::Sent => "it was sent, and no answer came back",
        Stage::Begun => "the connection broke while it ran: COMMIT was not sent, so the database should have rolled it back",
        Stage::Committing => "COMMIT was sent, and no answer came back",
    })
    .remedy("Look in the database before you run it again, or make it repeatable (INSERT … ON CONFLICT DO NOTHING, or INSERT IGNORE)")
}
