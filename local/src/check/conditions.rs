//! WHERE, ON and HAVING: as formulas of conditions, and the columns that they compare for equality.

use squawk_syntax::SyntaxKind as K;
use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode, BinOp, PostfixOp};

use super::bound::{Bound, Test};
use super::expressions::json_member;
use super::formula::Formula;
use super::rows::{Compared, Rows, pairs};
use super::scope::{Origins, Scope, TARGET};
use super::statement::{child, is_select, select};

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

    fn all(&self) -> Origins {
        self.columns.iter().flatten().cloned().collect()
    }

    fn is_value(&self) -> bool {
        !self.is_select && self.columns.iter().all(Origins::is_empty)
    }
}

impl Rows {
    /// Finds the condition of a clause.
    pub(super) fn read_clause(&mut self, clause: &SyntaxNode, scope: &Scope<'_>) {
        let condition = clause.children().find(is_expression);
        if let Some(condition) = condition {
            let formula = self.read_condition(&condition, scope);
            self.found.push(formula);
        }
    }

    pub(super) fn read_condition(&mut self, condition: &SyntaxNode, scope: &Scope<'_>) -> Formula {
        let parts: Vec<SyntaxNode> = condition.children().filter(is_expression).collect();
        match condition.kind() {
            K::PAREN_EXPR if parts.len() == 1 && !is_select(&parts[0]) => {
                self.read_condition(&parts[0], scope)
            }
            K::PREFIX_EXPR if parts.len() == 1 && starts_with(condition, K::NOT_KW) => {
                self.read_opposite(&parts[0], scope)
            }
            K::BETWEEN_EXPR if parts.len() == 3 => self.read_between(condition, &parts, scope),
            K::CASE_EXPR => self.read_case(condition, scope),
            K::POSTFIX_EXPR if parts.len() == 1 => {
                let operator = ast::PostfixExpr::cast(condition.clone()).and_then(|e| e.op());
                let test = match operator {
                    Some(PostfixOp::IsNull(_)) => Some(Test::Null),
                    Some(PostfixOp::NotNull(_)) => Some(Test::NotNull),
                    _ => None,
                };
                self.read_test(&parts[0], test, None, scope)
            }
            // coalesce(id IN (…), false)
            K::CALL_EXPR if child(condition, K::OVER_CLAUSE).is_none() => {
                let arguments = child(condition, K::ARG_LIST);
                let arguments = arguments.iter().flat_map(SyntaxNode::descendants);
                let is_compared = |n: &SyntaxNode| n.kind() == K::BIN_EXPR && !is_column(n);
                let arguments = arguments.filter(|n| n.kind() == K::ARG);
                let compared: Vec<SyntaxNode> =
                    arguments.flat_map(|n| n.children()).filter(is_compared).collect();
                let formulas = compared.iter().map(|part| self.read_condition(part, scope));
                let mut formulas: Vec<Formula> = formulas.collect();
                if formulas.is_empty() {
                    formulas.push(self.read_test(condition, None, None, scope));
                }
                Formula::All(formulas)
            }
            K::BIN_EXPR => match ast::BinExpr::cast(condition.clone()) {
                Some(comparison) => self.read_comparison(&comparison, scope),
                None => Formula::All(Vec::new()),
            },
            _ => self.read_test(condition, None, None, scope),
        }
    }

    fn read_opposite(&mut self, condition: &SyntaxNode, scope: &Scope<'_>) -> Formula {
        self.negated ^= true;
        let formula = self.read_condition(condition, scope);
        self.negated ^= true;
        formula.opposite()
    }

    /// An expression of its own, or beside a limit.
    fn read_test(
        &mut self,
        node: &SyntaxNode,
        test: Option<Test>,
        limit: Option<&SyntaxNode>,
        scope: &Scope<'_>,
    ) -> Formula {
        let (mut columns, mut found) = self.gather(|rows| rows.origins(node, scope));
        let bound = test.filter(|_| is_column(node)).map(|test| Bound::new(test, limit));
        if let Some(limit) = limit {
            let (others, more) =
                self.gather(|rows| rows.without_bounds(|rows| rows.origins(limit, scope)));
            found.extend(more);
            columns.extend(others);
        }
        found.push(self.note(columns, bound));
        Formula::All(found)
    }

    fn read_between(
        &mut self,
        between: &SyntaxNode,
        parts: &[SyntaxNode],
        scope: &Scope<'_>,
    ) -> Formula {
        let has = |kind| between.children_with_tokens().any(|token| token.kind() == kind);
        let tests =
            if has(K::SYMMETRIC_KW) { [None; 2] } else { [Test::Above, Test::Below].map(Some) };
        let limits = tests.into_iter().zip(&parts[1..]);
        let formulas =
            limits.map(|(test, limit)| self.read_test(&parts[0], test, Some(limit), scope));
        let formula = Formula::All(formulas.collect());
        if has(K::NOT_KW) { formula.opposite() } else { formula }
    }

