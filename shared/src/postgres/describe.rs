//! Asks PostgreSQL about a query, without running it.

use tokio_postgres::Client;
use tokio_postgres::types::Oid;

use super::execute::Statement;
use super::statement_error::statement_error;
use crate::error::{Error, ErrorKind};
use crate::query::{Query, ResultKind};

/// The types that PostgreSQL gives a query, by its own names for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Each parameter, in the order of `$1…$n`, and its type.
    pub parameters: Vec<(String, String)>,
    /// Each column, and its type.
    pub columns: Vec<(String, String)>,
}

const TYPE_NAMES: &str = "
    SELECT coalesce(array_agg(pg_catalog.format_type(type, NULL) ORDER BY number), '{}')
    FROM unnest($1::oid[]) WITH ORDINALITY AS types (type, number)";

/// Has PostgreSQL prepare a query's statement, as it is in the file and as it is wrapped to run.
///
/// # Errors
/// [`QueryInvalid`](ErrorKind::QueryInvalid) if the statement is wrong or takes other parameters than it
/// declares; other kinds as a statement that runs.
pub async fn describe(client: &Client, query: &Query) -> Result<Description, Error> {
    let plain = client.prepare(&query.sql).await;
    let plain = plain.map_err(|error| statement_error(query, &error, 0))?;
    let wrapped = Statement::new(query);
    let prepared = client.prepare(&wrapped.text).await;
    prepared.map_err(|error| statement_error(query, &error, wrapped.prefix))?;

    let invalid = |why: String| {
        Error::new(ErrorKind::QueryInvalid, format!("query {} is not valid", query.name))
            .because(why)
    };
    let (declared, taken) = (query.params.len(), plain.params().len());
    if declared != taken {
        let why =
            format!("its front matter declares {declared} parameters, the statement takes {taken}");
        return Err(
            invalid(why).remedy("Declare one entry in params for each of $1…$n, in that order")
        );
    }
    let columns: Vec<&str> = plain.columns().iter().map(|column| column.name()).collect();
    let twice = columns.iter().enumerate().find(|(index, name)| columns[..*index].contains(name));
    if let Some((_, name)) = twice.filter(|_| query.result != ResultKind::Affected) {
        let why = format!("two of its columns are named {name}");
        return Err(invalid(why).remedy("Give each column its own name with AS"));
    }

    let types: Vec<Oid> = plain
        .params()
        .iter()
        .chain(plain.columns().iter().map(|column| column.type_()))
        .map(|kind| kind.oid())
        .collect();
    let names = client.query_one(TYPE_NAMES, &[&types]).await;
    let names: Vec<String> =
        names.and_then(|row| row.try_get(0)).map_err(|error| statement_error(query, &error, 0))?;
    let mut names = names.into_iter();
    let parameters: Vec<_> =
        query.params.iter().map(|param| param.name.clone()).zip(names.by_ref()).collect();
    let columns = columns.into_iter().map(str::to_owned).zip(names).collect();
    Ok(Description { parameters, columns })
}
