//! The effects of a statement, by its clauses. The engine itself refuses a write where they show none.

use super::lexer::{Grammar, Kind, Part, parts};

/// The effects of a statement besides reading, in any query language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    pub(super) writes: bool,
    pub(super) deletes: bool,
}

impl Effects {
    /// SPARQL's operations that change data. All its names have a prefix or a sign, so that every word
    /// counts.
    pub(super) fn of_sparql(update: &str) -> Self {
        let parts = parts(update, Grammar::Sparql);
        let has = |words: &[&str]| parts.iter().any(|part| part.is_word(words));
        Self {
            writes: has(&["INSERT", "LOAD", "CREATE", "ADD", "COPY", "MOVE"]),
            deletes: has(&["DELETE", "CLEAR", "DROP", "COPY", "MOVE"]),
        }
    }

    /// openCypher's clauses that change data. `SET` and `CREATE` may also be labels, property names, map
    /// keys, aliases and variables: those stand where a name or an expression is expected.
    pub(super) fn of_cypher(statement: &str) -> Self {
        let parts = parts(statement, Grammar::Cypher);
        let mut effects = Self::default();
        let mut open: Vec<usize> = Vec::new();
        let mut state = State::Complete;
        for (index, part) in parts.iter().enumerate() {
            if part.is_mark("([{") {
                open.push(index);
            } else if part.is_mark(")]}") {
                open.pop();
            }
            // A map's key has a colon behind it, and a variable may have other marks.
            let alone = parts.get(index + 1).is_none_or(|next| next.is_mark(":.,)]}=<>+/%^|&;"));
            if state == State::Complete && !alone {
                effects.writes |= part.is_word(&["CREATE", "MERGE", "SET"]);
                effects.deletes |= part.is_word(&["DELETE", "REMOVE"]);
            }
            let before = index.checked_sub(1).map(|before| &parts[before]);
            let innermost = open.last().and_then(|at| at.checked_sub(1)).map(|at| &parts[at]);
            let in_foreach = innermost.is_some_and(|word| word.is_word(&["FOREACH"]));
            state = state.after(part, before, in_foreach);
        }
        effects
    }
}

/// The meaning of the parts read so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// An expression is complete: a word is a keyword.
    Complete,
    /// A name must follow, whatever its letters.
    Name,
    /// An expression must follow: a word is a name, but for a few.
    Expression,
}

impl State {
    fn after(self, part: &Part<'_>, before: Option<&Part<'_>>, in_foreach: bool) -> Self {
        const LEAD: [&str; 15] = [
            "RETURN", "WITH", "WHERE", "AND", "OR", "XOR", "IN", "BY", "UNWIND", "LIMIT", "SKIP",
            "CONTAINS", "YIELD", "MATCH", "CALL",
        ];
        const INSIDE: [&str; 6] = ["NOT", "DISTINCT", "CASE", "WHEN", "THEN", "ELSE"];
        match (part.kind, self) {
            (Kind::Mark, _) => self.after_mark(part.text, before, in_foreach),
            (Kind::Word, Self::Complete) if part.is_word(&["AS"]) => Self::Name,
            (Kind::Word, Self::Complete) if part.is_word(&LEAD) => Self::Expression,
            (Kind::Word, Self::Complete | Self::Expression) if part.is_word(&INSIDE) => {
                Self::Expression
            }
            _ => Self::Complete,
        }
    }

    fn after_mark(self, mark: &str, before: Option<&Part<'_>>, in_foreach: bool) -> Self {
        let number = |part: &Part<'_>| {
            part.kind == Kind::Word && part.text.starts_with(|c: char| c.is_ascii_digit())
        };
        match mark {
            "." if before.is_some_and(number) => Self::Complete,
            "." | ":" => Self::Name,
            "|" if in_foreach => Self::Complete,
            // WITH * SET …
            "*" if self == Self::Expression => Self::Complete,
            mark if "([,=<>+-*/%^~|&!".contains(mark) => Self::Expression,
            _ => Self::Complete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_what_a_statement_does() {
        let of = |text| {
            let Effects { writes, deletes } = Effects::of_cypher(text);
            (writes, deletes)
        };
        for read in [
            "MATCH (n) RETURN n.delete, n:Set, $create",
            "MATCH (n {a: 'DELETE \\' SET'}) // MERGE\n RETURN `SET`",
            "MATCH (a)-[:LIKES|CREATE]->(n: Set) RETURN {create: n.v, set: 1} AS delete",
            "MATCH (n) WITH n.v AS set WHERE set > 1 RETURN set ORDER BY set",
            "UNWIND [1] AS remove RETURN remove * 2, [set IN [1] | set]",
        ] {
            assert_eq!(of(read), (false, false), "{read}");
        }
        assert_eq!(of("match (n) set n.a = 1"), (true, false));
        assert_eq!(of("MATCH (n) WITH * SET n.a = 1"), (true, false));
        assert_eq!(of("MATCH (n)\u{a0}SET n.a = 1"), (true, false));
        assert_eq!(of("MATCH (n:Set) FOREACH (x IN [1] | CREATE (:Delete))"), (true, false));
        assert_eq!(of("MATCH (n) /* ' */ DETACH DELETE n"), (false, true));
        assert_eq!(of("MATCH (n) WITH n AS set DELETE set"), (false, true));
        assert_eq!(of("MATCH (n) REMOVE n.a SET n.b = 1"), (true, true));
        let update = Effects::of_sparql("DELETE { ?s ?p 'INSERT' } WHERE { ?s ?p ?o }");
        assert_eq!(update, Effects { writes: false, deletes: true });
        let update = Effects::of_sparql("INSERT DATA { ex:a ex:copy-delete ex:drop }");
        assert_eq!(update, Effects { writes: true, deletes: false });
        for hidden in [
            "PREFIX : <http://a//b#c> DELETE WHERE { ?s ?p ?o }",
            "INSERT DATA { :a :b \"\"\"x\"y\"\"\" }; DELETE WHERE { ?s ?p ?o }",
            "INSERT { ?s ?p 1 } WHERE { FILTER(?a < 3) }; # '\nDELETE WHERE { ?s ?p ?o }",
        ] {
            assert!(Effects::of_sparql(hidden).deletes, "{hidden}");
        }
    }
}
