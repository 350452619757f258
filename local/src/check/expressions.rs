//! The columns, and members of JSON columns, that an expression names.

use squawk_syntax::SyntaxKind as K;
use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode, normalize_name_node};

use super::formula::Formula;
use super::rows::Rows;
use super::scope::{Origins, Output, Scope};
use super::statement::{calls, child, is_called, is_select, last_name};

impl Rows {
    /// The columns that an expression names. Notes the conditions of its sub-selects, of CASE and of FILTER,
    /// and leaves their columns out.
    pub(super) fn origins(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Origins {
        match node.kind() {
            K::NAME_REF => self.use_output(scope.named(&normalize_name_node(node))),
            K::CASE_EXPR => self.case_origins(node, scope),
            K::FILTER_CLAUSE => {
                self.read_clause(node, scope);
                Origins::new()
            }
            K::FIELD_EXPR => match ast::FieldExpr::cast(node.clone()) {
                Some(field) => self.field(&field, scope),
                None => Origins::new(),
            },
            K::BIN_EXPR | K::INDEX_EXPR if json_member(node).is_some() => {
                let (base, member) = json_member(node).unzip();
                let base = base.map(|base| self.origins(&base, scope)).unwrap_or_default();
                let member = member.unwrap_or_default();
                base.into_iter().map(|(of, column)| (of, member_of(&column, &member))).collect()
            }
            // Of a window, no single row decides; and of a count, no column's value.
            K::CALL_EXPR if child(node, K::OVER_CLAUSE).is_some() || calls(node, "count") => {
                Origins::new()
            }
            K::CALL_EXPR if calls(node, "to_jsonb to_json row_to_json") => {
                let argument = node.descendants().filter(|n| n.kind() == K::NAME_REF).nth(1);
                let row = argument.and_then(|row| scope.row(&normalize_name_node(&row)));
                row.into_iter().map(|relation| (relation, String::new())).collect()
            }
            _ if is_select(node) => {
                self.read_select(node, scope, false);
                Origins::new()
            }
            kind if ast::Type::can_cast(kind) => Origins::new(),
            kind => {
                let is_name = |at: usize| at == 0 && kind == K::CALL_EXPR;
                let parts: Vec<SyntaxNode> = node.children().collect();
                let parts = parts.iter().enumerate();
                let parts = parts.filter(|(at, part)| !is_name(*at) || !is_called(part));
                parts.flat_map(|(_, part)| self.origins(part, scope)).collect()
            }
        }
    }

    /// `table.column`, or a part of a column: `(address).city`.
    fn field(&mut self, field: &ast::FieldExpr, scope: &Scope<'_>) -> Origins {
        let (Some(base), Some(name)) = (field.base(), field.field()) else { return Origins::new() };
        let (qualifier, name) = (last_name(base.syntax()), normalize_name_node(name.syntax()));
        match scope.qualified(&qualifier, &name) {
            None if base.syntax().kind() == K::PAREN_EXPR => self.origins(base.syntax(), scope),
            found => self.use_output(found.unwrap_or_default()),
        }
    }

    fn use_output(&mut self, output: Output) -> Origins {
        self.found.extend(output.when);
        output.origins
    }

    /// The columns of the results of a CASE. If it is NULL otherwise, one of its conditions is met where it is
    /// found again.
    fn case_origins(&mut self, case: &SyntaxNode, scope: &Scope<'_>) -> Origins {
        let (mut origins, mut conditions) = (Origins::new(), Vec::new());
        for (condition, result) in self.read_whens(case, scope) {
            conditions.push(condition);
            origins.extend(self.origins(&result, scope));
        }
        let otherwise = child(case, K::ELSE_CLAUSE).map(|node| self.origins(&node, scope));
        if otherwise.as_ref().is_none_or(Origins::is_empty) {
            self.found.push(Formula::Any(conditions));
        }
        origins.extend(otherwise.into_iter().flatten());
        origins
    }
}

/// The column and the member that `data->>'status'`, `data['status']` and `data ? 'status'` look at.
pub(super) fn json_member(node: &SyntaxNode) -> Option<(SyntaxNode, String)> {
    let mut parts = node.children();
    let base = parts.next()?;
    if node.kind() == K::INDEX_EXPR {
        return Some((base, format!("->{}", parts.next()?.text())));
    }
    let operator = parts.next().filter(|part| part.kind() == K::CUSTOM_OP)?.text().to_string();
    let is_json = ["->", "#>", "@", "?", "<@"].iter().any(|start| operator.starts_with(start));
    let right = parts.next()?;
    let is_fixed = right.descendants().all(|node| node.kind() != K::NAME_REF);
    let text = right.text().to_string().replace("->>", "->");
    (is_json && is_fixed).then(|| (base, format!("{}{text}", operator.replace(">>", ">"))))
}

/// A member of a column; a row's member is its column.
fn member_of(column: &str, member: &str) -> String {
    match column {
        "" => member.trim_matches(|c| matches!(c, '-' | '>' | '\'')).to_owned(),
        _ => format!("{column}{member}"),
    }
}
