//! What must be true of a row that a write takes: conditions joined by AND and OR.

use std::collections::BTreeSet;

/// A condition, by its index, or its opposite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Literal {
    pub(super) condition: usize,
    pub(super) negated: bool,
}

/// Literals that are true together.
pub(super) type Way = BTreeSet<Literal>;

#[derive(Clone, Debug)]
pub(super) enum Formula {
    One(Literal),
    All(Vec<Formula>),
    Any(Vec<Formula>),
}

/// Each OR multiplies the ways in which a row can be taken. A text with more of them is read as if each OR
/// were an AND.
const MOST_WAYS: usize = 64;

impl Formula {
    pub(super) fn condition(condition: usize) -> Self {
        Self::One(Literal { condition, negated: false })
    }

    pub(super) fn opposite(self) -> Self {
        let all = |parts: Vec<Self>| parts.into_iter().map(Self::opposite).collect();
        match self {
            Self::One(literal) => Self::One(Literal { negated: !literal.negated, ..literal }),
            Self::All(parts) => Self::Any(all(parts)),
            Self::Any(parts) => Self::All(all(parts)),
        }
    }

    /// The ways in which it can be true.
    pub(super) fn ways(&self) -> Vec<Way> {
        self.few_ways().unwrap_or_else(|| {
            let mut literals = Way::new();
            self.add_literals(&mut literals);
            vec![literals]
        })
    }

    fn few_ways(&self) -> Option<Vec<Way>> {
        match self {
            Self::One(literal) => Some(vec![Way::from([*literal])]),
            Self::All(parts) => {
                let mut ways = vec![Way::new()];
                for part in parts {
                    ways = product(ways, part.few_ways()?)?;
                }
                Some(ways)
            }
            Self::Any(parts) => {
                let mut ways = Vec::new();
                for part in parts {
                    ways.append(&mut part.few_ways()?);
                    if ways.len() > MOST_WAYS {
                        return None;
                    }
                }
                Some(ways)
            }
        }
    }

    fn add_literals(&self, literals: &mut Way) {
        match self {
            Self::One(literal) => {
                literals.insert(*literal);
            }
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.add_literals(literals));
            }
        }
    }
}

/// Each way of one side together with each of the other.
fn product(mut left: Vec<Way>, right: Vec<Way>) -> Option<Vec<Way>> {
    if let [only] = right.as_slice() {
        left.iter_mut().for_each(|way| way.extend(only));
        return Some(left);
    }
    let both = |way: &Way| right.iter().map(|other| way | other).collect::<Vec<_>>();
    (left.len() * right.len() <= MOST_WAYS).then(|| left.iter().flat_map(both).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_the_combinations_of_each_or() {
        let one = Formula::condition;
        let either = |a, b| Formula::Any(vec![one(a), one(b)]);
        let ways = |formula: &Formula| {
            let shown =
                |l: &Literal| format!("{}{}", if l.negated { "-" } else { "" }, l.condition);
            let way = |way: &Way| way.iter().map(shown).collect::<Vec<_>>().join(" ");
            formula.ways().iter().map(way).collect::<Vec<_>>().join(", ")
        };
        let both = Formula::All(vec![one(0), either(1, 2), either(3, 4)]);
        assert_eq!(ways(&both), "0 1 3, 0 1 4, 0 2 3, 0 2 4");
        assert_eq!(ways(&Formula::All(vec![one(0), either(1, 2)]).opposite()), "-0, -1 -2");
        assert_eq!(ways(&Formula::Any(Vec::new())), "");
        assert_eq!(ways(&Formula::All(Vec::new())), "");
        let many = Formula::All((0..7).map(|n| either(2 * n, 2 * n + 1)).collect());
        assert_eq!(many.ways().len(), 1);
        assert_eq!(many.ways()[0].len(), 14);
    }
}
