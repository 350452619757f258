//! `rds-local check`: finds errors in query files before they are deployed.
//!
//! Beside what a function refuses, it finds statements that PostgreSQL accepts and nobody wants: purges that
//! delete rows which are not due, jobs that never end, and statements that take no transaction. These rules know a statement's form, and not the
//! tables. Each recognises a form that is wrong on some table or at some moment, and says what to write.

mod bound;
mod conditions;
mod endless;
mod expressions;
mod formula;
mod outside;
mod purge;
#[cfg(test)]
mod purge_tests;
mod rows;
mod scope;
mod statement;
#[cfg(test)]
mod tests;
mod uncounted;
mod views;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_smithy_async::time::SharedTimeSource;
use rds_iam::mysql;
use rds_iam::postgres::{self, Connection, Connector, Description, describe};
use rds_iam::query::{Mode, Query, ResultKind};
use rds_iam::{Config, Error};
use tokio::time::{Instant, timeout_at};

use self::statement::Write;
use self::uncounted::Written;
use self::views::Choice;
use crate::Result;
use crate::database::Engine;

/// The bound of the login, and of each file.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Checks query files, and all query files of folders, and returns how many are wrong. With
/// `database`, the database that the environment names prepares each statement of PostgreSQL. Without
/// `engine`, files in a folder `mysql` are for MySQL.
pub async fn run(paths: &[PathBuf], engine: Option<Engine>, database: bool) -> Result<usize> {
    let files = find(paths)?;
    let connection = if database { Some(login().await?) } else { None };
    let (mut wrong, mut warnings) = (0, 0);
    for file in &files {
        let engine = engine.unwrap_or_else(|| engine_of(file));
        match check(file, engine, connection.as_ref()).await {
            Ok(checked) => {
                println!("{}: ok{}", file.display(), checked.description);
                if let Some(note) = checked.note {
                    println!("{}: note: {note}", file.display());
                }
                for warning in &checked.warnings {
                    println!("{}: warning: {warning}", file.display());
                }
                warnings += checked.warnings.len();
            }
            Err(why) => {
                wrong += 1;
                for why in why {
                    println!("{}: {why}", file.display());
                }
            }
        }
    }
    if let Some(connection) = connection {
        connection.close(Duration::from_secs(1)).await;
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let warned = match warnings {
        0 => String::new(),
        count => format!(", {count} warning{}", plural(count)),
    };
    println!("{} file{}, {wrong} wrong{warned}", files.len(), plural(files.len()));
    Ok(wrong)
}

/// A file that is right.
#[derive(Default)]
struct Checked {
    /// What PostgreSQL says about it, to be shown behind it.
    description: String,
    /// What the database has that may keep it from working.
    warnings: Vec<Error>,
    /// What was not looked at.
    note: Option<&'static str>,
}

/// Whose SQL a file has, by its folder: `queries/mysql` is mysql-query's.
fn engine_of(file: &Path) -> Engine {
    let whole = file.canonicalize().unwrap_or_default();
    let folder = whole.parent().and_then(Path::file_name);
    if folder.is_some_and(|folder| folder == "mysql") { Engine::Mysql } else { Engine::Postgres }
}

/// Fails with everything that is wrong with the file.
async fn check(
    file: &Path,
    engine: Engine,
    connection: Option<&Connection>,
) -> std::result::Result<Checked, Vec<String>> {
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let folder = file.parent().unwrap_or(Path::new("."));
    let told = |error: Error| vec![error.to_string()];
    let query = Query::load(folder, &name).map_err(told)?;
    if engine == Engine::Mysql {
        mysql::check(&query).map_err(told)?;
        let unasked = connection.map(|_| ": without the database, which is PostgreSQL".to_owned());
        return Ok(Checked { description: unasked.unwrap_or_default(), ..Checked::default() });
    }
    let review = review(&query);
    if !review.found.is_empty() {
        return Err(review.found.iter().map(ToString::to_string).collect());
    }
    let mut checked = Checked { note: review.note, ..Checked::default() };
    let Some(connection) = connection else { return Ok(checked) };
    let client = &connection.client;
    let asked = async {
        let description = describe(client, &query).await?;
        let mut warnings = review.written.uncounted(client, &query).await?;
        for choice in &review.choices {
            warnings.extend(choice.views(client, &query).await?);
        }
        Ok((description, warnings))
    };
    let asked = timeout_at(Instant::now() + TIMEOUT, asked).await;
    let (description, warnings) =
        asked.map_err(|_| vec!["the database did not answer in time".to_owned()])?.map_err(told)?;
    checked.description = shown(&description);
    checked.warnings = warnings;
    Ok(checked)
}

/// What the text of a query file says.
#[derive(Default)]
struct Review {
    /// What is wrong, each with a remedy.
    found: Vec<Error>,
    /// The tables that a job writes to again and again.
    written: Written,
    /// The writes that choose their rows by reading others.
    choices: Vec<Choice>,
    note: Option<&'static str>,
}

fn review(query: &Query) -> Review {
    if let Err(error) = postgres::check(query) {
        return Review { found: vec![error], ..Review::default() };
    }
    if query.mode == Mode::Read && query.result != ResultKind::Affected {
        return Review::default();
    }
    let judged = statement::parse(&query.sql, |root| Review {
        found: Write::all(root)
            .filter(|_| query.mode == Mode::Write)
            .filter_map(|write| purge::check(query, &write))
            .chain(endless::check(query, root))
            .chain(outside::check(query, root))
            .collect(),
        written: query.repeat.as_ref().map(|_| Written::read(root)).unwrap_or_default(),
        choices: if query.mode == Mode::Write { Choice::all(root) } else { Vec::new() },
        note: None,
    });
    let note = "purges are not looked for: the text is too long, or of a form that rds-local does not know";
    let note = (query.mode == Mode::Write).then_some(note);
    judged.unwrap_or_else(|| Review { note, ..Review::default() })
}

fn shown(description: &Description) -> String {
    let list = |pairs: &[(String, String)]| {
        let pairs: Vec<String> =
            pairs.iter().map(|(name, kind)| format!("{name} {kind}")).collect();
        pairs.join(", ")
    };
    format!("\n    ({}) -> ({})", list(&description.parameters), list(&description.columns))
}

/// The files, and each folder's `.sql` files in the order of their names.
fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            let missing = || format!("cannot find {}: no such file or folder", path.display());
            files.push(path.is_file().then(|| path.clone()).ok_or_else(missing)?);
            continue;
        }
        let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let file = entry.map_err(failed)?.path();
            if file.extension().is_some_and(|extension| extension == "sql") {
                inside.push(file);
            }
        }
        if inside.is_empty() {
            return Err(format!("{} contains no query file (*.sql)", path.display()));
        }
        inside.sort();
        files.append(&mut inside);
    }
    Ok(files)
}

/// Logs in as a function does, with the environment's settings.
async fn login() -> Result<Connection> {
    let told = |error: Error| error.to_string();
    let config = Config::from_env().map_err(told)?;
    let provider = config.common.credentials();
    let signer = config.token_signer();
    let bound = Instant::now() + TIMEOUT;
    let token = timeout_at(bound, signer.token(&provider, &SharedTimeSource::default()))
        .await
        .map_err(|_| "the source of the credentials did not answer in time".to_owned())?
        .map_err(told)?;
    let connector = Connector::new(config).map_err(told)?;
    let (connection, _) =
        connector.login(&token, bound).await.map_err(|refused| refused.error.to_string())?;
    Ok(connection)
}
