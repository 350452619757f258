//! The crate's one error: a kind from a closed list, and a message for the reader of the log.
//!
//! A message says what failed, why, and what to do. It is built only from names that the
//! configuration, the query file or the server's own catalogue gave. The causes that libraries
//! report are not kept as `source()`: they quote parameter values and rows. A `source()` is a fact of this
//! crate's, such as [`credentials::Failure`](crate::credentials::Failure).

use std::fmt;
use std::sync::Arc;

use crate::words;

/// The kind of a failure, as the `errorType` of a failed invocation.
///
/// The list is a contract: alarms and retry rules match on these names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A variable of the function's environment is missing or wrong.
    ConfigInvalid,
    /// The function does not take an event of this shape.
    EventInvalid,
    /// No AWS credentials were found.
    CredentialsUnavailable,
    /// The credentials have expired and were not renewed.
    CredentialsExpired,
    /// The name does not resolve, or the connection was refused or reset.
    NetworkUnreachable,
    /// Nothing answered in time.
    NetworkTimeout,
    /// The server's certificate is not from a trusted root, or is for another name.
    TlsUntrusted,
    /// The database refused the login.
    AuthRejected,
    /// The server is starting, stopping or full.
    DatabaseUnavailable,
    /// No query file of that name.
    QueryNotFound,
    /// The query file, or the SQL in it, is wrong.
    QueryInvalid,
    /// A parameter is missing, unknown, or not of the type that the statement needs.
    QueryBadParameter,
    /// The database user, or the function, may not do this.
    QueryDenied,
    /// The statement ran longer than the invocation's time allows.
    QueryTimeout,
    /// The statement failed while it ran.
    QueryFailed,
    /// A write was sent and its answer was lost: it may or may not have happened.
    QueryOutcomeUnknown,
    /// Another run of the batch job is running.
    JobOverlap,
    /// The rows do not fit into a Lambda response.
    ResultTooLarge,
    /// The query promises one row, and returned none or several.
    ResultNotOne,
    /// A data check found violations.
    CheckViolations,
    /// S3 refused access to the object or its key of encryption.
    ExportDenied,
    /// An object of that key exists, and the event does not ask to overwrite it.
    ExportExists,
    /// The object was not uploaded in time.
    ExportTimeout,
    /// S3 was not reached, or was not able to answer.
    ExportUnavailable,
    /// S3 refused the object.
    ExportFailed,
    /// The answer to the last request of an upload was lost: the object may or may not exist.
    ExportOutcomeUnknown,
    /// A bug of the function: it panicked.
    InternalPanic,
    /// An `errorType` of your own function, such as `"Orders.Stale"`. This crate never uses it.
    Custom(&'static str),
}

impl ErrorKind {
    /// Every kind of this crate's own, in the order of docs/errors.md.
    pub const ALL: [Self; 27] = [
        Self::ConfigInvalid,
        Self::EventInvalid,
        Self::CredentialsUnavailable,
        Self::CredentialsExpired,
        Self::NetworkUnreachable,
        Self::NetworkTimeout,
        Self::TlsUntrusted,
        Self::AuthRejected,
        Self::DatabaseUnavailable,
        Self::QueryNotFound,
        Self::QueryInvalid,
        Self::QueryBadParameter,
        Self::QueryDenied,
        Self::QueryTimeout,
        Self::QueryFailed,
        Self::QueryOutcomeUnknown,
        Self::JobOverlap,
        Self::ResultTooLarge,
        Self::ResultNotOne,
        Self::CheckViolations,
        Self::ExportDenied,
        Self::ExportExists,
        Self::ExportTimeout,
        Self::ExportUnavailable,
        Self::ExportFailed,
        Self::ExportOutcomeUnknown,
        Self::InternalPanic,
    ];

