//! The cluster's answers.

use rds_iam::neptune::Denial;

use crate::tls::evidence::Protocol;

/// Everything that is known of Neptune's own part.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Evidence {
    /// The protocol that answers instead of TLS.
    pub(crate) instead: Option<Protocol>,
    /// The answers to signed requests.
    pub(crate) status: Answer,
    pub(crate) cypher: Answer,
    pub(crate) sparql: Answer,
    /// Whether `/status` is answered without a signature.
    pub(crate) open: bool,
    /// The cluster's report of itself.
    pub(crate) engine: Option<EngineStatus>,
}

/// How one request ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It was not sent.
    #[default]
    Unknown,
    /// It works.
    Ok,
    /// No policy allows this action.
    Denied(String),
    /// The signature, or the credentials behind it, are refused.
    Signature,
    /// Another error: the HTTP status, and Neptune's code, which may be empty.
    Error(u16, String),
    /// There is no answer.
    Silent,
}

/// The answer to `/status`
/// (<https://docs.aws.amazon.com/neptune/latest/userguide/access-graph-status.html>).
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default)]
pub(crate) struct EngineStatus {
    /// `healthy`
    pub(crate) status: String,
    /// `writer` or `reader`
    pub(crate) role: String,
    #[serde(rename = "dbEngineVersion")]
    pub(crate) version: String,
}

impl Answer {
    pub(crate) fn of(status: u16, denial: Option<Denial>, code: String) -> Self {
        match (status, denial) {
            (200..300, _) => Self::Ok,
            (_, Some(Denial::Action(action))) => Self::Denied(action),
            (_, Some(Denial::Signature)) => Self::Signature,
            (status, None) => Self::Error(status, code),
        }
    }
}

impl Evidence {
    pub(crate) fn answers(&self) -> [(&'static str, &Answer); 3] {
        [("/status", &self.status), ("openCypher", &self.cypher), ("SPARQL", &self.sparql)]
    }

    /// Whether a function can query in one of the languages.
    pub(crate) fn works(&self) -> bool {
        self.cypher == Answer::Ok || self.sparql == Answer::Ok
    }

    /// Whether every request that was sent is refused for its signature.
    pub(crate) fn signature_refused(&self) -> bool {
        self.answers().iter().all(|(_, answer)| **answer == Answer::Signature)
    }

    pub(crate) fn denied(&self, answer: &Answer) -> bool {
        matches!(answer, Answer::Denied(_))
    }
}
