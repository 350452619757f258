//! The parameters of a request, and the words in which AWS refuses them.

use std::collections::BTreeMap;

use super::refusal::Refusal;
use crate::sigv4;

/// The parameters of a request by name. Each may stand once.
pub(super) struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads the parameters of a query string and of a body: AWS takes them from either.
    pub(super) fn parse(query: &str, body: &[u8]) -> Result<Self, Refusal> {
        let malformed =
            || Refusal::invalid("MalformedQueryString", "The query string is malformed");
        let body = std::str::from_utf8(body).map_err(|_| malformed())?;
        let mut parameters = BTreeMap::new();
        for text in [query, body] {
            for (name, value) in sigv4::parse_query(text, true).ok_or_else(malformed)? {
                // Those of a signature are no parameters of the operation.
                if !name.starts_with("X-Amz-") && parameters.insert(name, value).is_some() {
                    return Err(malformed());
                }
            }
        }
        Ok(Self(parameters))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn required(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            constraint(&format!(
                "Value null at '{}' failed to satisfy constraint: Member must not be null",
                member(name)
            ))
        })
    }

    /// Refuses a parameter that would be ignored. A list's name allows its members too, without a gap.
    pub(super) fn allow_only(&self, names: &[&str]) -> Result<(), Refusal> {
        let tags = self.count("Tags", ".Key");
        let keys = self.count("TransitiveTagKeys", "");
        let is_member = |name: &str, family: &str, count: usize, parts: &[&str]| {
            let member = name.strip_prefix(family).and_then(|rest| rest.strip_prefix(".member."));
            member.is_some_and(|member| {
                let (number, part) = member.split_once('.').unwrap_or((member, ""));
                let number = number.parse().ok().filter(|n: &usize| n.to_string() == number);
                number.is_some_and(|n| (1..=count).contains(&n)) && parts.contains(&part)
            })
        };
        let known = |name: &str| match name {
            "Action" | "Version" => true,
            // An empty list, as botocore writes it.
            "Tags" | "TransitiveTagKeys" => {
                names.contains(&name) && self.get(name).is_some_and(str::is_empty)
            }
            _ if names.contains(&name) => true,
            _ => {
                names.contains(&"Tags")
                    && (is_member(name, "Tags", tags, &["Key", "Value"])
                        || is_member(name, "TransitiveTagKeys", keys, &[""]))
                    || ["ActionNames", "ResourceArns"].iter().any(|list| {
                        names.contains(list) && is_member(name, list, self.count(list, ""), &[""])
                    })
            }
        };
        match self.0.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) if name == "SerialNumber" || name == "TokenCode" => Err(Refusal::denied(
                "AccessDenied",
                "MultiFactorAuthentication failed with invalid MFA one time pass code.",
            )),
            Some(name) if name.starts_with("Tags.") || name.starts_with("TransitiveTagKeys.") => {
                Err(Refusal::invalid("MalformedInput", format!("Unexpected list element: {name}")))
            }
            Some(name) => Err(Refusal::invalid(
                "ValidationError",
                format!("rds-local's STS does not support the parameter {name}"),
            )),
        }
    }

    /// How many members a list has.
    fn count(&self, family: &str, part: &str) -> usize {
        (1..)
            .take_while(|number| self.0.contains_key(&format!("{family}.member.{number}{part}")))
            .count()
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
            // Before the search for duplicates, which is slow for many.
            if number > 50 {
                return Err(constraint(
                    "Value at 'tags' failed to satisfy constraint: Member must have length less than or equal to 50",
                ));
            }
            tag_fits(number, key, part("Value").unwrap_or_default())?;
            if tags.iter().any(|(earlier, _)| earlier.eq_ignore_ascii_case(key)) {
                return Err(Refusal::invalid(
                    "InvalidParameterValue",
                    "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
                ));
            }
            tags.push((key.to_owned(), part("Value").unwrap_or_default().to_owned()));
        }
        Ok(tags)
    }

    /// `ExternalId`. No message repeats it.
    pub(super) fn external_id(&self) -> Result<Option<&str>, Refusal> {
        let Some(id) = self.get("ExternalId") else { return Ok(None) };
        let legal = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
        let why = if id.len() < 2 {
            "Member must have length greater than or equal to 2"
        } else if id.len() > 1224 {
            "Member must have length less than or equal to 1224"
        } else if !id.chars().all(legal) {
            "Member must satisfy regular expression pattern: [\\w+=,.@:\\/-]*"
        } else {
            return Ok(Some(id));
        };
        Err(constraint(&format!("Value at 'externalId' failed to satisfy constraint: {why}")))
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

/// A tag's key has 1 to 128 characters, its value 256 at most.
fn tag_fits(number: usize, key: &str, value: &str) -> Result<(), Refusal> {
    let limit = |part: &str, limit: &str| {
        Err(constraint(&format!(
            "Value at 'tags.{number}.member.{part}' failed to satisfy constraint: Member must have length {limit}"
        )))
    };
    match (key.chars().count(), value.chars().count()) {
        (0, _) => limit("key", "greater than or equal to 1"),
        (129.., _) => limit("key", "less than or equal to 128"),
        (_, 257..) => limit("value", "less than or equal to 256"),
        _ => Ok(()),
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
