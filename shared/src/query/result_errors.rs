//! The errors of results that a query did not promise, for every engine.

use super::Query;
use crate::error::{Error, ErrorKind};

/// The error of `result = "one"` with another number of rows.
pub(crate) fn not_one(query: &Query, none: bool) -> Error {
    Error::new(
        ErrorKind::ResultNotOne,
        format!("query {} did not return exactly one row", query.name),
    )
    .because(if none { "it returned none" } else { "it returned more than one" })
    .remedy("Correct its condition, aggregate, or use result = \"rows\"")
}

/// The error of `result = "check"` with `fail = true`.
pub(crate) fn has_violations(query: &Query, count: u64) -> Error {
    let what = query.description.as_deref().unwrap_or("its query selects what should not be there");
    Error::new(ErrorKind::CheckViolations, format!("check {} found {count} violations", query.name))
        .because(what)
        .remedy(
            "Run its query by hand to see them; without fail = true, the response shows the first ones",
        )
}
