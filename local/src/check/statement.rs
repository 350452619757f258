//! A query's statement as a syntax tree, by Squawk's parser of PostgreSQL's grammar.

use std::collections::BTreeMap;
use std::thread;

use squawk_syntax::ast::{self, AstNode, normalize_name_node};
use squawk_syntax::{SourceFile, SyntaxKind, SyntaxNode};

/// The parser calls itself for what is nested. A text of this length fits into the stack, however it nests.
pub(super) const LONGEST: usize = 10_000;
const STACK: usize = 256 << 20;

/// The tables of WITH clauses by their names.
pub(super) type Ctes = BTreeMap<String, SyntaxNode>;

/// Parses a text and judges its tree. `None` if the text is too long or the parser does not take it.
pub(super) fn parse<T: Send>(sql: &str, judge: impl FnOnce(&SyntaxNode) -> T + Send) -> Option<T> {
    if sql.len() > LONGEST {
        return None;
    }
    let read = || {
        let parsed = SourceFile::parse(sql);
        parsed.errors().is_empty().then(|| judge(parsed.tree().syntax()))
    };
    thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, read);
        reader.ok()?.join().ok()?
    })
}

/// A table, as a statement names it.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    /// Its name, with a schema perhaps.
    pub(super) path: Vec<String>,
    /// Whether ONLY keeps its partitions, and tables that inherit from it, out.
    pub(super) only: bool,
}

impl Table {
    /// The table that a relation's node names.
    pub(super) fn read(node: &SyntaxNode) -> Self {
        let segments = node.descendants().filter(|n| n.kind() == SyntaxKind::PATH_SEGMENT_REF);
        let only = node.descendants_with_tokens().any(|n| n.kind() == SyntaxKind::ONLY_KW);
        Self { path: segments.map(|segment| normalize_name_node(&segment)).collect(), only }
    }

    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// The name as PostgreSQL's functions take it.
    pub(super) fn quoted(&self) -> String {
        let quoted = self.path.iter().map(|part| format!("\"{}\"", part.replace('"', "\"\"")));
        quoted.collect::<Vec<_>>().join(".")
    }

    /// The schema; without one, a name is taken for one of `public`, because `search_path` is not known.
    fn schema(&self) -> &str {
        self.path.iter().rev().nth(1).map_or("public", String::as_str)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        (self.name(), self.schema()) == (other.name(), other.schema())
    }

    /// Whether both names are of one table, or of a partition and its parent by the usual name: `orders_2024`.
    pub(super) fn shares_rows_with(&self, other: &Self) -> bool {
        let is_partition = |parent: &str, name: &str| {
            let suffix = name.strip_prefix(parent).and_then(|rest| rest.strip_prefix('_'));
            suffix.is_some_and(|s| s == "default" || s.contains(|c: char| c.is_ascii_digit()))
        };
        let same_schema = self.schema() == other.schema();
        let (own, other) = (self.name(), other.name());
        same_schema && (own == other || is_partition(own, other) || is_partition(other, own))
    }
}

/// A statement that changes rows, or a WITH query that does.
#[derive(Debug)]
pub(super) struct Write {
    /// INSERT, UPDATE, DELETE or MERGE.
    pub(super) node: SyntaxNode,
    pub(super) table: Table,
    /// The name that the table's columns may have in front.
    pub(super) qualifier: String,
}

impl Write {
    /// Every write below a node.
    pub(super) fn all(root: &SyntaxNode) -> impl Iterator<Item = Self> {
        root.descendants().filter_map(Self::read)
    }

    fn read(node: SyntaxNode) -> Option<Self> {
        use SyntaxKind::{DELETE, INSERT, MERGE, UPDATE};
        use SyntaxKind::{RELATION_NAME, RELATION_NAME_REF, TABLE_RELATION_NAME};
        if !matches!(node.kind(), DELETE | INSERT | MERGE | UPDATE) {
            return None;
        }
        let is_table =
            |kind| matches!(kind, RELATION_NAME | RELATION_NAME_REF | TABLE_RELATION_NAME);
        let table = Table::read(&node.children().find(|child| is_table(child.kind()))?);
        let qualifier = alias(&node).unwrap_or_else(|| table.name().to_owned());
        Some(Self { node, table, qualifier })
    }

    /// The WITH queries that it can name.
    pub(super) fn ctes(&self) -> Ctes {
        let around: Vec<SyntaxNode> = self.node.ancestors().collect();
        around.iter().rev().fold(Ctes::new(), |ctes, node| with_ctes(node, &ctes))
    }
}

/// A child of this kind.
pub(super) fn child(node: &SyntaxNode, kind: SyntaxKind) -> Option<SyntaxNode> {
    node.children().find(|child| child.kind() == kind)
}

/// The alias of a table or sub-select.
pub(super) fn alias(node: &SyntaxNode) -> Option<String> {
    use SyntaxKind::{FROM_ALIAS, OPTIONAL_AS_ALIAS, REQUIRED_AS_ALIAS, TABLE_ALIAS};
    let is_alias = |kind| matches!(kind, FROM_ALIAS | OPTIONAL_AS_ALIAS | REQUIRED_AS_ALIAS);
    let alias = node.children().find(|child| is_alias(child.kind()))?;
    child(&alias, TABLE_ALIAS).map(|name| normalize_name_node(&name))
}

/// These WITH queries and those of a node's own WITH clause.
pub(super) fn with_ctes(node: &SyntaxNode, outer: &Ctes) -> Ctes {
    let mut ctes = outer.clone();
    for with in child(node, SyntaxKind::WITH_CLAUSE).iter().flat_map(SyntaxNode::children) {
        if let Some(name) = child(&with, SyntaxKind::CTE_NAME) {
            ctes.insert(normalize_name_node(&name), with);
        }
    }
    ctes
}

/// The sub-select that a node holds directly: of a WITH query, of parentheses, of ARRAY or ANY.
pub(super) fn select(node: &SyntaxNode) -> Option<SyntaxNode> {
    node.children().find(is_select)
}

/// The last name of `schema.table`, also between parentheses.
pub(super) fn last_name(node: &SyntaxNode) -> String {
    let last = node.descendants().filter(|node| node.kind() == SyntaxKind::NAME_REF).last();
    last.map(|name| normalize_name_node(&name)).unwrap_or_default()
}

/// Whether a node can be the name of what a call calls.
pub(super) fn is_called(node: &SyntaxNode) -> bool {
    matches!(node.kind(), SyntaxKind::NAME_REF | SyntaxKind::FIELD_EXPR)
}

/// Whether a call is of one of these functions, which are listed with spaces in between.
pub(super) fn calls(call: &SyntaxNode, functions: &str) -> bool {
    let name = call.children().next().filter(is_called).map(|name| last_name(&name));
    name.is_some_and(|name| functions.split(' ').any(|function| function == name))
}

pub(super) fn is_select(node: &SyntaxNode) -> bool {
    ast::SelectVariant::can_cast(node.kind())
}