    /// A CASE whose results are conditions: one of them is reached.
    fn read_case(&mut self, case: &SyntaxNode, scope: &Scope<'_>) -> Formula {
        let (mut ways, mut before) = (Vec::new(), Vec::new());
        for (condition, result) in self.read_whens(case, scope) {
            let reached = [&before[..], std::slice::from_ref(&condition)].concat();
            before.push(condition.opposite());
            ways.extend(self.result_of(&result, reached, scope));
        }
        if let Some(result) = child(case, K::ELSE_CLAUSE).and_then(|e| e.children().next()) {
            ways.extend(self.result_of(&result, before, scope));
        }
        Formula::Any(ways)
    }

    fn result_of(
        &mut self,
        result: &SyntaxNode,
        mut reached: Vec<Formula>,
        scope: &Scope<'_>,
    ) -> Option<Formula> {
        let is_never = result.kind() == K::LITERAL
            && (starts_with(result, K::FALSE_KW) || starts_with(result, K::NULL_KW));
        if is_never {
            return None;
        }
        reached.push(self.read_condition(result, scope));
        Some(Formula::All(reached))
    }

    /// The conditions of a CASE with their results.
    pub(super) fn read_whens(
        &mut self,
        case: &SyntaxNode,
        scope: &Scope<'_>,
    ) -> Vec<(Formula, SyntaxNode)> {
        let operand = case.children().find(is_expression);
        let list = child(case, K::WHEN_CLAUSE_LIST);
        let mut whens = Vec::new();
        for when in list.iter().flat_map(SyntaxNode::children) {
            let parts: Vec<SyntaxNode> = when.children().filter(is_expression).collect();
            let [condition, result] = parts.as_slice() else { continue };
            let formula = match &operand {
                Some(operand) => self.read_test(operand, Some(Test::Equal), Some(condition), scope),
                None => self.read_condition(condition, scope),
            };
            whens.push((formula, result.clone()));
        }
        whens
    }

    fn read_comparison(&mut self, comparison: &ast::BinExpr, scope: &Scope<'_>) -> Formula {
        let (Some(left), Some(right)) = (comparison.lhs(), comparison.rhs()) else {
            return Formula::All(Vec::new());
        };
        let (left, right) = (left.syntax(), right.syntax());
        let is_all = |node: &SyntaxNode| node.children().any(|part| part.kind() == K::ALL_FN);
        match comparison.op() {
            Some(BinOp::And(_)) => {
                Formula::All([left, right].map(|side| self.read_condition(side, scope)).into())
            }
            Some(BinOp::Or(_)) => {
                Formula::Any([left, right].map(|side| self.read_condition(side, scope)).into())
            }
            Some(BinOp::Is(_)) => self.read_is(left, right, false, scope),
            Some(BinOp::IsNot(_)) => self.read_is(left, right, true, scope),
            Some(BinOp::Eq(_) | BinOp::In(_) | BinOp::IsNotDistinctFrom(_)) => {
                self.read_equality(left, right, scope)
            }
            Some(BinOp::NotIn(_)) => self.read_inequality(left, right, scope),
            Some(BinOp::Neq(_) | BinOp::Neqb(_)) if is_all(right) => {
                self.read_inequality(left, right, scope)
            }
            operator => self.read_order(comparison, operator.as_ref(), scope),
        }
    }

    /// IS TRUE, IS NOT NULL and their like.
    fn read_is(
        &mut self,
        left: &SyntaxNode,
        right: &SyntaxNode,
        is_not: bool,
        scope: &Scope<'_>,
    ) -> Formula {
        let is = |kind| starts_with(right, kind);
        if is(K::NULL_KW) {
            let test = if is_not { Test::NotNull } else { Test::Null };
            return self.read_test(left, Some(test), None, scope);
        }
        match (is(K::TRUE_KW), is(K::FALSE_KW)) {
            (true, _) if !is_not => self.read_condition(left, scope),
            (_, true) if is_not => self.read_condition(left, scope),
            (true, _) | (_, true) => self.read_opposite(left, scope),
            _ => self.read_test(left, None, Some(right), scope),
        }
    }

    fn read_inequality(
        &mut self,
        left: &SyntaxNode,
        right: &SyntaxNode,
        scope: &Scope<'_>,
    ) -> Formula {
        self.negated ^= true;
        let formula = self.read_equality(left, right, scope);
        self.negated ^= true;
        formula.opposite()
    }

