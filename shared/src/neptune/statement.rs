//! A query file of Neptune: `NAME.cypher` or `NAME.rq`.

use std::path::Path;

use super::Language;
use super::clauses::writing_clause;
use super::tokens::{Kind, tokens};
use crate::error::{Error, ErrorKind};
use crate::query::{Chooser, Library, Mode, Query, ResultKind, is_query_name};

/// A query file: the front matter, and the statement in its language.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Statement {
    /// Name, parameters, mode and result. Its `sql` is the statement.
    pub query: Query,
    /// The language of the statement.
    pub language: Language,
}

impl Statement {
    /// Reads the statement of a library that is named, or else the default one, if the chooser may choose it.
    ///
    /// # Errors
    /// As [`Library::choose`] and [`Statement::load`].
    pub fn choose(library: &Library, name: Option<&str>, chooser: Chooser) -> Result<Self, Error> {
        let (folder, file) = library.locate(name)?;
        let statement = Self::load(folder, file)?;
        library.allow(name, &statement.query, chooser)?;
        Ok(statement)
    }

    /// Reads `NAME.cypher` or `NAME.rq` in a folder.
    ///
    /// # Errors
    /// As [`Query::load`]; and [`QueryInvalid`](ErrorKind::QueryInvalid) if both exist.
    pub fn load(folder: &Path, name: &str) -> Result<Self, Error> {
        if !is_query_name(name) {
            let what = "a query's name may hold only letters, digits, _ and -";
            return Err(Error::new(ErrorKind::QueryNotFound, what));
        }
        let mut found = None;
        for language in Language::ALL {
            let path = folder.join(format!("{name}.{}", language.ending()));
            match std::fs::read_to_string(&path) {
                Ok(_) if found.is_some() => {
                    return Err(invalid(name, "there is a .cypher and a .rq of this name".into()));
                }
                Ok(text) => found = Some((language, text)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let why = format!("{} cannot be read ({error})", path.display());
                    return Err(invalid(name, why));
                }
            }
        }
        let (language, text) = found.ok_or_else(|| {
            let why = format!("{} has no {name}.cypher and no {name}.rq", folder.display());
            Error::new(ErrorKind::QueryNotFound, format!("there is no query {name}"))
                .because(why)
                .remedy("Add the file and deploy it with the function, or set QUERIES_DIR to the folder of query files")
        })?;
        Self::parse(name, language, &text)
    }

    /// Takes a statement from its text.
    ///
    /// # Errors
    /// [`QueryInvalid`](ErrorKind::QueryInvalid) if the front matter is wrong, there is no statement, or
    /// the statement does not fit it.
    pub fn parse(name: &str, language: Language, text: &str) -> Result<Self, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let front = match language {
            Language::Cypher => text.to_owned(),
            Language::Sparql => with_block_comment(text).map_err(|why| invalid(name, why))?,
        };
        let mut query = Query::parse(name, &front)?;
        text.clone_into(&mut query.sql);
        let statement = Self { query, language };
        statement.check().map_err(|why| invalid(name, why))?;
        Ok(statement)
    }

    fn check(&self) -> Result<(), String> {
        if self.query.result == ResultKind::Affected {
            return Err("Neptune tells no number of rows: result = \"affected\" is for SQL".into());
        }
        if self.query.id.is_some() {
            return Err(
                "Neptune has no ledger: make the write idempotent, with MERGE for example".into()
            );
        }
        if self.query.repeat.is_some() {
            return Err("repeat is for batch-job, which runs SQL".into());
        }
        let tokens = tokens(&self.query.sql, self.language);
        let used = tokens.iter().filter(|token| token.kind == Kind::Parameter);
        if let Some(unknown) =
            used.clone().find(|token| self.query.params.iter().all(|p| p.name != token.text))
        {
            return Err(format!(
                "it uses ${}, which its front matter does not declare",
                unknown.text
            ));
        }
        let unused = |name: &str| !used.clone().any(|token| token.text == name);
        if let Some(unused) = self.query.params.iter().find(|param| unused(&param.name)) {
            return Err(format!(
                "it does not use ${}, which its front matter declares",
                unused.name
            ));
        }
        if (self.language, self.query.mode) != (Language::Cypher, Mode::Read) {
            return Ok(());
        }
        // A mistake is caught here; the IAM policy decides what a read may do.
        match writing_clause(&self.query.sql) {
            None => Ok(()),
            Some(clause) => {
                let clause = clause.to_ascii_uppercase();
                Err(format!("it has the clause {clause}, and its mode is not \"write\""))
            }
        }
    }
}

