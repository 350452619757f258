//! Statements that affect rows each time, and so never end a step that is repeated until no rows are left.

use rds_iam::query::Query;
use rds_iam::{Error, ErrorKind};
use squawk_syntax::SyntaxKind as K;
use squawk_syntax::SyntaxNode;
use squawk_syntax::ast::{self, AstNode};

use super::statement::{Ctes, Table, Write, calls, child, is_select, select, with_ctes};

/// Aggregates of PostgreSQL that give one row for no rows.
const AGGREGATES: &str = "any_value array_agg avg bit_and bit_or bool_and bool_or count every json_agg \
    json_object_agg jsonb_agg jsonb_object_agg max min mode percentile_cont percentile_disc stddev string_agg \
    sum variance";
/// Functions that always give one row.
const PLAIN: &str = "coalesce greatest least nullif now clock_timestamp";

pub(super) fn check(query: &Query, root: &SyntaxNode) -> Option<Error> {
    if query.repeat.as_ref().is_none_or(|repeat| repeat.max_chunks.is_some()) {
        return None;
    }
    let statement = root.children().find(|node| ast::Stmt::can_cast(node.kind()))?;
    let verb = affects_a_row(&statement, Write::all(root).count())?;
    let what = format!("query {} would be repeated for ever", query.name);
    let error = Error::new(ErrorKind::QueryInvalid, what).because(format!(
        "its repeat ends with a chunk of no rows, and its {verb} also when there was nothing to do"
    ));
    Some(error.remedy("Let the statement count the rows that it works on: a plain DELETE, or SELECT … FROM the WITH query without an aggregate; or set max_chunks"))
}

/// How a statement affects a row each time; `None` if it may affect none.
fn affects_a_row(statement: &SyntaxNode, writes: usize) -> Option<&'static str> {
    let ctes = Ctes::new();
    let has = |kind| child(statement, kind).is_some();
    match statement.kind() {
        // Of a view that chooses the rows, an UPDATE without WHERE may affect none. A counter beside the work
        // is no such view.
        K::UPDATE if writes > 1 && !has(K::WHERE_CLAUSE) && !has(K::FROM_CLAUSE) => {
            Some("UPDATE changes a row")
        }
        K::INSERT if !has(K::ON_CONFLICT_CLAUSE) => {
            let ctes = with_ctes(statement, &ctes);
            let adds =
                has(K::DEFAULT_VALUES) || select(statement).is_some_and(|s| gives_a_row(&s, &ctes));
            adds.then_some("INSERT adds a row")
        }
        _ if is_select(statement) => gives_a_row(statement, &ctes).then_some("SELECT gives a row"),
        _ => None,
    }
}

/// Whether a SELECT or VALUES gives at least one row, whatever the tables hold.
fn gives_a_row(node: &SyntaxNode, outer: &Ctes) -> bool {
    let ctes = with_ctes(node, outer);
    let has = |kind| child(node, kind).is_some();
    if has(K::OFFSET_CLAUSE) {
        return false;
    }
    match node.kind() {
        K::VALUES => true,
        K::PAREN_SELECT => select(node).is_some_and(|inner| gives_a_row(&inner, &ctes)),
        K::TABLE => reads_a_row(node, &ctes),
        K::SELECT if has(K::GROUP_BY_CLAUSE) || has(K::HAVING_CLAUSE) => false,
        K::SELECT => {
            let Some(list) = child(node, K::SELECT_CLAUSE) else { return false };
            if calls_any(&list, &|call| calls(call, AGGREGATES)) {
                return true;
            }
            match child(node, K::FROM_CLAUSE) {
                _ if has(K::WHERE_CLAUSE) => false,
                // A function that is not known may return no row, or many.
                None => !calls_any(&list, &|call| !calls(call, PLAIN)),
                Some(from) => from.children().count() == 1 && reads_a_row(&from, &ctes),
            }
        }
        _ => false,
    }
}

/// Whether what stands here is a sub-select or WITH query that gives a row.
fn reads_a_row(from: &SyntaxNode, ctes: &Ctes) -> bool {
    let Some(source) = from.children().find(|child| child.kind() != K::WITH_CLAUSE) else {
        return false;
    };
    if let Some(inner) = select(&source) {
        return gives_a_row(&inner, ctes);
    }
    let name = Table::read(&source).path;
    let [name] = name.as_slice() else { return false };
    let mut around = ctes.clone();
    // A WITH query that reads itself is not followed.
    let inner = around.remove(name).and_then(|with| select(&with));
    inner.is_some_and(|inner| gives_a_row(&inner, &around))
}

/// Whether a select list has such a call outside of its sub-selects and windows.
fn calls_any(list: &SyntaxNode, is_wanted: &impl Fn(&SyntaxNode) -> bool) -> bool {
    list.children().filter(|child| !is_select(child)).any(|child| {
        let is_call = child.kind() == K::CALL_EXPR;
        let is_window = is_call && child.children().any(|part| part.kind() == K::OVER_CLAUSE);
        (is_call && !is_window && is_wanted(&child)) || calls_any(&child, is_wanted)
    })
}
