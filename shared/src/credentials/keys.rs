//! The letters of an access key: its kind, and what no key has in it. The values are never repeated.

use std::fmt;

use crate::words;

/// The variables of an access key, in the order of [`key_flaws`].
pub const KEY_VARIABLES: [&str; 3] =
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// A flaw in the value of a credential variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyFlaw {
    /// Quotes.
    Quotes,
    /// A line break.
    LineBreak,
    /// A space, or another character that no key has.
    Foreign,
    /// The key id that `sam local` makes up.
    SamDefault,
    /// A key id of another form.
    NotKeyId,
    /// A secret that is a key id.
    SecretIsKeyId,
    /// A key id that is the secret, and a secret that is the key id.
    Swapped,
}

impl KeyFlaw {
    fn of(variable: &str, value: &str) -> Option<Self> {
        let [key_id, secret, _] = KEY_VARIABLES;
        if value.contains(['"', '\'']) {
            Some(Self::Quotes)
        } else if value.contains(['\n', '\r']) {
            Some(Self::LineBreak)
        } else if value.chars().any(|c| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
            Some(Self::Foreign)
        } else if variable == key_id && value == "defaultkey" {
            Some(Self::SamDefault)
        } else if variable == key_id
            && !value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            Some(Self::NotKeyId)
        } else if variable == secret && is_key_id(value) {
            Some(Self::SecretIsKeyId)
        } else {
            None
        }
    }
}

/// A phrase that follows the variable's name.
impl fmt::Display for KeyFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Quotes => "holds quotes, as jq without -r writes",
            Self::LineBreak => "holds a line break",
            Self::Foreign => "holds a space or another character that no AWS key has",
            Self::SamDefault => {
                "is what sam local injects when it finds no credentials: export some before you start it"
            }
            Self::NotKeyId => {
                "is not of a key id's form (letters and digits, AKIA… or ASIA…); is it the secret?"
            }
            Self::SecretIsKeyId => "holds an access key id (AKIA… or ASIA…), and no secret",
            Self::Swapped => "and AWS_SECRET_ACCESS_KEY are swapped",
        };
        words::write(f, format_args!("{text}"))
    }
}

/// The flaws of a key id, a secret and a session token, each with its variable of [`KEY_VARIABLES`].
pub fn key_flaws(parts: [Option<&str>; 3]) -> Vec<(&'static str, KeyFlaw)> {
    let found = KEY_VARIABLES.into_iter().zip(parts);
    let found = found.filter_map(|(name, value)| Some((name, KeyFlaw::of(name, value?)?)));
    let found: Vec<_> = found.collect();
    let secret_is_id = found.iter().any(|(_, flaw)| *flaw == KeyFlaw::SecretIsKeyId);
    // A secret has 40 characters; a key id has 20.
    if secret_is_id && parts[0].is_some_and(|id| id.len() == 40) {
        return vec![(KEY_VARIABLES[0], KeyFlaw::Swapped)];
    }
    found
}

/// `AKIA` or `ASIA`, and 16 capitals or digits: no secret is so short.
fn is_key_id(value: &str) -> bool {
    let id = value.strip_prefix("AKIA").or_else(|| value.strip_prefix("ASIA"));
    id.is_some_and(|rest| {
        rest.len() == 16 && rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    })
}

/// The kind of key that an access key id shows
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyKind {
    /// `ASIA…`
    Temporary,
    /// `AKIA…`
    LongLived,
    /// Another id.
    Unknown,
}

impl KeyKind {
    /// The kind of this id.
    pub fn of(access_key_id: &str) -> Self {
        match access_key_id.get(..4) {
            Some("ASIA") => Self::Temporary,
            Some("AKIA") => Self::LongLived,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Temporary => "temporary credentials (ASIA…)",
            Self::LongLived => "a user's long-lived key (AKIA…)",
            Self::Unknown => "a key of unknown kind",
        };
        words::write(f, format_args!("{text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

    #[test]
    fn a_key_id_in_the_place_of_the_secret_is_a_flaw() {
        for (value, flawed) in [
            (ID, true),
            ("ASIAIOSFODNN7EXAMPLE", true),
            ("AKIAIOSFODNN7EXAMPL", false),
            ("AKIAiosfodnn7example", false),
            ("AKIAIOSFODNN7EXAMPLEAKIAIOSFODNN7EXAMPLE", false),
        ] {
            let flaws = key_flaws([Some(ID), Some(value), None]);
            let expected = [(KEY_VARIABLES[1], KeyFlaw::SecretIsKeyId)];
            assert_eq!(flaws, &expected[..usize::from(flawed)], "{value}");
        }
    }

    #[test]
    fn swapped_keys_are_one_flaw() {
        assert_eq!(
            key_flaws([Some(SECRET), Some(ID), Some("token")]),
            [(KEY_VARIABLES[0], KeyFlaw::Swapped)]
        );
        assert_eq!(key_flaws([Some(ID), Some(SECRET), None]), []);
    }
}