    /// Whether a retry may succeed with nothing changed.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::CredentialsUnavailable
                | Self::CredentialsExpired
                | Self::NetworkUnreachable
                | Self::NetworkTimeout
                | Self::AuthRejected
                | Self::DatabaseUnavailable
                | Self::QueryTimeout
                | Self::QueryOutcomeUnknown
                | Self::JobOverlap
                | Self::ExportTimeout
                | Self::ExportUnavailable
                | Self::ExportOutcomeUnknown
        )
    }

    /// The stable name, such as `Auth.Rejected`.
    pub const fn error_type(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "Config.Invalid",
            Self::EventInvalid => "Event.Invalid",
            Self::CredentialsUnavailable => "Credentials.Unavailable",
            Self::CredentialsExpired => "Credentials.Expired",
            Self::NetworkUnreachable => "Network.Unreachable",
            Self::NetworkTimeout => "Network.Timeout",
            Self::TlsUntrusted => "Tls.Untrusted",
            Self::AuthRejected => "Auth.Rejected",
            Self::DatabaseUnavailable => "Database.Unavailable",
            Self::QueryNotFound => "Query.NotFound",
            Self::QueryInvalid => "Query.Invalid",
            Self::QueryBadParameter => "Query.BadParameter",
            Self::QueryDenied => "Query.Denied",
            Self::QueryTimeout => "Query.Timeout",
            Self::QueryFailed => "Query.Failed",
            Self::QueryOutcomeUnknown => "Query.OutcomeUnknown",
            Self::JobOverlap => "Job.Overlap",
            Self::ResultTooLarge => "Result.TooLarge",
            Self::ResultNotOne => "Result.NotOne",
            Self::CheckViolations => "Check.Violations",
            Self::ExportDenied => "Export.Denied",
            Self::ExportExists => "Export.Exists",
            Self::ExportTimeout => "Export.Timeout",
            Self::ExportUnavailable => "Export.Unavailable",
            Self::ExportFailed => "Export.Failed",
            Self::ExportOutcomeUnknown => "Export.OutcomeUnknown",
            Self::InternalPanic => "Internal.Panic",
            Self::Custom(error_type) => error_type,
        }
    }
}

/// A failure: what failed, why, and what to do about it.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    what: Box<str>,
    why: Option<Box<str>>,
    remedy: Option<Box<str>>,
    transient: bool,
    /// The fact that `why` is the text of, as a type.
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error that says what failed, as a phrase without a full stop.
    pub fn new(kind: ErrorKind, what: impl Into<String>) -> Self {
        let transient = kind.is_transient();
        let what = what.into().into();
        Self { kind, what, why: None, remedy: None, transient, source: None }
    }

    /// Adds why it failed, as a phrase without a full stop.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into().into());
        self
    }

    /// Adds why it failed, as a fact that code can match on: `source()` returns it, and its text is part of
    /// the message.
    #[must_use]
    pub fn caused_by(mut self, fact: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.why = Some(fact.to_string().into());
        self.source = Some(Arc::new(fact));
        self
    }

    /// Adds what to do next, as a sentence without its full stop.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into().into());
        self
    }

    /// Marks a failure that may succeed later, though its kind usually does not: a deadlock, say.
    #[must_use]
    pub fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    /// Whether a retry may succeed with nothing changed.
    pub fn is_transient(&self) -> bool {
        self.transient
    }

    /// Adds a fact to the reason, as a phrase without a full stop.
    #[must_use]
    pub fn also(mut self, fact: &str) -> Self {
        self.why =
            Some(self.why.map_or_else(|| fact.into(), |why| format!("{why}; {fact}").into()));
        self
    }

    /// The kind, for code that branches on it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

/// A source is compared by its text.
impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
            && (&self.what, &self.why, &self.remedy) == (&other.what, &other.why, &other.remedy)
            && self.transient == other.transient
    }
}

impl Eq for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = self.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        // A reason may end in a question.
        let stop = if why.ends_with('?') { "" } else { "." };
        let remedy = self.remedy.as_ref().map(|remedy| format!(" {remedy}.")).unwrap_or_default();
        words::write(f, format_args!("{}{why}{stop}{remedy}", self.what))
    }
}

/// The Lambda runtime and `unwrap` print errors with `{:?}`: make that readable too.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {self}", self.kind.error_type())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_what_failed_why_and_what_to_do() {
        let error = Error::new(ErrorKind::QueryNotFound, "there is no query \"x\"")
            .because("queries/x.sql does not exist")
            .remedy("Add the file");
        assert_eq!(
            error.to_string(),
            "there is no query \"x\": queries/x.sql does not exist. Add the file."
        );
        assert_eq!(format!("{error:?}"), format!("Query.NotFound: {error}"));
    }

    #[test]
    fn every_kind_is_documented() {
        let table = include_str!("../../docs/errors.md");
        let reference = include_str!("../../docs/reference.md");
        for kind in ErrorKind::ALL {
            let row =
                table.lines().find(|l| l.starts_with(&format!("| `{}` |", kind.error_type())));
            let cells = row.map_or(0, |row| row.split('|').filter(|cell| cell.len() > 5).count());
            assert_eq!(cells, 3, "{kind:?} has cause and remedy in docs/errors.md");
            let listed = reference.contains(&format!("`{}`", kind.error_type()));
            assert!(listed, "{kind:?} is in the table of docs/reference.md");
        }
    }
}
