//! Names that a statement may have meant: asked once, after PostgreSQL has refused a name that it does not
//! find. Only names that the database user may see are shown.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{ToSql, Type};

use super::outcome::Failure;
use super::statement_error::{is_raised, place};
use crate::query::Query;

/// The question is one round trip.
const LONGEST: Duration = Duration::from_secs(1);
/// More names than these help nobody.
const MOST_SHOWN: usize = 3;

const RELATIONS: &str = "
SELECT pg_catalog.quote_ident(nspname), relname::text, pg_catalog.pg_table_is_visible(c.oid)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname !~ '^pg_' AND nspname <> 'information_schema'
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE')
    AND pg_catalog.length(relname::text) BETWEEN pg_catalog.length($1) - 2 AND pg_catalog.length($1) + 2
ORDER BY relname = $1 DESC, relname LIMIT 1000";

const FUNCTIONS: &str = "
SELECT DISTINCT pg_catalog.quote_ident(nspname), proname::text, pg_catalog.pg_function_is_visible(p.oid)
FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid = pronamespace
WHERE pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE')
    AND pg_catalog.length(proname::text) BETWEEN pg_catalog.length($1) - 2 AND pg_catalog.length($1) + 2
LIMIT 5000";

const SCHEMAS: &str = "
SELECT '', nspname::text, true FROM pg_catalog.pg_namespace AS n
WHERE nspname !~ '^pg_' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
    AND pg_catalog.length(nspname::text) BETWEEN pg_catalog.length($1) - 2 AND pg_catalog.length($1) + 2
LIMIT 1000";

/// A name that PostgreSQL did not find.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    /// Asks for the names of its kind.
    question: &'static str,
    /// As the statement names it, with its schema perhaps.
    path: Vec<String>,
}

impl Missing {
    /// From a refusal that says where in the query file the name is.
    pub(super) fn of(query: &Query, db: &DbError, wrapped_after: usize) -> Option<Self> {
        let question = match db.code().code() {
            // The name in front of a column, which is one of FROM: the server's hint says which.
            "42P01" if db.routine() == Some("errorMissingRTE") => return None,
            "42P01" => RELATIONS,
            "42883" => FUNCTIONS,
            "3F000" => SCHEMAS,
            _ => return None,
        };
        if is_raised(db) || db.where_().is_some() {
            return None;
        }
        let offset = place(query, db, wrapped_after)?;
        let mut path = names(query.sql.chars().skip(offset));
        if question == SCHEMAS {
            path.truncate(1);
        }
        (!path.is_empty()).then_some(Self { question, path })
    }

    /// Adds the nearest names to the failure's error, if the server tells them in time.
    pub(super) async fn explain(
        &self,
        client: &Client,
        bound: Instant,
        mut failure: Failure,
    ) -> Failure {
        let Some(name) = self.path.last() else { return failure };
        let values: [(&(dyn ToSql + Sync), Type); 1] = [(name, Type::TEXT)];
        let asked = client.query_typed(self.question, &values);
        match timeout_at(bound.min(Instant::now() + LONGEST), asked).await {
            Ok(Ok(rows)) => {
                let names = rows.iter().filter_map(|row| {
                    Some((row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?))
                });
                if let Some(fact) = self.fact(names.collect()) {
                    failure.error = failure.error.also(&fact);
                }
            }
            Ok(Err(_)) => failure.usable &= !client.is_closed(),
            // Its answer would meet the next statement.
            Err(_) => failure.usable = false,
        }
        failure
    }

    /// A sentence about the names, each with its schema and whether it is found without one.
    fn fact(&self, names: Vec<(String, String, bool)>) -> Option<String> {
        let (wanted, schema) = self.path.split_last()?;
        let written = |(schema, name, visible): &(String, String, bool)| {
            let name = quoted(name);
            if *visible || schema.is_empty() { name } else { format!("{schema}.{name}") }
        };
        let same = names.iter().filter(|(_, name, _)| name == wanted);
        if schema.is_empty() && same.clone().any(|(.., visible)| *visible) {
            return None;
        }
        let elsewhere: Vec<String> = same.map(written).take(MOST_SHOWN).collect();
        if !elsewhere.is_empty() {
            return Some(format!("there is {}", elsewhere.join(" and ")));
        }
        let far =
            |name: &str| strsim::damerau_levenshtein(&name.to_lowercase(), &wanted.to_lowercase());
        let most = (wanted.chars().count() / 3).min(2);
        let mut near: Vec<_> = names.iter().map(|name| (far(&name.1), written(name))).collect();
        near.retain(|(far, _)| *far <= most);
        near.sort();
        near.dedup();
        let near: Vec<String> = near.into_iter().map(|(_, name)| name).take(MOST_SHOWN).collect();
        (!near.is_empty()).then(|| format!("the nearest names are {}", near.join(", ")))
    }
}

/// A name as a statement writes it.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    match name.chars().all(is_plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// The parts of the name that a text begins with: `a."B".c`.
fn names(text: impl Iterator<Item = char>) -> Vec<String> {
    let (mut text, mut names) = (text.peekable(), Vec::new());
    loop {
        let mut name = String::new();
        if text.next_if_eq(&'"').is_some() {
            while let Some(c) = text.next() {
                if c == '"' && text.next_if_eq(&'"').is_none() {
                    break;
                }
                name.push(c);
            }
        } else {
            let is_part = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '$');
            while let Some(c) = text.next_if(is_part) {
                name.push(c.to_ascii_lowercase());
            }
        }
        if name.is_empty() {
            return names;
        }
        names.push(name);
        if text.next_if_eq(&'.').is_none() {
            return names;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_postgresql_reads_them() {
        for (text, expected) in [
            ("Orders WHERE", &["orders"][..]),
            ("a.\"B \"\"c\"(1)", &["a", "B \"c"]),
            ("größe", &["größe"]),
            ("+ 1", &[]),
            ("", &[]),
            ("a.", &["a"]),
        ] {
            assert_eq!(names(text.chars()), expected, "{text}");
        }
    }

    #[test]
    fn a_name_of_another_schema_comes_before_a_similar_one() {
        let told = |path: &[&str], names: &[(&str, &str, bool)]| {
            let path = path.iter().map(|part| (*part).to_owned()).collect();
            let own = |(schema, name, visible): &(&str, &str, bool)| {
                ((*schema).to_owned(), (*name).to_owned(), *visible)
            };
            let missing = Missing { question: RELATIONS, path };
            missing.fact(names.iter().map(own).collect()).unwrap_or_default()
        };
        let all = [
            ("public", "customers", true),
            ("billing", "invoices", false),
            ("billing", "Invoices", false),
            ("public", "t1", true),
        ];
        assert_eq!(told(&["invoices"], &all), "there is billing.invoices");
        assert_eq!(told(&["public", "invoices"], &all), "there is billing.invoices");
        assert_eq!(
            told(&["invoises"], &all),
            "the nearest names are billing.\"Invoices\", billing.invoices"
        );
        assert_eq!(told(&["custmers"], &all), "the nearest names are customers");
        assert_eq!(told(&["customers"], &all), "");
        assert_eq!(told(&["t2"], &all), "");
    }
}
