//! Neptune's query languages.

/// A query language, by its file's ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// openCypher, `.cypher`
    Cypher,
    /// SPARQL 1.1, `.rq`
    Sparql,
}

impl Language {
    pub(super) const ALL: [Self; 2] = [Self::Cypher, Self::Sparql];

    pub(super) fn ending(self) -> &'static str {
        match self {
            Self::Cypher => "cypher",
            Self::Sparql => "rq",
        }
    }
}
