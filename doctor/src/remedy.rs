//! Remedies of a cause, in a form that can be pasted.

use serde::Serialize;

use crate::engine::Engine;

/// One change. A part that cannot be known stands in `<…>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Remedy {
    /// Statements for an administrator of the database.
    Sql {
        /// The database to run them in.
        database: String,
        /// The statements.
        sql: String,
    },
    /// A statement for a policy.
    Policy {
        /// Whose policy: an identity, or the trust policy of a role.
        attach_to: String,
        /// The whole document, as JSON text.
        document: String,
    },
    /// A variable of the function, or of the shell.
    Variable {
        /// Its name.
        name: String,
        /// Its value; empty unsets it.
        value: String,
    },
    /// A shell command.
    Command {
        /// The command.
        command: String,
    },
    /// Something that is done elsewhere.
    Action {
        /// A sentence without its full stop.
        text: String,
    },
}

impl Remedy {
    pub(crate) fn variable(name: &str, value: impl Into<String>) -> Self {
        Self::Variable { name: name.into(), value: value.into() }
    }

    pub(crate) fn unset(name: &str) -> Self {
        Self::variable(name, "")
    }

    pub(crate) fn command(command: impl Into<String>) -> Self {
        Self::Command { command: command.into() }
    }

    pub(crate) fn action(text: impl Into<String>) -> Self {
        Self::Action { text: text.into() }
    }

    pub(crate) fn sql(database: &str, sql: impl Into<String>) -> Self {
        Self::Sql { database: database.into(), sql: sql.into() }
    }

    /// An identity policy that allows one action on one resource.
    pub(crate) fn allow(attach_to: impl Into<String>, action: &str, resource: &str) -> Self {
        // In the order in which people write it; serde_json would sort the names.
        let document = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":{}}}]}}"#,
            serde_json::Value::from(resource)
        );
        Self::Policy { attach_to: attach_to.into(), document }
    }

    /// The same with an engine's own variables.
    pub(crate) fn spelled(self, engine: Engine) -> Self {
        match self {
            // Neptune has no variable for an address alone.
            Self::Variable { name, value } if engine == Engine::Neptune && name == "PGHOSTADDR" => {
                Self::Variable { name: "DB_TUNNEL".into(), value: format!("{value}:8182") }
            }
            Self::Variable { name, value } => {
                Self::Variable { name: engine.spell(&name), value: engine.spell(&value) }
            }
            Self::Command { command } => Self::Command { command: engine.spell(&command) },
            Self::Action { text } => Self::Action { text: engine.spell(&text) },
            other => other,
        }
    }

    /// The lines for a terminal.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Sql { database, sql } => {
                let mut lines = vec![format!("as an administrator, in database {database}:")];
                lines.extend(sql.lines().map(|line| format!("  {line}")));
                lines
            }
            Self::Policy { attach_to, document } => {
                vec![format!("in the policy of {attach_to}:"), format!("  {document}")]
            }
            Self::Variable { name, value } if value.is_empty() => vec![format!("unset {name}")],
            Self::Variable { name, value } => vec![format!("export {name}={}", word(value))],
            Self::Command { command } => command.lines().map(str::to_owned).collect(),
            Self::Action { text } => vec![text.clone()],
        }
    }
}

/// A word of the shell, quoted where it has to be.
pub(crate) fn word(text: &str) -> String {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&b));
    if plain && !text.is_empty() {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// An identifier of SQL, quoted where it has to be.
pub(crate) fn identifier(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A string of SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
