//! IAM policy documents: identity policies, permissions boundaries, session policies and trust
//! policies (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>).
//! An element that is not supported is an error, never ignored.

use std::fmt;

use super::condition::Condition;
use super::json::Json;
use super::pattern::Pattern;
use super::request::Request;
use super::trusted::{Grant, Trusted};

/// The holder of a document, which decides its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A user's or role's policy, its boundary, or a session's policy: it names resources.
    Identity,
    /// A role's trust policy: it names principals.
    Trust,
}

/// A policy document. Its `Debug` shows no value: a trust policy holds external ids.
pub struct Policy {
    statements: Vec<Statement>,
}

/// A document's opinion of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opinion {
    /// A Deny statement matches: its name.
    Denied(String),
    /// An Allow statement matches.
    Allowed(Grant),
    /// No statement matches.
    Silent,
}

struct Statement {
    /// Its Sid, or its number.
    name: String,
    allows: bool,
    principals: Vec<Trusted>,
    actions: Selector,
    resources: Selector,
    conditions: Vec<Condition>,
}

/// `Action` or `NotAction`, `Resource` or `NotResource`.
enum Selector {
    Only(Vec<Pattern>),
    AllBut(Vec<Pattern>),
}

impl Policy {
    /// Parses a document; the error says which statement is wrong, and why.
    pub fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        Self::from_json(&Json::parse(text)?, kind)
    }

    pub(super) fn from_json(json: &Json, kind: Kind) -> Result<Self, String> {
        let Json::Object(elements) = json else {
            return Err(format!("a policy document is a JSON object, and this is {}", json.kind()));
        };
        let mut variables = false;
        let mut statements = None;
        for (name, value) in elements {
            match (name.as_str(), value.text()) {
                // Variables came with this version; in the older one they are plain text.
                ("Version", Some("2012-10-17")) => variables = true,
                ("Version", Some("2008-10-17")) | ("Id", Some(_)) => {}
                ("Version", _) => return Err("Version must be \"2012-10-17\"".into()),
                ("Statement", _) => statements = Some(value),
                _ => return Err(format!("the element {name:?} is not supported")),
            }
        }
        let statements = statements.ok_or("the policy has no Statement")?.one_or_many();
        if statements.is_empty() {
            return Err("Statement is empty".into());
        }
        let statements = statements
            .iter()
            .enumerate()
            .map(|(index, statement)| {
                Statement::parse(statement, index + 1, kind, variables)
                    .map_err(|why| format!("statement {}: {why}", index + 1))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }

    /// The keys without a value that decide whether its statements about the request apply.
    pub(super) fn missing(&self, request: Request<'_>) -> Vec<String> {
        let about = self.statements.iter().filter(|statement| statement.is_about(request));
        let conditions = about.flat_map(|statement| &statement.conditions);
        conditions.filter_map(|condition| condition.missing(request.context)).collect()
    }

    /// Its opinion of a request: a Deny wins, wherever it stands.
    pub(super) fn opinion(&self, request: Request<'_>) -> Opinion {
        let mut opinion = Opinion::Silent;
        for statement in &self.statements {
            let Some(grant) = statement.matches(request) else { continue };
            if !statement.allows {
                return Opinion::Denied(statement.name.clone());
            }
            opinion = match opinion {
                Opinion::Allowed(earlier) => Opinion::Allowed(grant.max(earlier)),
                _ => Opinion::Allowed(grant),
            };
        }
        opinion
    }
}

/// A statement's elements, as far as they are read.
#[derive(Default)]
struct Elements {
    sid: String,
    allows: Option<bool>,
    principals: Option<Vec<Trusted>>,
    actions: Option<Selector>,
    resources: Option<Selector>,
    conditions: Vec<Condition>,
}

impl Elements {
    fn read(
        &mut self,
        element: &str,
        value: &Json,
        kind: Kind,
        variables: bool,
    ) -> Result<(), String> {
        match (element, kind) {
            ("Sid", _) => self.sid = value.text().ok_or("Sid is not a string")?.to_owned(),
            ("Effect", _) => {
                self.allows = Some(match value.text() {
                    Some("Allow") => true,
                    Some("Deny") => false,
                    _ => return Err("Effect must be \"Allow\" or \"Deny\"".into()),
                });
            }
            ("Action" | "NotAction", _) => {
                set(&mut self.actions, Selector::parse(element, value, action)?, "Action")?;
            }
            ("Resource" | "NotResource", Kind::Identity) => {
                let parse = |text: &str| resource(text, variables);
                set(&mut self.resources, Selector::parse(element, value, parse)?, "Resource")?;
            }
            ("Principal", Kind::Trust) => self.principals = Some(Trusted::parse_all(value)?),
            ("Condition", _) => self.conditions = parse_conditions(value, variables)?,
            ("Resource" | "NotResource", Kind::Trust) => {
                return Err(format!("a trust policy has no {element}: it speaks of its own role"));
            }
            ("Principal" | "NotPrincipal", Kind::Identity) => {
                return Err(format!(
                    "an identity policy has no {element}: it speaks of who it is attached to"
                ));
            }
            _ => return Err(format!("the element {element:?} is not supported")),
        }
        Ok(())
    }
}

impl Statement {
    fn parse(json: &Json, number: usize, kind: Kind, variables: bool) -> Result<Self, String> {
        let Json::Object(entries) = json else {
            return Err(format!("a statement is a JSON object, and this is {}", json.kind()));
        };
        let mut elements = Elements::default();
        for (element, value) in entries {
            elements.read(element, value, kind, variables)?;
        }
        let name = match elements.sid.as_str() {
            "" => format!("statement {number}"),
            sid => format!("statement {sid:?}"),
        };
        let (resources, principals) = match kind {
            Kind::Identity => (elements.resources.ok_or("Resource is missing")?, Vec::new()),
            Kind::Trust => {
                (Selector::AllBut(Vec::new()), elements.principals.ok_or("Principal is missing")?)
            }
        };
        Ok(Self {
            name,
            allows: elements.allows.ok_or("Effect is missing")?,
            principals,
            actions: elements.actions.ok_or("Action is missing")?,
            resources,
            conditions: elements.conditions,
        })
    }

    /// Whom it names, if it applies to the request.
    fn matches(&self, request: Request<'_>) -> Option<Grant> {
        let grant = match self.principals.as_slice() {
            [] => Grant::Caller,
            principals => principals.iter().filter_map(|p| p.covers(request.caller)).max()?,
        };
        let applies = self.is_about(request)
            && self.conditions.iter().all(|condition| condition.is_met(request.context));
        applies.then_some(grant)
    }

    /// Whether it names the request's action and resource.
    fn is_about(&self, Request { action, resource, context, .. }: Request<'_>) -> bool {
        self.actions.selects(|p| p.matches_ignoring_case(action, context))
            && self.resources.selects(|p| p.matches_arn(resource, context))
    }
}

fn set(target: &mut Option<Selector>, value: Selector, element: &str) -> Result<(), String> {
    if target.replace(value).is_some() {
        return Err(format!("{element} and Not{element} exclude each other"));
    }
    Ok(())
}

impl Selector {
    fn parse(
        element: &str,
        value: &Json,
        parse: impl Fn(&str) -> Result<Pattern, String>,
    ) -> Result<Self, String> {
        let patterns = value
            .one_or_many()
            .iter()
            .map(|value| {
                let text = value
                    .text()
                    .ok_or_else(|| format!("{element} holds {}, not a string", value.kind()))?;
                parse(text).map_err(|why| format!("{element} {text:?}: {why}"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if patterns.is_empty() {
            return Err(format!("{element} is empty"));
        }
        Ok(if element.starts_with("Not") { Self::AllBut(patterns) } else { Self::Only(patterns) })
    }

    fn selects(&self, matches: impl FnMut(&Pattern) -> bool) -> bool {
        match self {
            Self::Only(patterns) => patterns.iter().any(matches),
            Self::AllBut(patterns) => !patterns.iter().any(matches),
        }
    }
}

fn action(text: &str) -> Result<Pattern, String> {
    let whole = text.split_once(':').is_some_and(|(service, name)| {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_*?".contains(c);
        !service.is_empty() && !name.is_empty() && text.chars().all(|c| legal(c) || c == ':')
    });
    if text != "*" && !whole {
        return Err("an action is service:name, as rds-db:connect, or *".into());
    }
    Pattern::wild(text, false)
}

fn resource(text: &str, variables: bool) -> Result<Pattern, String> {
    let pattern = Pattern::wild(text, variables)?;
    if !pattern.is_arn_like() {
        return Err(
            "a resource is an ARN, arn:partition:service:region:account:resource, or *".into()
        );
    }
    Ok(pattern)
}

fn parse_conditions(value: &Json, variables: bool) -> Result<Vec<Condition>, String> {
    let Json::Object(operators) = value else {
        return Err(format!("Condition is {}, not an object of operators", value.kind()));
    };
    let mut conditions = Vec::new();
    for (operator, block) in operators {
        conditions.extend(Condition::parse(operator, block, variables)?);
    }
    Ok(conditions)
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy").field("statements", &self.statements.len()).finish_non_exhaustive()
    }
}
