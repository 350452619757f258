//! The ids of nodes and relationships as Neptune has them: text, the same in `id(n)`, in `~id`, and in
//! the `~start` and `~end` of relationships. ArcadeDB's own `id` is a number.
//!
//! A node that the user gave an id has it as the property `~id`; any other has ArcadeDB's record id. So
//! `id(n)` and ``n.`~id` `` become an expression of both, and names of columns are put back afterwards.

use super::lexer::{Grammar, Kind, Part, parts};

/// The record ids and own ids of those of some nodes that the user gave an id.
pub(super) const OWN_IDS: &str = "MATCH (n) WHERE elementId(n) IN $records AND n.`~id` IS NOT NULL \
                                  RETURN elementId(n) AS record, n.`~id` AS id";

/// A statement as ArcadeDB understands it.
#[derive(Debug)]
pub(super) struct Rewritten {
    pub(super) statement: String,
    /// Each expression that was written, and what stood in its place.
    replaced: Vec<(String, String)>,
}

impl Rewritten {
    pub(super) fn of(original: &str) -> Self {
        let parts = parts(original, Grammar::Cypher);
        let mut statement = String::with_capacity(original.len());
        let mut replaced = Vec::new();
        let (mut index, mut from) = (0, 0);
        while index < parts.len() {
            let Some((subject, last)) = call(&parts, index).or_else(|| property(&parts, index))
            else {
                index += 1;
                continue;
            };
            let subject = &original[subject];
            let new = format!("coalesce(({subject}).`~id`, elementId({subject}))");
            let place = parts[index].place.start..parts[last].place.end;
            statement.push_str(&original[from..place.start]);
            statement.push_str(&new);
            from = place.end;
            replaced.push((new, original[place].to_owned()));
            index = last + 1;
        }
        statement.push_str(&original[from..]);
        Self { statement, replaced }
    }

    /// The name of a column as the original statement has it.
    pub(super) fn column(&self, name: &str) -> String {
        self.replaced.iter().fold(name.to_owned(), |name, (new, old)| name.replace(new, old))
    }
}

/// The argument of the call of `id` that begins at this part, and the call's last part.
fn call(parts: &[Part<'_>], index: usize) -> Option<(std::ops::Range<usize>, usize)> {
    if is_member(parts, index)
        || !parts[index].is_word(&["ID"])
        || !parts.get(index + 1)?.is_mark("(")
    {
        return None;
    }
    let mut depth = 0_usize;
    for (at, part) in parts.iter().enumerate().skip(index + 1) {
        if part.is_mark("([{") {
            depth += 1;
        } else if part.is_mark(")]}") {
            depth -= 1;
            if depth == 0 {
                let argument = parts[index + 2].place.start..parts[at - 1].place.end;
                return (at > index + 2).then_some((argument, at));
            }
        }
    }
    None
}

/// The variable of a property `~id` that begins at this part, and the property's last part.
fn property(parts: &[Part<'_>], index: usize) -> Option<(std::ops::Range<usize>, usize)> {
    let variable = &parts[index];
    let is_property = variable.kind != Kind::Mark
        && !is_member(parts, index)
        && parts.get(index + 1)?.is_mark(".")
        && parts.get(index + 2)?.text == "`~id`";
    is_property.then(|| (variable.place.clone(), index + 2))
}

/// Whether this part is a property.
fn is_member(parts: &[Part<'_>], index: usize) -> bool {
    index.checked_sub(1).is_some_and(|before| parts[before].is_mark("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_expressions_and_columns_are_put_back() {
        let n = "coalesce((n).`~id`, elementId(n))";
        for (original, statement) in [
            (
                "MATCH (n) WHERE id(n) = 'a' RETURN ID ( n )",
                format!("MATCH (n) WHERE {n} = 'a' RETURN {n}"),
            ),
            ("MATCH (n) RETURN {i: id(n)}", format!("MATCH (n) RETURN {{i: {n}}}")),
            ("MATCH (n) RETURN n.`~id` AS i", format!("MATCH (n) RETURN {n} AS i")),
            (
                "RETURN id(f('(', [g(x)])) + 1",
                "RETURN coalesce((f('(', [g(x)])).`~id`, elementId(f('(', [g(x)]))) + 1".into(),
            ),
        ] {
            assert_eq!(Rewritten::of(original).statement, statement);
        }
        let rewritten = Rewritten::of("MATCH (n) RETURN  ID ( n ) + n.`~id`");
        assert_eq!(rewritten.column(&format!("{n} + {n}")), "ID ( n ) + ID ( n )");
        for same in [
            "MATCH (n {`~id`: 'id(n)'}) RETURN n.id, n.`id`, m.id(n) // id(n)",
            "RETURN id()",
            "RETURN id(n",
            "MATCH (id) RETURN id, n {.`~id`}",
        ] {
            assert_eq!(Rewritten::of(same).statement, same);
        }
    }
}
