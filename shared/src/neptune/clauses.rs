//! The clauses of an openCypher statement that change data.
//!
//! `CREATE` and `SET` may also be labels, types, property names, map keys, aliases and variables. The
//! place of a word tells them apart: a clause stands where an expression is complete, and an expression
//! follows it. A word whose place is unclear counts as a clause: a refused read is better than a write
//! that was taken for one.

use super::Language;
use super::tokens::{Kind, Token, tokens};

/// The clauses that change data.
const WRITING: [&str; 5] = ["CREATE", "MERGE", "SET", "DELETE", "REMOVE"];
/// Keywords that an expression, a pattern or a name follows.
const BEFORE_OPERANDS: [&str; 15] = [
    "RETURN", "WITH", "WHERE", "AND", "OR", "XOR", "IN", "BY", "UNWIND", "LIMIT", "SKIP",
    "CONTAINS", "YIELD", "MATCH", "CALL",
];
/// Keywords that begin or continue an expression.
const IN_OPERANDS: [&str; 6] = ["NOT", "DISTINCT", "CASE", "WHEN", "THEN", "ELSE"];

/// The elements that may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// A keyword: an expression is complete.
    Keyword,
    /// An expression.
    Operand,
    /// A name, even if it is spelled as a keyword.
    Name,
}

/// The first clause that changes data.
pub(super) fn writing_clause(statement: &str) -> Option<&str> {
    let tokens = tokens(statement, Language::Cypher);
    let mut next = Next::Keyword;
    // Whether each open parenthesis is that of FOREACH, in which clauses follow the bar.
    let mut brackets = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| &tokens[before]);
        next = match (token.kind, next) {
            (Kind::Mark, _) => {
                let of_foreach = before.is_some_and(|word| is_one_of(word, &["FOREACH"]));
                match token.text {
                    "(" | "[" | "{" => brackets.push(of_foreach),
                    ")" | "]" | "}" => drop(brackets.pop()),
                    _ => {}
                }
                let in_foreach = brackets.last() == Some(&true);
                after_mark(token.text, next, before, in_foreach)
            }
            (Kind::Word, Next::Keyword) => {
                if is_one_of(token, &WRITING) && may_follow_clause(tokens.get(index + 1)) {
                    return Some(token.text);
                }
                after_keyword(token)
            }
            (Kind::Word, Next::Operand) if is_one_of(token, &IN_OPERANDS) => Next::Operand,
            _ => Next::Keyword,
        };
    }
    None
}

fn after_keyword(word: &Token<'_>) -> Next {
    if is_one_of(word, &["AS"]) {
        Next::Name
    } else if is_one_of(word, &BEFORE_OPERANDS) || is_one_of(word, &IN_OPERANDS) {
        Next::Operand
    } else {
        Next::Keyword
    }
}

fn after_mark(mark: &str, next: Next, before: Option<&Token<'_>>, in_foreach: bool) -> Next {
    let is_number = |token: &Token<'_>| {
        token.kind == Kind::Word && token.text.starts_with(|c: char| c.is_ascii_digit())
    };
    match mark {
        "." if before.is_some_and(is_number) => Next::Keyword,
        "." | ":" => Next::Name,
        "|" if in_foreach => Next::Keyword,
        // `WITH * SET …`, beside `a * b`.
        "*" if next == Next::Operand => Next::Keyword,
        "(" | "[" | "," | "=" | "<" | ">" | "+" | "-" | "*" | "/" | "%" | "^" | "~" | "|" | "&"
        | "!" => Next::Operand,
        // A map, or a subquery with clauses of its own.
        _ => Next::Keyword,
    }
}

/// Whether this can be the beginning of what a clause holds. A map's key has a colon behind it.
fn may_follow_clause(token: Option<&Token<'_>>) -> bool {
    const NEVER: &str = ":.,)]}=<>+/%^|&;";
    token.is_some_and(|token| token.kind != Kind::Mark || !NEVER.contains(token.text))
}

