//! The rows that a write picks: which tables they are read from, by which columns they are found again, and
//! which columns its conditions name.
//!
//! Every column leads back to the table that it is read from, through aliases, sub-selects and WITH queries.
//! This file follows tables, `conditions` reads WHERE and ON, and `expressions` the columns in them.

use std::collections::HashMap;

use squawk_syntax::SyntaxKind as K;
use squawk_syntax::ast::{self, AstNode, normalize_name_node};
use squawk_syntax::column_name::ColumnName;
use squawk_syntax::{SyntaxElement, SyntaxNode};

use super::bound::Bound;
use super::formula::Formula;
use super::scope::{
    Columns, Locks, Origin, Origins, Output, Scope, Source, TARGET, renamed, united,
};
use super::statement::{Ctes, Table, Write, alias, child, is_select, last_name, select, with_ctes};

/// A table where a statement reads it.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) table: Table,
    /// Whether the statement locks its rows, and so checks its conditions again after a wait.
    pub(super) locked: bool,
}

/// With what a column is compared for equality.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Compared {
    /// With a value or another column.
    Value,
    /// With the rows of a sub-select of its own.
    Select,
}

/// How the conditions of one SELECT or write compare the two parts of a target's address.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) ctid: Option<Compared>,
    pub(super) tableoid: Option<Compared>,
    /// Both at once: `(tableoid, ctid) IN …`
    pub(super) together: bool,
}

/// What a row must be, or that it is one of a SELECT's.
#[derive(Clone, Debug, Default)]
pub(super) struct Condition {
    pub(super) columns: Origins,
    /// What it asks of its one column, if that can be told.
    pub(super) bound: Option<Bound>,
}

/// All that the conditions of a write say.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) relations: Vec<Relation>,
    pub(super) conditions: Vec<Condition>,
    /// The formulas that a row meets, of the part that is read: of its own conditions, and of the SELECTs in it.
    pub(super) found: Vec<Formula>,
    pub(super) equal: Vec<(Origin, Origin)>,
    pub(super) unequal: Vec<(Origin, Origin)>,
    /// Tables that are joined by all their columns.
    pub(super) natural: Vec<(usize, usize)>,
    pub(super) levels: Vec<Level>,
    /// The addresses that the target's are compared with.
    pub(super) addresses: Origins,
    pub(super) level: usize,
    pub(super) negated: bool,
    ctes: HashMap<SyntaxNode, (Vec<Output>, Formula)>,
}

impl Rows {
    /// Reads the clauses of a write that choose its rows.
    pub(super) fn of(write: &Write) -> Self {
        let mut rows = Self::default();
        rows.levels.push(Level::default());
        rows.relations.push(Relation { table: write.table.clone(), locked: false });
        let target = Source { name: write.qualifier.clone(), columns: Columns::Of(TARGET) };
        let mut scope = Scope {
            sources: vec![target],
            outer: None,
            ctes: write.ctes(),
            locks: Locks::default(),
        };
        for clause in write.node.children() {
            match clause.kind() {
                K::USING_CLAUSE | K::FROM_CLAUSE | K::USING_ON_CLAUSE => {
                    rows.read_from(&clause, &mut scope);
                }
                K::WHERE_CLAUSE => rows.read_clause(&clause, &scope),
                _ => {}
            }
        }
        if write.node.kind() == K::MERGE {
            rows.read_actions(&write.node, &scope);
        }
        rows
    }

    /// A row meets all that was found.
    pub(super) fn formula(&self) -> Formula {
        Formula::All(self.found.clone())
    }

    /// The WHEN clauses of a MERGE that change a row of the target: one of them does.
    fn read_actions(&mut self, merge: &SyntaxNode, scope: &Scope<'_>) {
        let changes = |clause: &SyntaxNode| {
            child(clause, K::MERGE_DELETE).or(child(clause, K::MERGE_UPDATE)).is_some()
        };
        let mut actions = Vec::new();
        for clause in merge.children().filter(changes) {
            let condition = child(&clause, K::MERGE_CONDITION);
            let read = |rows: &mut Self| {
                condition.iter().for_each(|condition| rows.read_clause(condition, scope));
            };
            actions.push(Formula::All(self.gather(read).1));
        }
        self.found.push(Formula::Any(actions));
    }