    fn read_equality(
        &mut self,
        left: &SyntaxNode,
        right: &SyntaxNode,
        scope: &Scope<'_>,
    ) -> Formula {
        let read = |rows: &mut Self| [left, right].map(|node| rows.side(node, scope));
        let first = self.conditions.len();
        let ([one, other], mut found) = self.gather(read);
        let sides = [(&one, &other, left, right), (&other, &one, right, left)];
        // (SELECT count(*) …) = 0
        if sides.iter().any(|(side, beside, ..)| side.is_select && beside.is_value()) {
            self.conditions[first..].iter_mut().for_each(|condition| condition.bound = None);
        }
        let beside_value =
            sides.iter().find(|(_, beside, node, _)| beside.is_value() && is_column(node));
        let bound = beside_value.map(|(.., limit)| Bound::new(Test::Equal, Some(limit)));
        if self.negated {
            // A row is other than each of these, and not than the first or last of each group.
            let is_plain =
                |node: &SyntaxNode| !node.descendants().any(|n| n.kind() == K::GROUP_BY_CLAUSE);
            if (one.is_select || other.is_select) && is_plain(left) && is_plain(right) {
                self.equate_sides(&one, &other);
            }
            let columns = one.all().into_iter().chain(other.all()).collect();
            found.push(self.note(columns, bound));
        } else {
            self.compare_addresses(&one, &other);
            self.equate_sides(&one, &other);
            let columns = compared(&one, &other);
            found.push(self.note(columns, bound));
        }
        Formula::All(found)
    }

    /// Notes how the two parts of the target's address are compared.
    fn compare_addresses(&mut self, left: &Side, right: &Side) {
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
    }

    fn equate_sides(&mut self, left: &Side, right: &Side) {
        if left.columns.len() == right.columns.len() {
            left.columns.iter().zip(&right.columns).for_each(|(l, r)| self.equate(l, r));
        } else {
            self.equate(&left.all(), &right.all());
        }
    }

    /// Any other operator.
    fn read_order(
        &mut self,
        comparison: &ast::BinExpr,
        operator: Option<&BinOp>,
        scope: &Scope<'_>,
    ) -> Formula {
        let whole = comparison.syntax();
        let (Some(left), Some(right)) = (comparison.lhs(), comparison.rhs()) else {
            return Formula::All(Vec::new());
        };
        let test = match operator {
            Some(BinOp::LAngle(_) | BinOp::Lteq(_)) => Test::Below,
            Some(BinOp::RAngle(_) | BinOp::Gteq(_)) => Test::Above,
            Some(BinOp::Neq(_) | BinOp::Neqb(_) | BinOp::IsDistinctFrom(_)) => Test::Differs,
            _ => return self.read_test(whole, None, None, scope),
        };
        let read = |rows: &mut Self| {
            [&left, &right]
                .map(|side| rows.without_bounds(|rows| rows.origins(side.syntax(), scope)))
        };
        let ([one, other], mut found) = self.gather(read);
        if !matches!(operator, Some(BinOp::Lteq(_) | BinOp::Gteq(_))) {
            self.unequal.extend(pairs(&one, &other));
        }
        let bound = match (is_column(left.syntax()), is_column(right.syntax())) {
            (true, _) if other.is_empty() => Some(Bound::new(test, Some(right.syntax()))),
            (_, true) if one.is_empty() => Some(Bound::new(test.turned(), Some(left.syntax()))),
            _ => None,
        };
        found.push(self.note(one.into_iter().chain(other).collect(), bound));
        Formula::All(found)
    }

    /// One side of a comparison, by its columns: a row, a sub-select, ANY of an array, or one expression.
    fn side(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Side {
        if is_select(node) {
            let outputs = self.read_select(node, scope, false);
            self.found.extend(outputs.iter().filter_map(|output| output.when.clone()));
            let columns = outputs.into_iter().map(|output| output.origins).collect();
            return Side { columns, is_select: true };
        }
        let is_call = node.kind() == K::CALL_EXPR;
        let unwrapped = match node.kind() {
            K::PAREN_EXPR
            | K::CAST_EXPR
            | K::ANY_FN
            | K::SOME_FN
            | K::ALL_FN
            | K::CALL_EXPR
            | K::ARRAY_EXPR => {
                let is_list = |kind| matches!(kind, K::ANY_FN | K::SOME_FN | K::ALL_FN);
                let mut parts =
                    node.children().filter(|part| is_list(part.kind()) || is_expression(part));
                parts.next().filter(|part| !is_call || !ast::Expr::can_cast(part.kind()))
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

/// The columns that an equality names. A join is no condition of either table; the target's columns in it are
/// checked again.
fn compared(left: &Side, right: &Side) -> Origins {
    let sides = [left, right];
    let is_join = sides.iter().all(|s| !s.is_select && s.columns.iter().all(|c| !c.is_empty()));
    let named = sides.into_iter().filter(|side| !side.is_select).flat_map(Side::all);
    named.filter(|(relation, _)| !is_join || *relation == TARGET).collect()
}

fn is_expression(node: &SyntaxNode) -> bool {
    ast::Expr::can_cast(node.kind()) || is_select(node)
}

fn starts_with(node: &SyntaxNode, kind: K) -> bool {
    node.first_token().is_some_and(|token| token.kind() == kind)
}

/// Whether an expression is a column as it is, or a member of one.
fn is_column(node: &SyntaxNode) -> bool {
    match node.kind() {
        K::NAME_REF | K::FIELD_EXPR => true,
        K::PAREN_EXPR | K::CAST_EXPR => {
            select(node).is_none() && node.children().next().is_some_and(|inner| is_column(&inner))
        }
        K::BIN_EXPR | K::INDEX_EXPR => json_member(node).is_some(),
        _ => false,
    }
}