fn is_one_of(token: &Token<'_>, words: &[&str]) -> bool {
    token.kind == Kind::Word && words.iter().any(|word| token.text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_clauses_do_not_count() {
        for text in [
            "MATCH (a)-[:LIKES|CREATE]->(b) RETURN a",
            "MATCH (a)-[r:LIKES | :CREATE|MERGE*1..3]->(b) RETURN a",
            "MATCH (n: Set) RETURN n",
            "MATCH (n:A:Set:Delete) WHERE n:Create RETURN n",
            "MATCH (n:A|Set) RETURN n",
            "MATCH (n:!Set&(Create|Merge)) RETURN n",
            "MATCH (n) RETURN {create: n.v, set : 1, `merge`: 2, a: 3}",
            "MATCH (n {set: 1}) RETURN n { .delete, remove, create: 1, .* }",
            "MATCH (n) RETURN n.set, n . delete, n.`CREATE`, 'MERGE', \"SET\" // REMOVE\n/* SET */",
            "MATCH (n) RETURN n.v AS set",
            "MATCH (n) WITH n.v AS delete RETURN delete",
            "MATCH (n) WITH n.v AS set WHERE set > 1 AND NOT set = 3 RETURN set ORDER BY set DESC",
            "MATCH (set)-[create]->(merge) RETURN DISTINCT set, create, merge",
            "MATCH set = (a)-->(b) RETURN nodes(set)",
            "UNWIND [1, 2] AS set RETURN set * 2 + set",
            "UNWIND $set AS x RETURN CASE WHEN x IN $create THEN x ELSE remove END",
            "RETURN [set IN [1] WHERE set > 0 | set], reduce(set = 0, x IN [1] | set + x)",
            "MATCH (n) WHERE n.name STARTS WITH set RETURN n",
            "CALL create.it() YIELD set RETURN set",
            "MATCH (n) RETURN count(*) AS create, n.set",
        ] {
            assert_eq!(writing_clause(text), None, "{text}");
        }
    }

    #[test]
    fn clauses_count_wherever_they_stand() {
        for (text, clause) in [
            ("CREATE (n)", "CREATE"),
            ("create(n)", "create"),
            ("/* a */ MERGE (n {set: 1})", "MERGE"),
            ("MATCH (n) SET n.a = 1", "SET"),
            ("MATCH (n)SET n.a = 1", "SET"),
            ("MATCH (n)\u{a0}SET\u{3000}n.a = 1", "SET"),
            ("MATCH (n) WHERE n.a = 'x' SET n.a = 1", "SET"),
            ("MATCH (n) WHERE n.a = $x DELETE n", "DELETE"),
            ("MATCH (n) WHERE n.a > 1.5 DELETE n", "DELETE"),
            ("MATCH (n) WHERE n.a > 1. DELETE n", "DELETE"),
            ("MATCH (n) WHERE n.`a` IS NOT NULL SET n.b = 1", "SET"),
            ("MATCH (n) WHERE n:Set REMOVE n:Set", "REMOVE"),
            ("MATCH (n) DETACH DELETE n", "DELETE"),
            ("MATCH (n) WITH * SET n.a = 1", "SET"),
            ("MATCH (n) WITH DISTINCT * DELETE n", "DELETE"),
            ("MATCH (n) WITH n, n.with AS return SET n.a = 1", "SET"),
            ("MATCH (n) WITH n LIMIT 5 SET n.a = 1", "SET"),
            ("MATCH (n) WITH n ORDER BY n.a DESC SKIP $s DELETE n", "DELETE"),
            ("UNWIND $rows AS set CREATE (:A {v: set})", "CREATE"),
            ("MATCH p = (a)-[:CREATE]->(b) FOREACH (n IN nodes(p) | SET n.a = 1)", "SET"),
            ("FOREACH (x IN [1] | FOREACH (y IN [2] | CREATE (:A)))", "CREATE"),
            ("CALL { CREATE (n) RETURN n } RETURN n", "CREATE"),
            ("MATCH (n) CALL { WITH n SET n.a = 1 } RETURN n", "SET"),
            ("RETURN 1 AS set UNION ALL CREATE (n) RETURN 2 AS set", "CREATE"),
            ("MATCH (n) WHERE n.a = CASE WHEN true THEN 1 ELSE 2 END SET n.a = 1", "SET"),
            ("MATCH (n) WHERE n.a IN [1, 2] DELETE n", "DELETE"),
            ("MATCH (n) SET n += {a: 1}", "SET"),
            ("MATCH (n) DELETE (n)", "DELETE"),
        ] {
            assert_eq!(writing_clause(text), Some(clause), "{text}");
        }
    }
}
