//! The query files that were deployed with a function, and the one that runs by default.

use std::path::PathBuf;

use super::Query;
use crate::error::{Error, ErrorKind};

/// A folder of query files (`QUERIES_DIR`), and the name of the default query (`QUERY`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    folder: PathBuf,
    default: Option<String>,
}

impl Library {
    /// The files in `folder`. `default` is the query that runs when an event names none.
    pub fn new(folder: impl Into<PathBuf>, default: Option<String>) -> Self {
        Self { folder: folder.into(), default }
    }

    /// Whether this is the default query's name.
    pub fn is_default(&self, name: &str) -> bool {
        self.default.as_deref() == Some(name)
    }

    /// Reads the query that is named, or else the default one. Reads the file each time: it is small,
    /// and a file that was changed during development takes effect at once.
    ///
    /// # Errors
    /// [`EventInvalid`](ErrorKind::EventInvalid) if there is neither a name nor a default; otherwise
    /// as [`Query::load`].
    pub fn load(&self, name: Option<&str>) -> Result<Query, Error> {
        let name = name.or(self.default.as_deref()).ok_or_else(|| {
            Error::new(ErrorKind::EventInvalid, "the event names no query, and QUERY is not set")
                .remedy("Name a query in the event, or set QUERY on the function")
        })?;
        Query::load(&self.folder, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_wins_over_the_default() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            std::fs::write(folder.path().join(format!("{name}.sql")), "SELECT 1").unwrap();
        }
        let library = Library::new(folder.path(), Some("a".into()));
        assert_eq!(library.load(None).unwrap().name, "a");
        assert_eq!(library.load(Some("b")).unwrap().name, "b");
        let error = Library::new(folder.path(), None).load(None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::EventInvalid);
    }
}