    /// Notes a condition.
    pub(super) fn note(&mut self, columns: Origins, bound: Option<Bound>) -> Formula {
        self.conditions.push(Condition { columns, bound });
        Formula::condition(self.conditions.len() - 1)
    }

    /// Reads a part, and returns the formulas that were found in it.
    pub(super) fn gather<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> (T, Vec<Formula>) {
        let around = std::mem::take(&mut self.found);
        let result = read(self);
        (result, std::mem::replace(&mut self.found, around))
    }

    /// Reads a part whose rows are kept if they do not meet its conditions, or met by number.
    pub(super) fn without_bounds<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let first = self.conditions.len();
        let result = read(self);
        self.conditions[first..].iter_mut().for_each(|condition| condition.bound = None);
        result
    }

    /// Adds the sources of a FROM or USING, and the conditions of its joins.
    fn read_from(&mut self, from: &SyntaxNode, scope: &mut Scope<'_>) {
        from.children().for_each(|item| self.read_source(&item, scope));
    }

    fn read_source(&mut self, item: &SyntaxNode, scope: &mut Scope<'_>) {
        match item.kind() {
            // ONLY (orders) is a table too.
            K::RELATION_FROM_ITEM | K::PAREN_FROM_ITEM if is_table(item) => {
                let table = Table::read(item);
                let name = alias(item).unwrap_or_else(|| table.name().to_owned());
                let locked = scope.locks.cover(&name);
                let columns = self.columns_of(table, locked, scope);
                scope.sources.push(Source { name, columns });
            }
            K::PAREN_FROM_ITEM if select(item).is_some() => {
                let name = alias(item).unwrap_or_default();
                let locked = scope.locks.cover(&name);
                let outputs = select(item).map(|inner| self.read_select(&inner, scope, locked));
                let outputs = renamed(outputs.unwrap_or_default(), child(item, K::FROM_ALIAS));
                scope.sources.push(Source { name, columns: Columns::Listed(outputs) });
            }
            K::JOIN_EXPR => self.read_join(item, scope),
            K::PAREN_FROM_ITEM | K::PAREN_EXPR => self.read_from(item, scope),
            K::ON_CLAUSE => self.read_clause(item, scope),
            _ => {
                let name = alias(item).unwrap_or_default();
                scope.sources.push(Source { name, columns: Columns::Unknown });
            }
        }
    }

    /// The sources of a join. Rows that an outer join has not found are taken too, so its condition can be
    /// the reason to take a row, or not to.
    fn read_join(&mut self, join_expr: &SyntaxNode, scope: &mut Scope<'_>) {
        let first = scope.sources.len();
        for item in join_expr.children() {
            if item.kind() != K::JOIN {
                self.read_source(&item, scope);
                continue;
            }
            let second = scope.sources.len();
            let (mut is_outer, mut using) = (false, None);
            for part in item.children() {
                match part.kind() {
                    K::JOIN_LEFT | K::JOIN_RIGHT | K::JOIN_FULL => is_outer = true,
                    K::JOIN_INNER | K::JOIN_CROSS => {}
                    K::JOIN_USING_CLAUSE => using = Some(part),
                    K::ON_CLAUSE if is_outer => {
                        self.without_bounds(|rows| rows.read_clause(&part, scope));
                    }
                    _ => self.read_source(&part, scope),
                }
            }
            let (left, right) = scope.sources[first..].split_at(second - first);
            if let Some(using) = using {
                let columns = using.descendants().filter(|n| n.kind() == K::COLUMN_NAME_REF);
                columns.for_each(|column| self.join_by(&normalize_name_node(&column), left, right));
            } else if item.children_with_tokens().any(|token| token.kind() == K::NATURAL_KW) {
                self.join_naturally(left, right);
            }
        }
    }

    fn join_by(&mut self, column: &str, left: &[Source], right: &[Source]) {
        let of = |side: &[Source]| {
            side.iter().flat_map(|source| source.columns.named(column).origins).collect::<Origins>()
        };
        self.equate(&of(left), &of(right));
    }

    /// `NATURAL JOIN`: by the columns that both sides have. Of two tables, they are not known, unless both are
    /// the same.
    fn join_naturally(&mut self, left: &[Source], right: &[Source]) {
        let outputs = |side: &[Source]| -> Vec<Output> {
            side.iter().flat_map(|source| source.columns.all()).collect()
        };
        let (left_outputs, right_outputs) = (outputs(left), outputs(right));
        for output in left_outputs.iter().chain(&right_outputs).filter(|o| o.all_of.is_none()) {
            self.join_by(&output.name, left, right);
        }
        for one in left_outputs.iter().filter_map(|output| output.all_of) {
            for other in right_outputs.iter().filter_map(|output| output.all_of) {
                let [table, second] = [one, other].map(|relation| &self.relations[relation].table);
                if table.shares_rows_with(second) {
                    self.natural.push((one, other));
                }
            }
        }
    }

    /// The columns of a table or WITH query.
    fn columns_of(&mut self, table: Table, locked: bool, scope: &Scope<'_>) -> Columns {
        if let ([name], false) = (table.path.as_slice(), table.only)
            && let Some(with) = scope.ctes.get(name)
        {
            return Columns::Listed(self.read_cte(name, with, &scope.ctes));
        }
        self.relations.push(Relation { table, locked });
        Columns::Of(self.relations.len() - 1)
    }

    /// FOR UPDATE does not reach into a WITH query.
    fn read_cte(&mut self, name: &str, with: &SyntaxNode, ctes: &Ctes) -> Vec<Output> {
        if let Some((outputs, formula)) = self.ctes.get(with).cloned() {
            self.found.push(formula);
            return outputs;
        }
        // One that reads itself finds nothing.
        self.ctes.insert(with.clone(), (Vec::new(), Formula::All(Vec::new())));
        let mut ctes = ctes.clone();
        let recursive = with.parent().is_some_and(|clause| {
            clause.children_with_tokens().any(|token| token.kind() == K::RECURSIVE_KW)
        });
        if !recursive {
            ctes.remove(name);
        }
        let scope = Scope { sources: Vec::new(), outer: None, ctes, locks: Locks::default() };
        let read = |rows: &mut Self| select(with).map(|s| rows.read_select(&s, &scope, false));
        let (outputs, found) = self.gather(read);
        let outputs = renamed(outputs.unwrap_or_default(), Some(with.clone()));
        self.ctes.insert(with.clone(), (outputs.clone(), Formula::All(found.clone())));
        self.found.push(Formula::All(found));
        outputs
    }

    /// The columns of a SELECT of any form, whose conditions are noted.
    pub(super) fn read_select(
        &mut self,
        node: &SyntaxNode,
        outer: &Scope<'_>,
        locked: bool,
    ) -> Vec<Output> {
        let mut locks = Locks::of(node);
        locks.all |= locked;
        let ctes = with_ctes(node, &outer.ctes);
        let mut scope = Scope { sources: Vec::new(), outer: Some(outer), ctes, locks };
        match node.kind() {
            K::PAREN_SELECT => {
                let locked = scope.locks.all;
                select(node)
                    .map(|inner| self.read_select(&inner, &scope, locked))
                    .unwrap_or_default()
            }
            K::COMPOUND_SELECT => self.read_compound(node, &scope, locked),
            K::TABLE => match child(node, K::RELATION_NAME).map(|name| Table::read(&name)) {
                Some(table) => self.columns_of(table, locked, &scope).all(),
                None => Vec::new(),
            },
            K::SELECT | K::SELECT_INTO => {
                let (outputs, mut found) = self.gather(|rows| rows.read_clauses(node, &mut scope));
                // That a row is one of this SELECT's is a condition too.
                found.push(self.note(Origins::new(), None));
                self.found.push(Formula::All(found));
                outputs
            }
            _ => Vec::new(),
        }
    }

    fn read_clauses(&mut self, node: &SyntaxNode, scope: &mut Scope<'_>) -> Vec<Output> {
        self.levels.push(Level::default());
        let around = std::mem::replace(&mut self.level, self.levels.len() - 1);
        let negated = std::mem::take(&mut self.negated);
        for clause in node.children() {
            match clause.kind() {
                K::FROM_CLAUSE => self.read_from(&clause, scope),
                K::WHERE_CLAUSE | K::HAVING_CLAUSE => self.read_clause(&clause, scope),
                _ => {}
            }
        }
        let targets: Vec<_> = node.children().filter_map(ast::SelectClause::cast).collect();
        let targets = targets.iter().filter_map(ast::SelectClause::target_list);
        let targets: Vec<_> = targets.flat_map(|list| list.targets()).collect();
        let outputs = targets.into_iter().flat_map(|t| self.read_target(t, scope)).collect();
        (self.level, self.negated) = (around, negated);
        outputs
    }

    /// A UNION, INTERSECT or EXCEPT.
    fn read_compound(&mut self, node: &SyntaxNode, scope: &Scope<'_>, locked: bool) -> Vec<Output> {
        let (mut outputs, mut formulas) = (Vec::new(), Vec::new());
        for branch in node.children().filter(is_select) {
            let (read, found) = self.gather(|rows| rows.read_select(&branch, scope, locked));
            outputs.push(read);
            formulas.push(Formula::All(found));
        }
        let has = |kind| child(node, kind).is_some();
        if has(K::EXCEPT) {
            let first = usize::from(!formulas.is_empty());
            let excluded = formulas.split_off(first).into_iter().map(Formula::opposite);
            formulas.extend(excluded);
        }
        let is_both = has(K::EXCEPT) || has(K::INTERSECT);
        self.found.push(if is_both { Formula::All(formulas) } else { Formula::Any(formulas) });
        outputs.into_iter().reduce(united).unwrap_or_default()
    }

    fn read_target(&mut self, target: ast::Target, scope: &Scope<'_>) -> Vec<Output> {
        let expression = target.expr();
        let table = match &expression {
            Some(ast::Expr::FieldExpr(field)) if field.star_token().is_some() => {
                field.base().map(|base| last_name(base.syntax()))
            }
            _ => None,
        };
        if table.is_some() || target.star_token().is_some() {
            let all = scope
                .sources
                .iter()
                .filter(|source| table.as_ref().is_none_or(|t| *t == source.name));
            return all.flat_map(|source| source.columns.all()).collect();
        }
        let read = |rows: &mut Self| expression.map(|e| rows.origins(e.syntax(), scope));
        let (origins, found) = self.gather(read);
        let name = ColumnName::from_target(target).and_then(|(name, _)| name.to_string());
        let when = (!found.is_empty()).then_some(Formula::All(found));
        let (name, origins) = (name.unwrap_or_default(), origins.unwrap_or_default());
        vec![Output { name, origins, when, all_of: None }]
    }

    pub(super) fn equate(&mut self, left: &Origins, right: &Origins) {
        self.equal.extend(pairs(left, right));
    }
}

fn is_table(item: &SyntaxNode) -> bool {
    let only = |token: SyntaxElement| token.kind() == K::ONLY_KW;
    item.kind() == K::RELATION_FROM_ITEM || item.children_with_tokens().any(only)
}

/// Each column of one side with each of the other.
pub(super) fn pairs(left: &Origins, right: &Origins) -> Vec<(Origin, Origin)> {
    let both = left.iter().flat_map(|l| right.iter().map(move |r| (l.clone(), r.clone())));
    both.collect()
}
