//! The rows that a write picks: which tables they are read from, by which columns they are found again, and
//! which columns its conditions name.
//!
//! Every column leads back to the table that it is read from, through aliases, sub-selects and WITH queries.

use std::collections::HashMap;

use squawk_syntax::SyntaxKind as K;
use squawk_syntax::ast::{self, AstNode, BinOp, normalize_name_node};
use squawk_syntax::column_name::ColumnName;
use squawk_syntax::{SyntaxElement, SyntaxNode};

use super::expressions::last_name;
use super::scope::{
    Columns, Locks, Origin, Origins, Output, Scope, Source, TARGET, renamed, united,
};
use super::statement::{Ctes, Table, Write, alias, child, is_select, select, with_ctes};

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

/// All that the conditions of a write say.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) relations: Vec<Relation>,
    /// The columns that conditions name.
    pub(super) conditions: Origins,
    pub(super) equal: Vec<(Origin, Origin)>,
    pub(super) unequal: Vec<(Origin, Origin)>,
    pub(super) levels: Vec<Level>,
    /// The addresses that the target's are compared with.
    pub(super) addresses: Origins,
    level: usize,
    negated: bool,
    ctes: HashMap<SyntaxNode, Vec<Output>>,
}

/// One side of a comparison.
#[derive(Debug)]
struct Side {
    columns: Vec<Origins>,
    is_select: bool,
}

