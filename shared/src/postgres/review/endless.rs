//! Statements that affect rows each time, and so never end a step that is repeated until no rows are left.

use super::shape::{Select, Source, Statement, Verb, Write, up_to};
use crate::error::{Error, ErrorKind};
use crate::query::{Query, Token};

/// Aggregates of PostgreSQL that give one row for no rows.
const AGGREGATES: [&str; 22] = [
    "any_value",
    "array_agg",
    "avg",
    "bit_and",
    "bit_or",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "percentile_cont",
    "percentile_disc",
    "mode",
    "stddev",
    "string_agg",
    "sum",
    "variance",
];
/// What makes the number of groups or rows another one.
const CLAUSES: [&str; 6] = ["group", "having", "offset", "intersect", "except", "union"];

pub(super) fn check(query: &Query, statement: &Statement<'_>) -> Option<Error> {
    if query.repeat.as_ref().is_none_or(|repeat| repeat.max_chunks.is_some()) {
        return None;
    }
    let why = reason(statement)?;
    let what = format!("query {} would be repeated for ever", query.name);
    let error = Error::new(ErrorKind::QueryInvalid, what)
        .because(format!("its repeat ends with a chunk of no rows, and {why}"));
    Some(error.remedy("Let the statement count the rows that it works on: a plain DELETE, or SELECT … FROM the WITH query without an aggregate; or set max_chunks"))
}

/// Why a statement affects a row each time; `None` if it may affect none.
fn reason(statement: &Statement<'_>) -> Option<&'static str> {
    let Some(write) = Write::parse(statement.body) else {
        return gives_a_row(statement.body, statement, 0)
            .then_some("its SELECT gives a row also when there was nothing to do");
    };
    match write.verb {
        // Of a view that chooses the rows, an UPDATE without WHERE may affect none. A counter beside the work
        // is no such view.
        Verb::Update if write.choosing().concat().is_empty() && statement.writes().len() > 1 => {
            Some("its UPDATE changes a row also when there was nothing to do")
        }
        Verb::Insert => adds_a_row(&write, statement)
            .then_some("its INSERT adds a row also when there was nothing to do"),
        _ => None,
    }
}

fn adds_a_row(write: &Write<'_>, statement: &Statement<'_>) -> bool {
    let source = write.source();
    let conflict = source.windows(2).any(|pair| pair[0].is("on") && pair[1].is("conflict"));
    let source = up_to(source, &["returning"]);
    let default = source.first().is_some_and(|token| token.is("default"));
    !conflict && (default || gives_a_row(source, statement, 0))
}

/// Whether a SELECT or VALUES gives at least one row, whatever the tables hold.
fn gives_a_row(tokens: &[Token], outer: &Statement<'_>, depth: usize) -> bool {
    if depth > 10 {
        return false;
    }
    let own = Statement::parse(tokens);
    let Some(body) = own.as_ref().map(|own| own.body) else { return false };
    if body[0].is("values") {
        return true;
    }
    let Some(select) = Select::parse(body) else { return false };
    if select.tail.iter().any(|token| token.is_any(&CLAUSES)) {
        return false;
    }
    if aggregates(select.list) {
        return true;
    }
    if !select.condition.is_empty() {
        return false;
    }
    // A function that is not known may return no row, or many.
    let mut sources = select.sources();
    match (sources.pop(), sources.is_empty()) {
        (None, _) => select.from.is_empty() && !calls_another(select.list),
        (Some(Source::Select(inner)), true) => gives_a_row(inner, outer, depth + 1),
        (Some(Source::Table(table)), true) if table.path.len() == 1 => {
            let inner = own.as_ref().and_then(|own| own.cte(table.name()));
            inner
                .or_else(|| outer.cte(table.name()))
                .is_some_and(|inner| gives_a_row(inner, outer, depth + 1))
        }
        _ => false,
    }
}

/// Whether a select list has an aggregate that is not over a window.
fn aggregates(list: &[Token]) -> bool {
    list.iter().enumerate().any(|(at, token)| match token {
        Token::Group(inner) => !super::shape::is_select(inner) && aggregates(inner),
        _ if token.is_any(&AGGREGATES) => {
            let mut after = list[at + 1..].iter();
            let called = after.next().is_some_and(|token| token.group().is_some());
            let rest: Vec<&Token> = after.collect();
            // FILTER (…) and WITHIN GROUP (…) may stand before OVER.
            let words = rest.iter().take_while(|token| {
                token.group().is_some() || token.is_any(&["filter", "within", "group", "over"])
            });
            called && !words.into_iter().any(|token| token.is("over"))
        }
        _ => false,
    })
}

/// Whether a select list calls a function that may return no row.
fn calls_another(list: &[Token]) -> bool {
    let harmless =
        ["coalesce", "greatest", "least", "nullif", "now", "clock_timestamp", "cast", "row"];
    list.iter().enumerate().any(|(at, token)| match token {
        Token::Group(inner) => !super::shape::is_select(inner) && calls_another(inner),
        Token::Word { .. } => {
            let called = list.get(at + 1).is_some_and(|next| next.group().is_some());
            called && !token.is_any(&harmless)
        }
        _ => false,
    })
}
