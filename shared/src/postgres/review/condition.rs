//! Writes that choose their rows in a sub-select and find them again by a key. When PostgreSQL has waited
//! for a row that another session changed, it checks the outer condition only: a row that was renewed
//! meanwhile is due no more, and goes all the same.
//!
//! <https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED>

use std::collections::BTreeSet;

use super::shape::{Select, Source, Statement, Verb, Write, is_select, sources, up_to};
use crate::error::{Error, ErrorKind};
use crate::query::{Query, Token};

/// Words of a condition that are no columns.
const NO_COLUMN: [&str; 44] = [
    "all",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "collate",
    "current_date",
    "current_role",
    "current_time",
    "current_timestamp",
    "current_user",
    "desc",
    "distinct",
    "else",
    "end",
    "escape",
    "exists",
    "false",
    "from",
    "ilike",
    "in",
    "is",
    "isnull",
    "like",
    "localtime",
    "localtimestamp",
    "not",
    "notnull",
    "null",
    "or",
    "row",
    "session_user",
    "similar",
    "some",
    "symmetric",
    "then",
    "to",
    "true",
    "unknown",
];
const ALSO_NO_COLUMN: [&str; 7] =
    ["current_catalog", "current_schema", "local", "user", "when", "with", "zone"];

pub(super) fn check(query: &Query, write: &Write<'_>, statement: &Statement<'_>) -> Option<Error> {
    let choosing = write.choosing();
    let mut outside = BTreeSet::new();
    for part in &choosing {
        let own = write.table.qualifier();
        columns(part, &|given| given.is_none_or(|given| given == own), &mut outside);
    }
    let picks = Picks { write, statement, outside };
    let mut missing = BTreeSet::new();
    for part in choosing {
        picks.read(part, &mut missing);
    }
    if missing.is_empty() {
        return None;
    }
    let name = write.table.path.join(".");
    let does = if write.verb == Verb::Update { "change" } else { "delete" };
    let missing: Vec<&str> = missing.into_iter().collect();
    let missing = missing.join(" and ");
    let what = format!("query {} can {does} rows that are not due any more", query.name);
    let error = Error::new(ErrorKind::QueryInvalid, what).because(format!(
        "its condition on {missing} stands in a sub-select of {name} only; PostgreSQL does not check it again for a row that another session is changing"
    ));
    Some(error.remedy(format!(
        "Repeat the condition on {missing} outside of the sub-select, or lock the rows inside of it: FOR UPDATE SKIP LOCKED; see docs/jobs.md"
    )))
}

/// How a write picks its rows.
struct Picks<'p, 't> {
    write: &'p Write<'t>,
    statement: &'p Statement<'t>,
    /// The columns that its own condition names.
    outside: BTreeSet<&'t str>,
}

impl<'t> Picks<'_, 't> {
    /// Adds the columns of conditions that stand only inside of what these tokens pick rows from.
    fn read(&self, tokens: &'t [Token], missing: &mut BTreeSet<&'t str>) {
        // What is joined: USING and FROM.
        if tokens.first().is_some_and(|token| token.is_any(&["using", "from"])) {
            let end = if self.write.verb == Verb::Merge { "on" } else { "where" };
            let from = up_to(&tokens[1..], &[end]);
            let keys = self.outside.clone();
            self.follow(sources(from), &keys, &Way::start(self.statement), missing);
        }
        for (at, token) in tokens.iter().enumerate() {
            let Token::Group(inner) = token else { continue };
            if !is_select(inner) && !is_array(inner) {
                self.read(inner, missing);
                continue;
            }
            let Some(keys) = compared_before(tokens, at) else { continue };
            let inner =
                inner.get(1).filter(|_| is_array(inner)).and_then(Token::group).unwrap_or(inner);
            self.pick(inner, &keys, &Way::start(self.statement), missing);
        }
    }

    /// The same for one sub-select whose rows are compared with these keys.
    fn pick(
        &self,
        tokens: &'t [Token],
        keys: &BTreeSet<&'t str>,
        way: &Way<'_, 't>,
        missing: &mut BTreeSet<&'t str>,
    ) {
        let Some(statement) = Statement::parse(tokens) else { return };
        let way = Way { ctes: &statement, depth: way.depth + 1, ..*way };
        if statement.body.first().is_some_and(|token| token.is("table")) {
            return self.follow(sources(&statement.body[1..]), keys, &way, missing);
        }
        let Some(select) = Select::parse(statement.body) else { return };
        let locked = way.locked || select.locks();
        let from = select.sources();
        let alone = from.len() == 1;
        let own = from.iter().find_map(|source| match source {
            Source::Table(table) if table.name() == self.write.table.name() => Some(table),
            _ => None,
        });
        if let Some(table) = own
            && !locked
            && selects(select.list, keys)
        {
            let qualifier = table.qualifier();
            let is_own = |given: Option<&str>| given.map_or(alone, |given| given == qualifier);
            let mut inside = BTreeSet::new();
            columns(select.condition, &is_own, &mut inside);
            missing.extend(inside.difference(&self.outside));
        }
        self.follow(from, keys, &Way { locked, ..way }, missing);
    }

    /// Goes on in the sub-selects and WITH queries among these.
    fn follow(
        &self,
        from: Vec<Source<'t>>,
        keys: &BTreeSet<&'t str>,
        way: &Way<'_, 't>,
        missing: &mut BTreeSet<&'t str>,
    ) {
        // A WITH query that is recursive reads itself.
        if way.depth > 10 {
            return;
        }
        for source in from {
            match source {
                Source::Select(tokens) => self.pick(tokens, keys, way, missing),
                Source::Table(table) if table.path.len() == 1 => {
                    let inner = way.ctes.cte(table.name());
                    let Some(tokens) = inner.or_else(|| self.statement.cte(table.name())) else {
                        continue;
                    };
                    // FOR UPDATE does not reach into a WITH query.
                    self.pick(tokens, keys, &Way { locked: false, ..*way }, missing);
                }
                Source::Table(_) => {}
            }
        }
    }
}

