//! Patterns of policies: wildcards, and policy variables such as `${aws:username}`
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html>).

use super::context::{Context, key_of_variable};

/// A text of a policy, with its wildcards and variables found.
#[derive(Clone, PartialEq)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Clone, PartialEq)]
enum Piece {
    Char(char),
    /// `*`: any text.
    Any,
    /// `?`: one character.
    One,
    /// `${key}` or `${key, 'default'}`.
    Variable {
        key: String,
        default: Option<String>,
    },
}

impl Pattern {
    /// A pattern with wildcards; with variables too, if the document's version has them.
    pub(super) fn wild(text: &str, variables: bool) -> Result<Self, String> {
        Self::parse(text, variables, true)
    }

    /// A text in which `*` and `?` mean themselves.
    pub(super) fn exact(text: &str, variables: bool) -> Result<Self, String> {
        Self::parse(text, variables, false)
    }

    fn parse(text: &str, variables: bool, wild: bool) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if variables && let Some(inner) = rest.strip_prefix("${") {
                let (inner, after) =
                    inner.split_once('}').ok_or("a policy variable ${ has no closing }")?;
                pieces.push(variable(inner)?);
                rest = after;
                continue;
            }
            pieces.push(match c {
                '*' if wild => Piece::Any,
                '?' if wild => Piece::One,
                c => Piece::Char(c),
            });
            rest = &rest[c.len_utf8()..];
        }
        Ok(Self(pieces))
    }

    /// The pattern with its variables' values, in which `*` and `?` mean themselves. `None` when
    /// the request has no value for one of them: nothing matches then.
    fn expand(&self, context: &Context) -> Option<Vec<Piece>> {
        let mut pieces = Vec::with_capacity(self.0.len());
        for piece in &self.0 {
            match piece {
                Piece::Variable { key, default } => {
                    let value = context.single(key).or(default.as_deref())?;
                    pieces.extend(value.chars().map(Piece::Char));
                }
                piece => pieces.push(piece.clone()),
            }
        }
        Some(pieces)
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str, context: &Context) -> bool {
        self.expand(context).is_some_and(|pieces| glob(&pieces, &chars(text)))
    }

    /// As [`Pattern::matches`], whatever the case of ASCII letters.
    pub(super) fn matches_ignoring_case(&self, text: &str, context: &Context) -> bool {
        let lower = |piece| match piece {
            Piece::Char(c) => Piece::Char(c.to_ascii_lowercase()),
            piece => piece,
        };
        self.expand(context).is_some_and(|pieces| {
            let pieces: Vec<Piece> = pieces.into_iter().map(lower).collect();
            glob(&pieces, &chars(&text.to_ascii_lowercase()))
        })
    }

    /// Whether an ARN matches: each of its six parts by itself, so that a wildcard of one part
    /// never reaches into the next. The last part may hold colons.
    pub(super) fn matches_arn(&self, arn: &str, context: &Context) -> bool {
        let Some(pieces) = self.expand(context) else { return false };
        if pieces == [Piece::Any] {
            return true;
        }
        let patterns: Vec<&[Piece]> =
            pieces.splitn(6, |piece| *piece == Piece::Char(':')).collect();
        let parts: Vec<&str> = arn.splitn(6, ':').collect();
        patterns.len() == parts.len()
            && patterns.iter().zip(parts).all(|(pattern, part)| glob(pattern, &chars(part)))
    }

    /// Whether it may stand for an ARN: `*`, or `arn:` and five colons.
    pub(super) fn is_arn_like(&self) -> bool {
        let colons = self.0.iter().filter(|piece| **piece == Piece::Char(':')).count();
        let prefix: Vec<Piece> = "arn:".chars().map(Piece::Char).collect();
        self.0 == [Piece::Any] || (self.0.starts_with(&prefix) && colons >= 5)
    }
}

fn variable(inner: &str) -> Result<Piece, String> {
    if let "*" | "?" | "$" = inner {
        return Ok(Piece::Char(inner.chars().next().unwrap_or('$')));
    }
    let (name, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((name, default)) => {
            let quoted = default.trim().strip_prefix('\'').and_then(|d| d.strip_suffix('\''));
            let default = quoted.ok_or_else(|| {
                format!("the default of the policy variable ${{{name}}} is not in single quotes")
            })?;
            (name, Some(default.to_owned()))
        }
    };
    Ok(Piece::Variable { key: key_of_variable(name.trim())?, default })
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Matches in time proportional to pattern × text, whatever the pattern: the last `*` alone is
/// tried again.
fn glob(pattern: &[Piece], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Piece::Any) => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some(Piece::One) => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            Some(Piece::Char(c)) if *c == text[t] => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            _ => {}
        }
        let Some((star, from)) = retry else { return false };
        retry = Some((star, from + 1));
        (p, t) = (star + 1, from + 1);
    }
    pattern[p..].iter().all(|piece| *piece == Piece::Any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::wild(pattern, true).unwrap().matches(text, &Context::default())
    }

    #[test]
    fn wildcards() {
        for (pattern, text, wanted) in [
            ("app", "app", true),
            ("app", "App", false),
            ("app_*", "app_reader", true),
            ("app_*", "app_", true),
            ("app?", "app2", true),
            ("app?", "app", false),
            ("*a*b", "xaayb", true),
            ("*a*b", "xaayc", false),
            ("${*}", "*", true),
            ("${*}", "x", false),
            ("${$}{x}", "${x}", true),
            ("é?", "éü", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn an_arns_parts_match_one_by_one() {
        let arn = |pattern: &str, arn: &str| {
            Pattern::wild(pattern, true).unwrap().matches_arn(arn, &Context::default())
        };
        let user = "arn:aws:rds-db:us-east-1:123456789012:dbuser:db-A/app";
        assert!(arn("*", user));
        assert!(arn("arn:aws:rds-db:*:*:dbuser:*/*", user));
        assert!(arn("arn:aws:rds-db:us-east-1:123456789012:*", user));
        assert!(!arn("arn:aws:rds-db:*:dbuser:db-A/app", user));
        assert!(!arn("arn:aws:rds:*:*:dbuser:*/*", user));
    }

    #[test]
    fn no_pattern_takes_long() {
        // A matcher that tries every split would still run when the sun is cold.
        assert!(!matches(&"*a".repeat(500), &"a".repeat(499)));
    }
}
