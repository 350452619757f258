//! The parameters of a request, and the words in which AWS refuses them.

use super::Refusal;
use crate::sigv4;

/// The parameters of a request, each of which may stand once.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Refusal> {
        let malformed =
            || Refusal::invalid("MalformedQueryString", "The query string is malformed");
        let text = std::str::from_utf8(body).map_err(|_| malformed())?;
        let pairs = sigv4::parse_query(text, true).ok_or_else(malformed)?;
        let twice = |(i, (name, _)): (usize, &(String, String))| {
            pairs[..i].iter().any(|(earlier, _)| earlier == name)
        };
        if pairs.iter().enumerate().any(twice) {
            return Err(malformed());
        }
        Ok(Self(pairs))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            constraint(&format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                member(name)
            ))
        })
    }

    /// Refuses a parameter that would be ignored; `a` allows `a.member.1` too.
    pub(super) fn allow_only(&self, names: &[&str]) -> Result<(), Refusal> {
        let known = |name: &str| {
            let family = name.split_once(".member.").map_or(name, |(family, _)| family);
            names.contains(&family) || ["Action", "Version"].contains(&name)
        };
        match self.0.iter().find(|(name, _)| !known(name)) {
            None => Ok(()),
            Some((name, _)) if name == "SerialNumber" || name == "TokenCode" => {
                Err(Refusal::denied(
                    "AccessDenied",
                    "MultiFactorAuthentication failed with invalid MFA one time pass code.",
                ))
            }
            Some((name, _)) => Err(Refusal::invalid(
                "ValidationError",
                format!("rds-local's STS does not support the parameter {name}"),
            )),
        }
    }

    /// `DurationSeconds`, within the bounds of the operation.
    pub(super) fn seconds(&self, shortest: u32, longest: u32) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.get("DurationSeconds") else { return Ok(None) };
        let at = |bound: &str, limit: u32| {
            constraint(&format!(
                "Value '{text}' at 'durationSeconds' failed to satisfy constraint: Member must have value {bound} than or equal to {limit}"
            ))
        };
        match text.parse::<i64>() {
            Ok(seconds) if seconds < i64::from(shortest) => Err(at("greater", shortest)),
            Ok(seconds) if seconds > i64::from(longest) => Err(at("less", longest)),
            Ok(seconds) => Ok(u32::try_from(seconds).ok()),
            Err(_) => Err(Refusal::invalid("MalformedInput", "Unable to parse DurationSeconds")),
        }
    }

    /// The values of a list, `Name.member.1` and on.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|number| self.get(&format!("{name}.member.{number}"))).collect()
    }

    /// `Tags.member.1.Key` and `.Value`, and on.
    pub(super) fn tags(&self) -> Result<Vec<(String, String)>, Refusal> {
        let mut tags: Vec<(String, String)> = Vec::new();
        for number in 1.. {
            let part = |part: &str| self.get(&format!("Tags.member.{number}.{part}"));
            let Some(key) = part("Key") else { break };
            if tags.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
                return Err(Refusal::invalid(
                    "InvalidParameterValue",
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                ));
            }
            tags.push((key.to_owned(), part("Value").unwrap_or_default().to_owned()));
        }
        if tags.len() > 50 {
            return Err(constraint(
                "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
            ));
        }
        Ok(tags)
    }

    /// `RoleArn`
    pub(super) fn role_arn(&self) -> Result<&str, Refusal> {
        let arn = self.required("RoleArn")?;
        if arn.len() < 20 {
            return Err(constraint(&format!(
                "Value '{arn}' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20"
            )));
        }
        if !arn.starts_with("arn:") {
            return Err(Refusal::invalid("ValidationError", format!("{arn} is invalid")));
        }
        Ok(arn)
    }

    /// `RoleSessionName`
    pub(super) fn session_name(&self) -> Result<&str, Refusal> {
        let name = self.required("RoleSessionName")?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
        let why = if name.len() < 2 {
            "Member must have length greater than or equal to 2"
        } else if name.len() > 64 {
            "Member must have length less than or equal to 64"
        } else if !name.chars().all(legal) {
            "Member must satisfy regular expression pattern: [\\w+=,.@-]*"
        } else {
            return Ok(name);
        };
        Err(constraint(&format!(
            "Value '{name}' at 'roleSessionName' failed to satisfy constraint: {why}"
        )))
    }
}

pub(super) fn constraint(what: &str) -> Refusal {
    Refusal::invalid("ValidationError", format!("1 validation error detected: {what}"))
}

/// AWS names a parameter in its errors with a small first letter.
fn member(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}