/// SPARQL's comments begin with `#`: front matter between two lines `#+++`, each line after a `#`. The
/// result has it where SQL has it.
fn with_block_comment(text: &str) -> Result<String, String> {
    let mut lines = text.lines();
    let mut before = String::new();
    for line in lines.by_ref() {
        if line.trim_end() == "#+++" {
            break;
        }
        if !line.trim().is_empty() && !line.starts_with('#') {
            return if text.lines().any(|line| line.trim_end() == "#+++") {
                Err("#+++ belongs to front matter, which comes once, before the statement".into())
            } else {
                Ok(text.to_owned())
            };
        }
        before.push_str(line.strip_prefix('#').map_or("", |_| "--"));
        before.push('\n');
    }
    let mut front = String::new();
    for line in lines.by_ref() {
        if line.trim_end() == "#+++" {
            let statement: String = lines.flat_map(|line| [line, "\n"]).collect();
            if statement.lines().any(|line| line.trim_end() == "#+++") {
                return Err(
                    "#+++ belongs to front matter, which comes once, before the statement".into()
                );
            }
            // What the statement is does not matter to the front matter, only whether there is one.
            let empty = statement
                .lines()
                .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
            let statement = if empty { "" } else { "SELECT" };
            return Ok(format!("{before}/*+++\n{front}+++*/\n{statement}"));
        }
        let line = line
            .strip_prefix('#')
            .ok_or_else(|| "every line of the front matter begins with #".to_owned())?;
        front.push_str(line);
        front.push('\n');
    }
    if front.is_empty() && !text.contains("#+++") {
        return Ok(String::new());
    }
    Err("#+++ is never closed by a second #+++".into())
}

fn invalid(name: &str, why: String) -> Error {
    Error::new(ErrorKind::QueryInvalid, format!("query {name} is wrong"))
        .because(why)
        .remedy("Correct the file; docs/neptune.md describes it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_languages_have_front_matter() {
        let text =
            "/*+++\nparams = [{ name = \"n\" }]\n+++*/\nMATCH (p {name: $n}) RETURN p // it's;\n";
        let cypher = Statement::parse("q", Language::Cypher, text).unwrap();
        assert_eq!((cypher.query.params[0].name.as_str(), cypher.query.sql.as_str()), ("n", text));
        let text = "# A report\n#+++\n# description = \"d\"\n# params = [{ name = \"n\" }]\n#+++\nSELECT ?s { ?s ?p $n }";
        let sparql = Statement::parse("q", Language::Sparql, text).unwrap();
        assert_eq!(sparql.query.description.as_deref(), Some("d"));
        assert_eq!(sparql.query.sql, text);
        assert!(Statement::parse("q", Language::Sparql, "ASK {}").is_ok());
    }

    #[test]
    fn mistakes_are_told() {
        let error = |language, text: &str| {
            let error = Statement::parse("q", language, text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueryInvalid, "{text}");
            error.to_string()
        };
        use Language::{Cypher, Sparql};
        for (language, text, told) in [
            (Cypher, "MATCH (n) SET n.a = 1", "clause SET"),
            (Cypher, "MATCH (n) RETURN $x", "uses $x"),
            (Cypher, "/*+++\nparams = [{ name = \"n\" }]\n+++*/\nRETURN '$n'", "does not use $n"),
            (
                Cypher,
                "/*+++\nresult = \"affected\"\nmode = \"write\"\n+++*/\nCREATE (n)",
                "affected",
            ),
            (Cypher, "/*+++\nmode = \"write\"\nid = \"/a\"\n+++*/\nCREATE (n)", "ledger"),
            (Cypher, "", "no statement"),
            (Sparql, "#+++\n#+++\n# only a comment", "no statement"),
            (Sparql, "", "no statement"),
            (Sparql, "#+++\n# a = 1\nASK {}", "begins with #"),
            (Sparql, "#+++\n# mode = \"read\"", "never closed"),
            (Sparql, "ASK {}\n#+++\n#+++", "before the statement"),
            (Sparql, "#+++\n# modes = 1\n#+++\nASK {}", "did you mean mode"),
        ] {
            assert!(error(language, text).contains(told), "{text}: {}", error(language, text));
        }
        for read in [
            "MATCH (n:Set) RETURN n.set, n.`CREATE`",
            "MATCH (a)-[:LIKES|CREATE]->(b) RETURN a",
            "MATCH (n: Set) RETURN n",
            "MATCH (n) RETURN {create: n.v} AS delete",
        ] {
            assert!(Statement::parse("q", Cypher, read).is_ok(), "{read}");
        }
    }
}
