//! The parts of a statement: its WITH queries, what it writes to, and the clauses that choose the rows.

use crate::query::Token;

/// A statement that may begin with WITH.
#[derive(Debug)]
pub(super) struct Statement<'t> {
    ctes: Vec<(&'t str, &'t [Token])>,
    /// Its tokens from its own verb on.
    pub(super) body: &'t [Token],
}

/// What follows the name of a table and is no alias, beside what ends a WHERE.
const NO_ALIAS: [&str; 19] = [
    "using",
    "where",
    "set",
    "on",
    "values",
    "select",
    "default",
    "overriding",
    "with",
    "join",
    "inner",
    "left",
    "right",
    "full",
    "cross",
    "natural",
    "lateral",
    "tablesample",
    "when",
];
/// What ends a WHERE.
const AFTER_WHERE: [&str; 12] = [
    "group",
    "having",
    "window",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "intersect",
    "except",
    "returning",
];

impl<'t> Statement<'t> {
    /// `None` if there is no verb.
    pub(super) fn parse(tokens: &'t [Token]) -> Option<Self> {
        let start = tokens.iter().position(|token| !token.is_symbol(";"))?;
        let tokens = &tokens[start..];
        // With a cast or UNION behind it perhaps.
        if let Some(inner) = tokens[0].group() {
            return Self::parse(inner);
        }
        if !tokens[0].is("with") {
            return tokens[0].word().map(|_| Self { ctes: Vec::new(), body: tokens });
        }
        let mut ctes = Vec::new();
        let mut at = 1;
        while at < tokens.len() {
            if let Some((name, inner, after)) = cte(tokens, at) {
                ctes.push((name, inner));
                at = after;
            } else if !ctes.is_empty() && is_verb(&tokens[at..]) {
                return Some(Self { ctes, body: &tokens[at..] });
            } else {
                at += 1;
            }
        }
        None
    }

    /// The tokens of a WITH query.
    pub(super) fn cte(&self, name: &str) -> Option<&'t [Token]> {
        self.ctes.iter().find(|(known, _)| *known == name).map(|(_, tokens)| *tokens)
    }

    /// Every INSERT, UPDATE, DELETE and MERGE of the statement: its own and those of its WITH.
    pub(super) fn writes(&self) -> Vec<Write<'t>> {
        let inner = self.ctes.iter().filter_map(|(_, tokens)| Write::parse(tokens));
        inner.chain(Write::parse(self.body)).collect()
    }
}

/// A WITH query whose AS is here: its name, its tokens, and where the next token is.
fn cte(tokens: &[Token], at: usize) -> Option<(&str, &[Token], usize)> {
    if !tokens[at].is("as") {
        return None;
    }
    let options =
        tokens[at + 1..].iter().take_while(|t| t.is_any(&["not", "materialized"])).count();
    let inner = tokens.get(at + 1 + options)?.group()?;
    // Names of columns may stand before AS.
    let name = tokens[..at].iter().rev().find_map(Token::word)?;
    Some((name, inner, at + 2 + options))
}

/// Whether a statement begins here. DELETE, INSERT, MERGE and UPDATE are also names of tables.
fn is_verb(tokens: &[Token]) -> bool {
    let next = |keyword| tokens.get(1).is_some_and(|token| token.is(keyword));
    match tokens[0].word() {
        Some("select" | "values" | "table") => true,
        Some("delete") => next("from"),
        Some("insert" | "merge") => next("into"),
        Some("update") => !next("as") && tokens.get(1).is_some_and(|next| next.word().is_some()),
        _ => false,
    }
}

/// What a statement does to a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Insert,
    Update,
    Delete,
    Merge,
}

/// A statement that writes, without the WITH before it.
#[derive(Clone, Debug)]
pub(super) struct Write<'t> {
    pub(super) verb: Verb,
    pub(super) table: Table<'t>,
    /// What stands behind the table.
    clauses: &'t [Token],
}

impl<'t> Write<'t> {
    /// `None` for a statement that is no write.
    pub(super) fn parse(tokens: &'t [Token]) -> Option<Self> {
        let (verb, skipped) = match tokens.first()?.word()? {
            "insert" => (Verb::Insert, 2),
            "update" => (Verb::Update, 1),
            "delete" => (Verb::Delete, 2),
            "merge" => (Verb::Merge, 2),
            _ => return None,
        };
        if !is_verb(tokens) {
            return None;
        }
        let (table, length) = Table::parse(&tokens[skipped..])?;
        Some(Self { verb, table, clauses: &tokens[skipped + length..] })
    }

    /// The parts that choose the rows, without the values that they get and without RETURNING.
    pub(super) fn choosing(&self) -> Vec<&'t [Token]> {
        let clauses = up_to(self.clauses, &["returning"]);
        match self.verb {
            Verb::Insert => Vec::new(),
            Verb::Delete => vec![clauses],
            Verb::Update => {
                let end = (0..clauses.len()).find(|at| {
                    clauses[*at].is("where")
                        || clauses[*at].is("from") && !is_distinct(clauses, *at)
                });
                vec![&clauses[end.unwrap_or(clauses.len())..]]
            }
            // Behind each THEN is what happens to the rows.
            Verb::Merge => {
                let mut parts = clauses.split(|token| token.is("then"));
                let first = parts.next();
                let later = parts.filter_map(|part| {
                    let when = part.iter().position(|token| token.is("when"))?;
                    Some(&part[when..])
                });
                first.into_iter().chain(later).collect()
            }
        }
    }

    /// What an INSERT inserts: its tokens from VALUES, SELECT, WITH or DEFAULT on.
    pub(super) fn source(&self) -> &'t [Token] {
        let verbs = ["values", "select", "table", "with", "default"];
        let start = self
            .clauses
            .iter()
            .position(|token| token.is_any(&verbs) || token.group().is_some_and(is_select));
        &self.clauses[start.unwrap_or(self.clauses.len())..]
    }
}

