//! The columns, and members of JSON columns, that an expression names.

use squawk_syntax::SyntaxKind as K;
use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode, normalize_name_node};

use super::rows::Rows;
use super::scope::{Origins, Scope};
use super::statement::{child, is_select};

impl Rows {
    /// The columns that an expression names. Notes the conditions of its sub-selects, and leaves their columns
    /// out.
    pub(super) fn origins(&mut self, node: &SyntaxNode, scope: &Scope<'_>) -> Origins {
        match node.kind() {
            K::NAME_REF => scope.named(&normalize_name_node(node)),
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
            found => found.unwrap_or_default(),
        }
    }
}

/// The last name of `schema.table`, also between parentheses.
pub(super) fn last_name(node: &SyntaxNode) -> String {
    let last = node.descendants().filter(|node| node.kind() == K::NAME_REF).last();
    last.map(|name| normalize_name_node(&name)).unwrap_or_default()
}

fn is_called(node: &SyntaxNode) -> bool {
    matches!(node.kind(), K::NAME_REF | K::FIELD_EXPR)
}

/// Whether a call is of one of these functions, which are listed with spaces in between.
pub(super) fn calls(call: &SyntaxNode, functions: &str) -> bool {
    let name = call.children().next().filter(is_called).map(|name| last_name(&name));
    name.is_some_and(|name| functions.split(' ').any(|function| function == name))
}

/// The column and the member that `data->>'status'`, `data['status']` and `data ? 'status'` look at.
fn json_member(node: &SyntaxNode) -> Option<(SyntaxNode, String)> {
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