/// The way from a write into the sub-selects that it picks rows from.
#[derive(Clone, Copy)]
struct Way<'w, 't> {
    /// The statement around, whose WITH queries can be named.
    ctes: &'w Statement<'t>,
    /// Whether a SELECT around locks the rows.
    locked: bool,
    depth: usize,
}

impl<'w, 't> Way<'w, 't> {
    fn start(ctes: &'w Statement<'t>) -> Self {
        Self { ctes, locked: false, depth: 0 }
    }
}

/// Whether these are the tokens of `ANY (ARRAY(SELECT …))` between its parentheses.
fn is_array(tokens: &[Token]) -> bool {
    matches!(tokens, [array, Token::Group(inner)] if array.is("array") && is_select(inner))
}

/// The columns that a sub-select at this place is compared with for equality, if it is.
fn compared_before(tokens: &[Token], at: usize) -> Option<BTreeSet<&str>> {
    let mut before = &tokens[..at];
    if before.last()?.is_any(&["any", "some"]) {
        before = &before[..before.len() - 1];
    }
    let operator = before.last()?;
    if !operator.is("in") && !operator.is_symbol("=") {
        return None;
    }
    before = &before[..before.len() - 1];
    if before.last()?.is("not") {
        return None;
    }
    let mut keys = BTreeSet::new();
    match before.last()? {
        Token::Group(row) => columns(row, &|_| true, &mut keys),
        // A cast stands behind the column.
        _ => {
            let column = before.iter().rev().filter(|token| token.word().is_some());
            keys.extend(column.take(2).filter_map(Token::word));
        }
    }
    Some(keys)
}

/// Whether a select list has one of these columns.
fn selects(list: &[Token], keys: &BTreeSet<&str>) -> bool {
    list.iter().any(|token| match token {
        Token::Group(inner) => !is_select(inner) && selects(inner, keys),
        _ => token.is_symbol("*") || token.word().is_some_and(|word| keys.contains(word)),
    })
}

/// The columns that a condition names outside of its sub-selects, if what stands in front of them
/// satisfies `is_own`.
fn columns<'t>(
    tokens: &'t [Token],
    is_own: &impl Fn(Option<&str>) -> bool,
    found: &mut BTreeSet<&'t str>,
) {
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Group(inner) if is_select(inner) => {}
            Token::Group(inner) => columns(inner, is_own, found),
            Token::Word { text, .. } => {
                let next = tokens.get(at + 1);
                let before = at.checked_sub(1).map(|before| &tokens[before]);
                let is_path = before.is_some_and(|token| token.is_symbol("."));
                let qualifier =
                    is_path.then(|| at.checked_sub(2).and_then(|at| tokens[at].word())).flatten();
                // A function, the type of a literal, a qualifier, the name of an argument, or a unit:
                // extract(day FROM …), AT TIME ZONE.
                let other = next.is_some_and(|next| {
                    matches!(next, Token::Group(_) | Token::Text)
                        || [".", "=>", ":="].iter().any(|sign| next.is_symbol(sign))
                        || next.is_any(&["from", "time", "zone"])
                });
                // interval '1' day, COLLATE "C"
                let special = before.is_some_and(|token| {
                    token.is_symbol("::") || token.is("collate") || *token == Token::Text
                });
                let keyword = token.is_any(&NO_COLUMN) || token.is_any(&ALSO_NO_COLUMN);
                if !other && !special && !keyword && is_own(qualifier) {
                    found.insert(text);
                }
            }
            _ => {}
        }
    }
}
