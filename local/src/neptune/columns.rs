//! The name of a statement's only column. ArcadeDB leaves it out where the column is a node or a
//! relationship, whose properties it gives instead.

use super::lexer::{Grammar, Kind, Part, parts};

/// The name of the only column: its alias, or else its expression.
pub(super) fn only_column(statement: &str) -> String {
    let parts = parts(statement, Grammar::Cypher);
    let Some(returns) = outer_keywords(&parts, &["RETURN"]).last() else { return "result".into() };
    let mut item = &parts[returns + 1..];
    if item.first().is_some_and(|part| part.is_word(&["DISTINCT"])) {
        item = &item[1..];
    }
    let end = outer_keywords(item, &["ORDER", "SKIP", "OFFSET", "LIMIT", "UNION"]).next();
    let end = end.or_else(|| item.iter().position(|part| part.is_mark(";")));
    item = &item[..end.unwrap_or(item.len())];
    match item {
        [] => "result".into(),
        [star] if star.is_mark("*") => only_variable(&parts[..returns]),
        [first, .., last] => match alias(item) {
            Some(name) => unquoted(name.text),
            None => unquoted(&statement[first.place.start..last.place.end]),
        },
        [name] => unquoted(name.text),
    }
}

/// The column of `RETURN *`: the last alias, or else the variable of the pattern.
fn only_variable(before: &[Part<'_>]) -> String {
    let variable = || {
        let opened =
            before.windows(2).find(|two| two[0].is_mark("([") && two[1].kind != Kind::Mark);
        opened.map(|two| &two[1])
    };
    alias(before).or_else(variable).map_or_else(|| "result".into(), |name| unquoted(name.text))
}

/// The name behind the last AS.
fn alias<'p, 's>(parts: &'p [Part<'s>]) -> Option<&'p Part<'s>> {
    parts.get(outer_keywords(parts, &["AS"]).last()? + 1)
}

/// Where these keywords stand that are in no brackets.
fn outer_keywords(parts: &[Part<'_>], words: &'static [&str]) -> impl Iterator<Item = usize> {
    let mut depth = 0_usize;
    parts.iter().enumerate().filter_map(move |(at, part)| {
        if part.is_mark("([{") {
            depth += 1;
        } else if part.is_mark(")]}") {
            depth = depth.saturating_sub(1);
        }
        let before = at.checked_sub(1).map(|before| &parts[before]);
        let is_name = before.is_some_and(|part| part.is_mark(".:") || part.is_word(&["AS"]));
        (depth == 0 && part.is_word(words) && !is_name).then_some(at)
    })
}

/// A name without the quotes around it.
fn unquoted(name: &str) -> String {
    match name.strip_prefix('`').and_then(|name| name.strip_suffix('`')) {
        Some(inside) => inside.replace("``", "`"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_column_has_a_name() {
        for (statement, name) in [
            ("MATCH (p) RETURN p", "p"),
            ("MATCH (p) RETURN DISTINCT p AS q ORDER BY q.x", "q"),
            ("MATCH (p) RETURN collect(p)[0] AS first", "first"),
            ("MATCH (p) RETURN collect(p)[0]", "collect(p)[0]"),
            ("MATCH (p) RETURN head([x IN [p] | x]) AS `a ``b` LIMIT 1;", "a `b"),
            ("MATCH (p) RETURN `p q`", "p q"),
            ("MATCH (p) RETURN (p) // AS z\n", "(p)"),
            ("MATCH (p) CALL { WITH p RETURN p AS y } RETURN y AS z", "z"),
            ("MATCH (p) RETURN p AS a UNION MATCH (q) RETURN q AS a", "a"),
            ("MATCH (p) RETURN CASE WHEN p.as = 1 THEN p END AS return", "return"),
            ("MATCH (p:A)-->() RETURN *", "p"),
            ("MATCH (p) WITH p AS `q r` RETURN *", "q r"),
            ("MATCH (p) RETURN p { .as, .limit } AS order", "order"),
            ("CALL x.y()", "result"),
        ] {
            assert_eq!(only_column(statement), name, "{statement}");
        }
    }
}
