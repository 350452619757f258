//! Query files: front matter, parameters, and rows as raw JSON. Nothing here knows a database engine.
//!
//! A query is one SQL statement in `NAME.sql`, with TOML front matter in its leading comment. The
//! statement goes to the server as written: it is never edited here, at most wrapped.

mod answer;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod bounds;
mod dates;
mod declared;
mod front_matter;
#[cfg(test)]
mod given;
mod lexer;
mod library;
mod markers;
mod metrics;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod outcome;
mod parameters;
mod pick;
mod repeat;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "neptune"))]
mod result_errors;
mod rows;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod rules;
mod source;
mod text;

use std::path::Path;
use std::time::Duration;

pub use answer::{Answer, Delivered, SHOWN_VIOLATIONS};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use bounds::{
    NO_TIME_LEFT, OWN_TIMEOUT_GRACE, answer_bound, cancelled, ended_by_a_limit, no_answer_in_time,
    server_timeout, timed_out,
};
#[cfg(feature = "lambda")]
pub(crate) use dates::now;
pub use dates::{DATE_FORMS, date_at, time_of};
pub use declared::{Mode, Param, ParamType, ResultKind};
#[cfg(feature = "postgres")]
pub(crate) use lexer::{extra_parenthesis, tokens};
pub use library::{Chooser, Library};
#[cfg(feature = "postgres")]
pub(crate) use markers::line_of;
pub use metrics::{MetricOptions, Metrics};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use outcome::Failure;
pub use parameters::Parameters;
#[cfg(feature = "mysql")]
pub(crate) use parameters::{Kind, Value};
#[cfg(feature = "neptune")]
pub(crate) use pick::{pick, unusable};
pub use repeat::{Adapt, Repeat};
#[cfg(any(feature = "postgres", feature = "mysql", feature = "neptune"))]
pub(crate) use result_errors::{has_violations, not_one};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use rows::too_large;
pub use rows::{MAX_RESPONSE_BYTES, Row, Rows};
#[cfg(any(feature = "postgres", feature = "mysql"))]
pub(crate) use rules::{Stage, answer, outcome_unknown};
pub use source::{Field, Source, resolve};

use crate::error::{Error, ErrorKind};

/// Whether a query file can have this name: `[A-Za-z0-9_-]+`.
pub fn is_query_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// A query file: a statement, and what its front matter says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Query {
    /// The file's name without `.sql`.
    pub name: String,
    /// The purpose of the query, for people.
    pub description: Option<String>,
    /// Its parameters, in the order of `$1…$n`.
    pub params: Vec<Param>,
    /// Whether it may write.
    pub mode: Mode,
    /// The form of its answer.
    pub result: ResultKind,
    /// Whether a message may choose it by name.
    pub selectable: bool,
    /// Where in a message its idempotency key is; without it, the message's own id.
    pub id: Option<Source>,
    /// Where `export-query` writes its rows: a key in the function's prefix, with `{date}` and the like.
    pub to: Option<String>,
    /// How long its statement may run, if less than the invocation allows.
    pub timeout: Option<Duration>,
    /// How `batch-job` repeats the statement; other functions run it once.
    pub repeat: Option<Repeat>,
    /// The file's text, as PostgreSQL gets it: as written, except for one `;` at the end.
    pub sql: String,
}

impl Query {
    /// Reads `NAME.sql` in a folder.
    ///
    /// # Errors
    /// [`QueryNotFound`](ErrorKind::QueryNotFound) if there is no such file, or no file can have that
    /// name; [`QueryInvalid`](ErrorKind::QueryInvalid) if it cannot be read or its front matter is
    /// wrong.
    pub fn load(folder: &Path, name: &str) -> Result<Self, Error> {
        if !is_query_name(name) {
            return Err(Error::new(
                ErrorKind::QueryNotFound,
                "a query's name may hold only letters, digits, _ and -",
            ));
        }
        let path = folder.join(format!("{name}.sql"));
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let (kind, why) = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    (ErrorKind::QueryNotFound, format!("{} does not exist", path.display()))
                }
                _ => (ErrorKind::QueryInvalid, format!("{} cannot be read ({error})", path.display())),
            };
            Error::new(kind, format!("there is no query {name}"))
                .because(why)
                .remedy("Add the file and deploy it with the function, or set QUERIES_DIR to the folder of query files")
        })?;
        Self::parse(name, &text)
    }

    /// Takes a query from its text. Without front matter it is a read with no parameters.
    ///
    /// # Errors
    /// [`QueryInvalid`](ErrorKind::QueryInvalid) if the front matter is wrong or there is no statement.
    pub fn parse(name: &str, text: &str) -> Result<Self, Error> {
        let invalid = |why: String| {
            Error::new(ErrorKind::QueryInvalid, format!("query {name}.sql is wrong"))
                .because(why)
                .remedy("Correct the file's front matter; docs/queries.md has its keys")
        };
        let sql = text.strip_prefix('\u{feff}').unwrap_or(text);
        if sql.contains('\0') {
            return Err(invalid("it holds a NUL character".into()));
        }
        let front = front_matter::parse(sql).map_err(invalid)?;
        if markers::is_empty(sql) {
            return Err(invalid("it holds no statement".into()));
        }
        for param in &front.params {
            text::check_default(param).map_err(invalid)?;
        }
        Ok(Self {
            name: name.to_owned(),
            description: front.description,
            params: front.params,
            mode: front.mode,
            result: front.result,
            timeout: front.timeout,
            repeat: front.repeat,
            selectable: front.selectable,
            id: front.id,
            to: front.to,
            sql: without_last_semicolon(sql),
        })
    }
}

/// Editors and tools end a statement with `;`, which the wrapping of a statement cannot hold. A space
/// takes its place, so that the server's positions stay those of the file.
fn without_last_semicolon(sql: &str) -> String {
    let mut sql = sql.to_owned();
    if let Some(at) = lexer::last_semicolon(&sql) {
        sql.replace_range(at..=at, " ");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_paths() {
        assert!(is_query_name("daily_report-2"));
        for name in ["", "../x", "a/b", "a.sql", "a b", "é", "a\0"] {
            assert!(!is_query_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_missing_file_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let error = Query::load(folder.path(), "nothing").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QueryNotFound);
        assert!(error.to_string().contains("nothing.sql"), "{error}");
    }

    #[test]
    fn the_statement_is_kept_as_written() {
        let text = "/*+++\nmode = \"write\"\n+++*/\nINSERT INTO t VALUES ($1) -- it's\n";
        let query = Query::parse("q", text).unwrap();
        assert_eq!((query.mode, query.sql.as_str()), (Mode::Write, text));
    }

    #[test]
    fn one_semicolon_at_the_end_is_removed() {
        let sql = |text: &str| Query::parse("q", text).unwrap().sql;
        assert_eq!(sql("SELECT 1; -- done\n"), "SELECT 1  -- done\n");
        assert_eq!(sql("SELECT 1;;"), "SELECT 1; ");
        assert_eq!(sql("SELECT ';'"), "SELECT ';'");
    }

    #[test]
    fn a_file_without_a_statement_is_invalid() {
        for text in ["", " \n", "/*+++\n+++*/\n", "-- only a comment", "/*+++\n+++*/ ;"] {
            let error = Query::parse("q", text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryInvalid);
            assert!(error.to_string().contains("no statement"), "{error}");
        }
    }
}
