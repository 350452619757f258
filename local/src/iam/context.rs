//! The request context: what condition keys and policy variables stand for in one request
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html>).

use std::collections::BTreeMap;

/// Keys with one value.
const SINGLE: [&str; 19] = [
    "aws:currenttime",
    "aws:epochtime",
    "aws:multifactorauthpresent",
    "aws:multifactorauthage",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:principaltype",
    "aws:requestedregion",
    "aws:resourceaccount",
    "aws:securetransport",
    "aws:sourceip",
    "aws:tokenissuetime",
    "aws:userid",
    "aws:username",
    "aws:federatedprovider",
    "sts:externalid",
    "sts:rolesessionname",
    "neptune-db:querylanguage",
];
/// Keys with several values: a condition says how to take them, by `ForAnyValue` or `ForAllValues`.
const MULTIPLE: [&str; 3] = ["aws:principalorgpaths", "aws:tagkeys", "sts:transitivetagkeys"];
/// Keys with a tag's name behind them.
const TAGS: [&str; 3] = ["aws:principaltag/", "aws:requesttag/", "aws:resourcetag/"];

/// The values of one request, by key in lower case.
#[derive(Clone, Default)]
pub(crate) struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// Sets a key's one value.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_ascii_lowercase(), vec![value.into()]);
    }

    /// Sets a key's values.
    pub(crate) fn set_all(&mut self, key: &str, values: Vec<String>) {
        self.0.insert(key.to_ascii_lowercase(), values);
    }

    /// A key's values; none if the request has no such key.
    pub(super) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map(Vec::as_slice).unwrap_or_default()
    }

    /// The value of a key that has one.
    pub(super) fn single(&self, key: &str) -> Option<&str> {
        self.values(key).first().map(String::as_str)
    }
}

/// Whether a key has several values.
pub(super) fn is_multiple(key: &str) -> bool {
    MULTIPLE.contains(&key) || key.ends_with(":amr")
}

/// A condition's key in the form that [`Context`] knows it by, or why it is not supported.
pub(super) fn key_of_condition(name: &str) -> Result<String, String> {
    let key = name.to_ascii_lowercase();
    let tag = TAGS.iter().any(|prefix| key.len() > prefix.len() && key.starts_with(prefix));
    // An identity provider's claims: token.actions.githubusercontent.com:sub
    let claim = key.rsplit_once(':').is_some_and(|(provider, claim)| {
        provider.contains('.') && matches!(claim, "aud" | "sub" | "amr")
    });
    if tag || claim || SINGLE.contains(&key.as_str()) || MULTIPLE.contains(&key.as_str()) {
        return Ok(key);
    }
    Err(format!("the condition key {name:?} is not supported; docs/iam.md lists those that are"))
}

/// A policy variable's key. Keys with several values are no variables.
pub(super) fn key_of_variable(name: &str) -> Result<String, String> {
    match key_of_condition(name) {
        Ok(key) if !is_multiple(&key) => Ok(key),
        _ => Err(format!(
            "the policy variable ${{{name}}} is not supported; docs/iam.md lists those that are"
        )),
    }
}
