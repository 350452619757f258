//! Writes that find their rows by `ctid` alone. A row's address is unique in one table only: rows of other
//! partitions, and of tables that inherit, have the same ones.

use super::shape::{Verb, Write, is_select};
use crate::error::{Error, ErrorKind};
use crate::query::{Query, Token};

/// The words of the operator that is `=` for NULL too.
const NOT_DISTINCT: [&str; 4] = ["is", "not", "distinct", "from"];

/// How a scope compares the two parts of a row's address with something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Compared {
    /// With a value or another column.
    Value,
    /// With the rows of a sub-select of its own.
    Select,
}

/// The comparisons of one scope, which is a condition without its sub-selects.
#[derive(Debug, Default)]
struct Scope {
    address: Option<Compared>,
    table: Option<Compared>,
    /// Both at once: `(tableoid, ctid) IN …`
    together: bool,
}

impl Scope {
    /// Two sub-selects that are not joined let each address meet each table.
    fn is_wrong(&self) -> bool {
        self.address.is_some() && !self.together && self.table != Some(Compared::Value)
    }
}

pub(super) fn check(query: &Query, write: &Write<'_>, statement: &[Token]) -> Option<Error> {
    let mut scopes = vec![Scope::default()];
    for part in write.choosing() {
        read(part, 0, &mut scopes);
    }
    let alone = write.table.only && !is_read_with_heirs(statement, write.table.name());
    if alone || !scopes.iter().any(Scope::is_wrong) {
        return None;
    }
    let name = write.table.path.join(".");
    let (does, verb) = match write.verb {
        Verb::Update => ("change", format!("UPDATE {name} SET …")),
        Verb::Merge => ("change", format!("MERGE INTO {name} …, or DELETE FROM {name}")),
        _ => ("delete", format!("DELETE FROM {name}")),
    };
    let what = format!("query {} can {does} rows that it did not select", query.name);
    let error = Error::new(ErrorKind::QueryInvalid, what).because(format!(
        "it finds them by ctid without tableoid, and every partition and child of {name} has rows with the same ctid"
    ));
    Some(error.remedy(format!(
        "Write: WITH due AS MATERIALIZED (SELECT tableoid AS o, ctid AS c, … FROM {name} WHERE … LIMIT …) {verb} \
         WHERE (tableoid, ctid) IN (SELECT o, c FROM due) AND the condition again; docs/jobs.md has a whole one"
    )))
}

/// Notes the comparisons of these tokens in `scopes[here]`, and those of each sub-select in a scope of its
/// own.
fn read(tokens: &[Token], here: usize, scopes: &mut Vec<Scope>) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Group(inner) if is_select(inner) => {
                scopes.push(Scope::default());
                read(inner, scopes.len() - 1, scopes);
            }
            Token::Group(inner) => {
                let names = |column: &str| inner.iter().any(|token| token.word() == Some(column));
                if let Some(with) = compared(tokens, at, at + 1)
                    && names("ctid")
                {
                    let scope = &mut scopes[here];
                    scope.together |= names("tableoid");
                    scope.address = scope.address.max(Some(with));
                }
                read(inner, here, scopes);
            }
            _ => {
                let Some(column @ ("ctid" | "tableoid")) = token.word() else { continue };
                let start = if at >= 2 && tokens[at - 1].is_symbol(".") { at - 2 } else { at };
                let Some(with) = compared(tokens, start, after_casts(tokens, at + 1)) else {
                    continue;
                };
                let scope = &mut scopes[here];
                let noted = if column == "ctid" { &mut scope.address } else { &mut scope.table };
                *noted = (*noted).max(Some(with));
            }
        }
    }
}

/// With what the operand between these places is compared for equality.
fn compared(tokens: &[Token], start: usize, end: usize) -> Option<Compared> {
    let rest = tokens.get(end..).unwrap_or_default();
    let operator = match rest.first() {
        Some(token) if token.is("in") || token.is_symbol("=") => 1,
        _ if NOT_DISTINCT.len() <= rest.len() && is_not_distinct(&rest[..NOT_DISTINCT.len()]) => {
            NOT_DISTINCT.len()
        }
        _ => {
            let row = start > 0 && tokens[start - 1].is("row");
            let before = &tokens[..start - usize::from(row)];
            let equals = before.last().is_some_and(|token| token.is_symbol("="));
            let words = before.len().saturating_sub(NOT_DISTINCT.len());
            return (equals || is_not_distinct(&before[words..])).then_some(Compared::Value);
        }
    };
    let rest = &rest[operator..];
    let rest = if rest.first()?.is_any(&["any", "some"]) { &rest[1..] } else { rest };
    let selects = rest.first().and_then(Token::group).is_some_and(|inner| match inner {
        // ANY (ARRAY(SELECT …))
        [array, Token::Group(inner), ..] if array.is("array") => is_select(inner),
        _ => is_select(inner),
    });
    Some(if selects { Compared::Select } else { Compared::Value })
}

fn is_not_distinct(tokens: &[Token]) -> bool {
    tokens.len() == NOT_DISTINCT.len()
        && tokens.iter().zip(NOT_DISTINCT).all(|(token, word)| token.is(word))
}

/// The place behind `::type`, if that stands here.
fn after_casts(tokens: &[Token], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| token.is_symbol("::")) {
        at += 2;
    }
    at
}

/// Whether the statement reads the table anywhere without ONLY, and so its partitions and children too.
fn is_read_with_heirs(tokens: &[Token], table: &str) -> bool {
    tokens.iter().enumerate().any(|(at, token)| {
        if let Token::Group(inner) = token {
            return is_read_with_heirs(inner, table);
        }
        let mut start = at;
        while start >= 2 && tokens[start - 1].is_symbol(".") {
            start -= 2;
        }
        let before = start.checked_sub(1).map(|before| &tokens[before]);
        token.word() == Some(table)
            && before.is_some_and(|token| {
                token.is_any(&["from", "join", "using"]) || token.is_symbol(",")
            })
    })
}
