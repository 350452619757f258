//! The names that an expression can use, and the columns of tables behind them.

use std::collections::BTreeSet;

use squawk_syntax::SyntaxKind as K;
use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::normalize_name_node;

use super::formula::Formula;
use super::statement::{Ctes, child};

/// The table that a write changes is the first relation.
pub(super) const TARGET: usize = 0;

/// A column of a relation, or a member of a JSON column: `data->'status'`.
pub(super) type Origin = (usize, String);
pub(super) type Origins = BTreeSet<Origin>;

/// A column of a sub-select, or all of a table's.
#[derive(Clone, Debug, Default)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) origins: Origins,
    /// When it has a value that can be found again: CASE, FILTER and sub-selects decide.
    pub(super) when: Option<Formula>,
    pub(super) all_of: Option<usize>,
}

impl Output {
    fn of(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self { origins: origins.into_iter().collect(), ..Self::default() }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Columns {
    Of(usize),
    Listed(Vec<Output>),
    /// Of a function, say.
    Unknown,
}

impl Columns {
    pub(super) fn all(&self) -> Vec<Output> {
        match self {
            Self::Of(relation) => vec![Output { all_of: Some(*relation), ..Output::default() }],
            Self::Listed(outputs) => outputs.clone(),
            Self::Unknown => Vec::new(),
        }
    }

    /// The tables whose columns it may have.
    fn tables(&self) -> Vec<usize> {
        self.all().iter().filter_map(|output| output.all_of).collect()
    }

    /// A column that a sub-select lists by name.
    fn listed(&self, name: &str) -> Option<Output> {
        let Self::Listed(outputs) = self else { return None };
        outputs.iter().find(|output| output.name == name).cloned()
    }

    pub(super) fn named(&self, name: &str) -> Output {
        let tables = || Output::of(self.tables().into_iter().map(|table| (table, name.to_owned())));
        self.listed(name).unwrap_or_else(tables)
    }
}

/// What a FROM or USING names.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) columns: Columns,
}

/// The sources of a SELECT or write, and those around it.
#[derive(Debug)]
pub(super) struct Scope<'o> {
    pub(super) sources: Vec<Source>,
    pub(super) outer: Option<&'o Scope<'o>>,
    pub(super) ctes: Ctes,
    pub(super) locks: Locks,
}

impl Scope<'_> {
    /// A column without a table's name in front. Without origins if several tables may have it.
    pub(super) fn named(&self, name: &str) -> Output {
        let mut sources = self.sources.iter();
        if let Some(listed) = sources.find_map(|source| source.columns.listed(name)) {
            return listed;
        }
        let tables: Vec<usize> = self.sources.iter().flat_map(|s| s.columns.tables()).collect();
        match tables.as_slice() {
            [] => self.outer.map(|outer| outer.named(name)).unwrap_or_default(),
            [TARGET, ..] => Output::of([(TARGET, name.to_owned())]),
            [table] => Output::of([(*table, name.to_owned())]),
            _ => Output::default(),
        }
    }

    /// `None` if nothing has the qualifier.
    pub(super) fn qualified(&self, qualifier: &str, name: &str) -> Option<Output> {
        let source = self.sources.iter().find(|source| source.name == qualifier);
        let outer = || self.outer.and_then(|outer| outer.qualified(qualifier, name));
        source.map(|source| source.columns.named(name)).or_else(outer)
    }

    /// The table whose row a name stands for.
    pub(super) fn row(&self, name: &str) -> Option<usize> {
        match self.sources.iter().find(|source| source.name == name)?.columns {
            Columns::Of(relation) => Some(relation),
            _ => None,
        }
    }
}

/// What the FOR UPDATE clauses of a SELECT lock.
#[derive(Debug, Default)]
pub(super) struct Locks {
    pub(super) all: bool,
    of: BTreeSet<String>,
}

impl Locks {
    /// FOR KEY SHARE lets other sessions change the row.
    pub(super) fn of(select: &SyntaxNode) -> Self {
        let mut locks = Self::default();
        for clause in select.children().filter(|clause| clause.kind() == K::LOCKING_CLAUSE) {
            if child(&clause, K::FOR_KEY_SHARE).is_some() {
                continue;
            }
            match child(&clause, K::LOCKING_OF) {
                Some(tables) => locks.of.extend(tables.children().map(|n| normalize_name_node(&n))),
                None => locks.all = true,
            }
        }
        locks
    }

    pub(super) fn cover(&self, name: &str) -> bool {
        self.all || self.of.contains(name)
    }
}

/// The columns with the names that stand behind an alias or a WITH query's name.
pub(super) fn renamed(mut outputs: Vec<Output>, list: Option<SyntaxNode>) -> Vec<Output> {
    let list = list.and_then(|node| child(&node, K::COLUMN_LIST));
    let names = list.iter().flat_map(SyntaxNode::children);
    for (output, name) in outputs.iter_mut().zip(names) {
        output.name = normalize_name_node(&name);
    }
    outputs
}

/// The columns of a UNION.
pub(super) fn united(mut left: Vec<Output>, right: Vec<Output>) -> Vec<Output> {
    for (output, other) in left.iter_mut().zip(right) {
        output.origins.extend(other.origins);
    }
    left
}