/// A table, where a statement names it.
#[derive(Clone, Debug)]
pub(super) struct Table<'t> {
    /// Its name as the statement writes it, with a schema perhaps.
    pub(super) path: Vec<&'t str>,
    /// Whether ONLY keeps the tables that inherit from it out.
    pub(super) only: bool,
    pub(super) alias: Option<&'t str>,
}

impl<'t> Table<'t> {
    /// A table at the beginning, and the number of its tokens.
    fn parse(tokens: &'t [Token]) -> Option<(Self, usize)> {
        let only = tokens.first()?.is("only");
        let mut at = usize::from(only);
        let path = match tokens.get(at)? {
            Token::Group(inner) if only => {
                at += 1;
                path(inner)
            }
            _ => {
                let path = path(&tokens[at..]);
                at += (path.len() * 2).saturating_sub(1);
                path
            }
        };
        at += usize::from(tokens.get(at).is_some_and(|token| token.is_symbol("*")));
        let named = tokens.get(at).is_some_and(|token| token.is("as"));
        let alias = tokens
            .get(at + usize::from(named))
            .filter(|token| !token.is_any(&NO_ALIAS) && !token.is_any(&AFTER_WHERE));
        let alias = alias.and_then(Token::word);
        at += alias.map_or(0, |_| usize::from(named) + 1);
        (!path.is_empty()).then_some((Self { path, only, alias }, at))
    }

    /// Its name without a schema.
    pub(super) fn name(&self) -> &'t str {
        self.path.last().copied().unwrap_or_default()
    }

    /// The name that its columns may have in front.
    pub(super) fn qualifier(&self) -> &'t str {
        self.alias.unwrap_or(self.name())
    }
}

/// `a`, `a.b` or `a.b.c` at the beginning.
fn path(tokens: &[Token]) -> Vec<&str> {
    let mut path: Vec<&str> = tokens.first().and_then(Token::word).into_iter().collect();
    let mut rest = tokens.get(1..).unwrap_or_default();
    while let [dot, name, ..] = rest
        && dot.is_symbol(".")
        && let Some(name) = name.word()
    {
        path.push(name);
        rest = &rest[2..];
    }
    path
}

/// The parts of a SELECT, without the WITH before it.
#[derive(Debug)]
pub(super) struct Select<'t> {
    /// Its output columns.
    pub(super) list: &'t [Token],
    pub(super) from: &'t [Token],
    pub(super) condition: &'t [Token],
    /// What stands behind the condition.
    pub(super) tail: &'t [Token],
}

impl<'t> Select<'t> {
    /// `None` for another statement.
    pub(super) fn parse(body: &'t [Token]) -> Option<Self> {
        if !body.first()?.is("select") {
            return None;
        }
        let end = |from: usize, words: &[&str]| {
            let found =
                (from..body.len()).find(|at| body[*at].is_any(words) && !is_distinct(body, *at));
            found.unwrap_or(body.len())
        };
        let mut stops = vec!["from", "where"];
        stops.extend(AFTER_WHERE);
        let list_end = end(1, &stops);
        let from_end = end(list_end, &stops[1..]);
        let condition_end = end(from_end, &stops[2..]);
        Some(Self {
            list: &body[1..list_end],
            from: body[list_end..from_end].get(1..).unwrap_or_default(),
            condition: body[from_end..condition_end].get(1..).unwrap_or_default(),
            tail: &body[condition_end..],
        })
    }

    /// Whether it locks its rows against changes, and so looks again at rows that it had to wait for.
    pub(super) fn locks(&self) -> bool {
        let strengths = ["update", "no", "share"];
        self.tail.windows(2).any(|pair| pair[0].is("for") && pair[1].is_any(&strengths))
    }

    /// The tables, sub-selects and WITH queries that it reads.
    pub(super) fn sources(&self) -> Vec<Source<'t>> {
        sources(self.from)
    }
}

/// What stands in a FROM or USING.
#[derive(Debug)]
pub(super) enum Source<'t> {
    Table(Table<'t>),
    Select(&'t [Token]),
}

/// The tables and sub-selects of a FROM or USING, joined or listed.
pub(super) fn sources(from: &[Token]) -> Vec<Source<'_>> {
    let mut found = Vec::new();
    let mut expected = true;
    for (at, token) in from.iter().enumerate() {
        if token.is("join") || token.is_symbol(",") {
            expected = true;
            continue;
        }
        if !expected || token.is("lateral") {
            continue;
        }
        expected = false;
        match token {
            Token::Group(inner) if is_select(inner) => found.push(Source::Select(inner)),
            Token::Group(inner) => found.extend(sources(inner)),
            _ => found.extend(Table::parse(&from[at..]).map(|(table, _)| Source::Table(table))),
        }
    }
    found
}

/// Whether tokens between parentheses are a sub-select.
pub(super) fn is_select(tokens: &[Token]) -> bool {
    match tokens.first() {
        Some(Token::Group(inner)) => is_select(inner),
        Some(first) => first.is_any(&["select", "with", "values", "table"]),
        None => false,
    }
}

/// Whether this is the FROM of IS DISTINCT FROM.
fn is_distinct(tokens: &[Token], at: usize) -> bool {
    tokens[at].is("from") && at > 0 && tokens[at - 1].is("distinct")
}

/// The tokens before the first of these keywords.
pub(super) fn up_to<'t>(tokens: &'t [Token], keywords: &[&str]) -> &'t [Token] {
    let end = tokens.iter().position(|token| token.is_any(keywords));
    &tokens[..end.unwrap_or(tokens.len())]
}
