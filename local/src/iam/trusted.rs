//! The principals that a trust policy names.

use super::json::Json;
use super::request::Caller;

/// Whom an Allow names. In one account, a grant to the caller itself needs no other policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grant {
    /// The caller's account, which leaves it to the caller's own policies.
    Account,
    /// The role whose session calls.
    Role,
    /// The caller: a user, a session, or whoever the policy is attached to.
    Caller,
}

/// One entry of the element `Principal`.
#[derive(PartialEq)]
pub(super) enum Trusted {
    Anyone,
    Account(String),
    Arn(String),
    Federated(String),
    /// A service assumes a role by itself; nobody calls STS as one.
    Service,
}

impl Trusted {
    pub(super) fn parse_all(value: &Json) -> Result<Vec<Self>, String> {
        if value.text() == Some("*") {
            return Ok(vec![Self::Anyone]);
        }
        let Json::Object(kinds) = value else {
            return Err("Principal is an object, as {\"AWS\": …}, or \"*\"".into());
        };
        let mut principals = Vec::new();
        for (kind, values) in kinds {
            for value in values.one_or_many() {
                let text = value.text().ok_or_else(|| {
                    format!("Principal {kind:?} holds {}, not a string", value.kind())
                })?;
                principals.push(Self::parse(kind, text)?);
            }
        }
        if principals.is_empty() {
            return Err("Principal is empty".into());
        }
        Ok(principals)
    }

    fn parse(kind: &str, text: &str) -> Result<Self, String> {
        let invalid = || format!("Invalid principal in policy: {kind:?}: {text:?}");
        let is_account = |text: &str| text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        match kind {
            "AWS" if text == "*" => Ok(Self::Anyone),
            "AWS" if is_account(text) => Ok(Self::Account(text.to_owned())),
            "AWS" => {
                let parts: Vec<&str> = text.splitn(6, ':').collect();
                match parts.as_slice() {
                    ["arn", _, "iam", "", account, "root"] if is_account(account) => {
                        Ok(Self::Account((*account).to_owned()))
                    }
                    // A part of a name with a wildcard is what AWS refuses here too.
                    ["arn", _, "iam" | "sts", "", account, name]
                        if is_account(account)
                            && name.contains('/')
                            && !name.contains(['*', '?']) =>
                    {
                        Ok(Self::Arn(text.to_owned()))
                    }
                    _ => Err(invalid()),
                }
            }
            "Federated" => Ok(Self::Federated(text.to_owned())),
            "Service" => Ok(Self::Service),
            _ => Err(format!("the principal {kind:?} is not supported")),
        }
    }

    /// `None` if it does not cover the caller.
    pub(super) fn covers(&self, caller: &Caller) -> Option<Grant> {
        match self {
            // Of a session it names the role, whose boundary and session policy go on to limit it.
            Self::Anyone if caller.role.is_some() => Some(Grant::Role),
            Self::Anyone => Some(Grant::Caller),
            Self::Account(account) => {
                let covered = caller.federated.is_none() && *account == caller.account;
                covered.then_some(Grant::Account)
            }
            Self::Arn(arn) if *arn == caller.arn => Some(Grant::Caller),
            Self::Arn(arn) => (Some(arn) == caller.role.as_ref()).then_some(Grant::Role),
            Self::Federated(provider) => {
                (Some(provider) == caller.federated.as_ref()).then_some(Grant::Caller)
            }
            Self::Service => None,
        }
    }
}
