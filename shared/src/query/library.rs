//! The query files that were deployed with a function, and the one that runs by default.

use std::path::{Path, PathBuf};

use super::{Mode, Query};
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

    /// Reads the query that is named, or else the default one. Reads the file each time: it is small,
    /// and a file that was changed during development takes effect at once.
    ///
    /// # Errors
    /// [`EventInvalid`](ErrorKind::EventInvalid) if there is neither a name nor a default; otherwise
    /// as [`Query::load`].
    pub fn load(&self, name: Option<&str>) -> Result<Query, Error> {
        let (folder, name) = self.locate(name)?;
        Query::load(folder, name)
    }

    /// Reads the query that is named, or else the default one, if the chooser may choose it.
    ///
    /// # Errors
    /// [`QueryDenied`](ErrorKind::QueryDenied) if it may not; otherwise as [`Library::load`].
    pub fn choose(&self, name: Option<&str>, chooser: Chooser) -> Result<Query, Error> {
        let query = self.load(name)?;
        self.allow(name, &query, chooser)?;
        Ok(query)
    }

    /// The folder, and the name of the query that is named, or else of the default one.
    pub(crate) fn locate<'a>(
        &'a self,
        name: Option<&'a str>,
    ) -> Result<(&'a Path, &'a str), Error> {
        let name = name.or(self.default.as_deref()).ok_or_else(|| {
            Error::new(ErrorKind::EventInvalid, "the event names no query, and QUERY is not set")
                .remedy("Name a query in the event, or set QUERY on the function")
        })?;
        Ok((&self.folder, name))
    }

    /// Whether the chooser may choose the query: anybody may choose the default one.
    pub(crate) fn allow(
        &self,
        name: Option<&str>,
        query: &Query,
        chooser: Chooser,
    ) -> Result<(), Error> {
        let is_default = name.is_none() || name == self.default.as_deref();
        let is_open = query.selectable || chooser == Chooser::Invoker && query.mode == Mode::Read;
        if is_default || is_open { Ok(()) } else { Err(chooser.refuse(query)) }
    }
}

/// Who names a query in an event. Without a limit, each of them would choose among all files of the package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chooser {
    /// A caller who may invoke the function: chooses any read, and a write that is `selectable`.
    Invoker,
    /// The sender of a message: chooses a query that is `selectable`.
    Message,
}

impl Chooser {
    fn refuse(self, query: &Query) -> Error {
        let (by, because, remedy) = match self {
            Self::Invoker => (
                "an event",
                "it writes, and its front matter does not say selectable = true",
                "Set QUERY to it, or let events choose this query",
            ),
            Self::Message => (
                "a message",
                "its front matter does not say selectable = true",
                "Send the message without the attribute \"query\", or let senders choose this query",
            ),
        };
        let what = format!("query {} does not run for {by} that names it", query.name);
        Error::new(ErrorKind::QueryDenied, what).because(because).remedy(remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chooser_has_its_limit_and_the_default_has_none() {
        let folder = tempfile::tempdir().unwrap();
        for (name, front) in [
            ("read", ""),
            ("write", "mode = \"write\""),
            ("default", "mode = \"write\""),
            ("selectable", "mode = \"write\"\nselectable = true"),
        ] {
            let text = format!("/*+++\n{front}\n+++*/ SELECT 1");
            std::fs::write(folder.path().join(format!("{name}.sql")), text).unwrap();
        }
        let library = Library::new(folder.path(), Some("default".into()));
        for (name, invoker, message) in [
            (None, true, true),
            (Some("default"), true, true),
            (Some("selectable"), true, true),
            (Some("read"), true, false),
            (Some("write"), false, false),
        ] {
            for (chooser, may) in [(Chooser::Invoker, invoker), (Chooser::Message, message)] {
                match library.choose(name, chooser) {
                    Ok(_) => assert!(may, "{name:?} {chooser:?}"),
                    Err(error) => {
                        assert_eq!((error.kind(), may), (ErrorKind::QueryDenied, false), "{error}");
                    }
                }
            }
        }
    }

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