impl Side {
    fn names(&self, column: &str) -> bool {
        let column = (TARGET, column.to_owned());
        !self.is_select && self.columns.iter().any(|origins| origins.contains(&column))
    }
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
                _ => {
                    let condition = child(&clause, K::MERGE_CONDITION);
                    condition.iter().for_each(|condition| rows.read_clause(condition, &scope));
                }
            }
        }
        rows
    }

    /// Adds the sources of a FROM or USING, and the conditions of its joins.
    fn read_from(&mut self, from: &SyntaxNode, scope: &mut Scope<'_>) {
        for item in from.children() {
            match item.kind() {
                // ONLY (orders) is a table too.
                K::RELATION_FROM_ITEM | K::PAREN_FROM_ITEM if is_table(&item) => {
                    let table = Table::read(&item);
                    let name = alias(&item).unwrap_or_else(|| table.name().to_owned());
                    let locked = scope.locks.cover(&name);
                    let columns = self.columns_of(table, locked, scope);
                    scope.sources.push(Source { name, columns });
                }
                K::PAREN_FROM_ITEM if select(&item).is_some() => {
                    let name = alias(&item).unwrap_or_default();
                    let locked = scope.locks.cover(&name);
                    let outputs =
                        select(&item).map(|inner| self.read_select(&inner, scope, locked));
                    let outputs = renamed(outputs.unwrap_or_default(), child(&item, K::FROM_ALIAS));
                    scope.sources.push(Source { name, columns: Columns::Listed(outputs) });
                }
                K::PAREN_FROM_ITEM | K::PAREN_EXPR | K::JOIN_EXPR | K::JOIN => {
                    self.read_from(&item, scope);
                }
                K::ON_CLAUSE => self.read_clause(&item, scope),
                K::JOIN_USING_CLAUSE => self.read_join(&item, scope),
                _ => {
                    let name = alias(&item).unwrap_or_default();
                    scope.sources.push(Source { name, columns: Columns::Unknown });
                }
            }
        }
    }

    /// `JOIN … USING (column)`: the last source has it, and one of those before.
    fn read_join(&mut self, using: &SyntaxNode, scope: &Scope<'_>) {
        let Some((last, before)) = scope.sources.split_last() else { return };
        for column in using.descendants().filter(|node| node.kind() == K::COLUMN_NAME_REF) {
            let column = normalize_name_node(&column);
            let right = last.columns.named(&column);
            let left = before.iter().flat_map(|source| source.columns.named(&column));
            self.equate(&left.collect(), &right);
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
        if let Some(known) = self.ctes.get(with) {
            return known.clone();
        }
        // One that reads itself finds nothing.
        self.ctes.insert(with.clone(), Vec::new());
        let mut ctes = ctes.clone();
        let recursive = with.parent().is_some_and(|clause| {
            clause.children_with_tokens().any(|token| token.kind() == K::RECURSIVE_KW)
        });
        if !recursive {
            ctes.remove(name);
        }
        let scope = Scope { sources: Vec::new(), outer: None, ctes, locks: Locks::default() };
        let outputs = select(with).map(|inner| self.read_select(&inner, &scope, false));
        let outputs = renamed(outputs.unwrap_or_default(), Some(with.clone()));
        self.ctes.insert(with.clone(), outputs.clone());
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
            K::COMPOUND_SELECT => {
                let branches = node.children().filter(is_select);
                let branches = branches.map(|branch| self.read_select(&branch, &scope, locked));
                branches.reduce(united).unwrap_or_default()
            }
            K::TABLE => match child(node, K::RELATION_NAME).map(|name| Table::read(&name)) {
                Some(table) => self.columns_of(table, locked, &scope).all(),
                None => Vec::new(),
            },
            K::SELECT | K::SELECT_INTO => {
                self.levels.push(Level::default());
                let around = std::mem::replace(&mut self.level, self.levels.len() - 1);
                for clause in node.children() {
                    match clause.kind() {
                        K::FROM_CLAUSE => self.read_from(&clause, &mut scope),
                        K::WHERE_CLAUSE | K::HAVING_CLAUSE => self.read_clause(&clause, &scope),
                        _ => {}
                    }
                }
                let targets: Vec<_> = node.children().filter_map(ast::SelectClause::cast).collect();
                let targets = targets.iter().filter_map(ast::SelectClause::target_list);
                let targets: Vec<_> = targets.flat_map(|list| list.targets()).collect();
                let outputs =
                    targets.into_iter().flat_map(|t| self.read_target(t, &scope)).collect();
                self.level = around;
                outputs
            }
            _ => Vec::new(),
        }
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
        let origins = expression.map(|expression| self.origins(expression.syntax(), scope));
        let name = ColumnName::from_target(target).and_then(|(name, _)| name.to_string());
        let (name, origins) = (name.unwrap_or_default(), origins.unwrap_or_default());
        vec![Output { name, origins, all_of: None }]
    }

    fn read_clause(&mut self, clause: &SyntaxNode, scope: &Scope<'_>) {
        let condition = clause.children().find(|child| ast::Expr::can_cast(child.kind()));
        condition.iter().for_each(|condition| self.read_condition(condition, scope));
    }

    fn read_condition(&mut self, condition: &SyntaxNode, scope: &Scope<'_>) {
        let parts: Vec<SyntaxNode> = condition.children().collect();
        match condition.kind() {
            K::PAREN_EXPR if parts.len() == 1 && !is_select(&parts[0]) => {
                self.read_condition(&parts[0], scope);
            }
            K::PREFIX_EXPR => {
                let not = condition.first_token().is_some_and(|token| token.kind() == K::NOT_KW);
                self.negated ^= not;
                parts.iter().for_each(|part| self.read_condition(part, scope));
                self.negated ^= not;
            }
            K::BIN_EXPR => {
                if let Some(comparison) = ast::BinExpr::cast(condition.clone()) {
                    self.read_comparison(&comparison, scope);
                }
            }
            _ => {
                let named = self.origins(condition, scope);
                self.conditions.extend(named);
            }
        }
    }

    fn read_comparison(&mut self, comparison: &ast::BinExpr, scope: &Scope<'_>) {
        let (Some(left), Some(right)) = (comparison.lhs(), comparison.rhs()) else { return };
        let (left, right) = (left.syntax(), right.syntax());
        let is_true = right.first_token().is_some_and(|token| token.kind() == K::TRUE_KW);
        match comparison.op() {
            Some(BinOp::And(_) | BinOp::Or(_)) => {
                self.read_condition(left, scope);
                self.read_condition(right, scope);
            }
            Some(BinOp::Is(_)) if is_true => self.read_condition(left, scope),
            Some(BinOp::Eq(_) | BinOp::In(_) | BinOp::IsNotDistinctFrom(_)) => {
                let (left, right) = (self.side(left, scope), self.side(right, scope));
                self.compare(&left, &right);
            }
            operator => {
                let (left, right) = (self.origins(left, scope), self.origins(right, scope));
                let differ = matches!(
                    operator,
                    Some(BinOp::LAngle(_) | BinOp::RAngle(_) | BinOp::Neq(_) | BinOp::Neqb(_))
                );
                if differ {
                    self.unequal.extend(pairs(&left, &right));
                }
                let whole = self.origins(comparison.syntax(), scope);
                self.conditions.extend(whole);
            }
        }
    }

    /// Notes that two sides are compared for equality.
    fn compare(&mut self, left: &Side, right: &Side) {
        if self.negated {
            self.conditions.extend(left.columns.iter().chain(&right.columns).flatten().cloned());
            return;
        }
        for (side, other) in [(left, right), (right, left)] {
            let with = if other.is_select { Compared::Select } else { Compared::Value };
            let level = &mut self.levels[self.level];
            if side.names("ctid") {
                level.ctid = level.ctid.max(Some(with));
                level.together |= side.names("tableoid");
                let addresses = other.columns.iter().flatten();
                self.addresses.extend(addresses.filter(|(_, column)| column == "ctid").cloned());
            } else if side.names("tableoid") {
                level.tableoid = level.tableoid.max(Some(with));
            }
        }
        if left.columns.len() == right.columns.len() {
            left.columns.iter().zip(&right.columns).for_each(|(l, r)| self.equate(l, r));
        } else {
            let all = |side: &Side| side.columns.iter().flatten().cloned().collect();
            self.equate(&all(left), &all(right));
        }
        // A join is no condition of either table; what it names of the target is checked again.
        let is_join =
            [left, right].iter().all(|s| !s.is_select && s.columns.iter().all(|c| !c.is_empty()));
        let named =
            [left, right].into_iter().filter(|side| !side.is_select).flat_map(|s| &s.columns);
        let named = named.flatten().filter(|(relation, _)| !is_join || *relation == TARGET);
        self.conditions.extend(named.cloned());
    }

    fn equate(&mut self, left: &Origins, right: &Origins) {
        self.equal.extend(pairs(left, right));
    }

    /// One side of a comparison, by its columns: a row, a sub-select, ANY of an array, or one expression.
    fn side(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Side {
        if is_select(node) {
            let outputs = self.read_select(node, scope, false);
            let columns = outputs.into_iter().map(|output| output.origins).collect();
            return Side { columns, is_select: true };
        }
        let unwrapped = match node.kind() {
            K::PAREN_EXPR
            | K::CAST_EXPR
            | K::ANY_FN
            | K::SOME_FN
            | K::CALL_EXPR
            | K::ARRAY_EXPR => {
                let mut parts = node.children().filter(|part| {
                    let kind = part.kind();
                    matches!(kind, K::ANY_FN | K::SOME_FN)
                        || is_select(part)
                        || ast::Expr::can_cast(kind)
                });
                parts
                    .next()
                    .filter(|part| node.kind() != K::CALL_EXPR || !ast::Expr::can_cast(part.kind()))
            }
            _ => None,
        };
        if let Some(inner) = unwrapped {
            return self.side(&inner, scope);
        }
        let columns = match node.kind() {
            K::TUPLE_EXPR => node.children().map(|part| self.origins(&part, scope)).collect(),
            _ => vec![self.origins(node, scope)],
        };
        Side { columns, is_select: false }
    }
}

fn is_table(item: &SyntaxNode) -> bool {
    let only = |token: SyntaxElement| token.kind() == K::ONLY_KW;
    item.kind() == K::RELATION_FROM_ITEM || item.children_with_tokens().any(only)
}

fn pairs(left: &Origins, right: &Origins) -> Vec<(Origin, Origin)> {
    let both = left.iter().flat_map(|l| right.iter().map(move |r| (l.clone(), r.clone())));
    both.collect()
}
