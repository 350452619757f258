//! The order in which AWS asks the policies
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>): an
//! explicit deny anywhere; then a role's trust policy, the permissions boundary, the session policy
//! and the identity policies. Organizations' policies (SCP, RCP) are not modelled.

use std::fmt;

use super::policy::{Opinion, Policy};
use super::request::Request;
use super::trusted::Grant;

/// Every policy that has a say in a request.
pub(crate) struct Policies<'a> {
    /// The user's or role's own.
    pub(crate) identity: &'a [Policy],
    /// Its permissions boundary.
    pub(crate) boundary: Option<&'a Policy>,
    /// The policy that a session was made with.
    pub(crate) session: Option<&'a Policy>,
    /// The trust policy of the role that is asked for.
    pub(crate) trust: Option<&'a Policy>,
    /// Whether caller and resource are in one account.
    pub(crate) same_account: bool,
}

/// Why a request is denied, in the words of AWS's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    policy: &'static str,
    action: String,
    /// The statement that denies it; `None` when none allows it.
    statement: Option<String>,
}

const IDENTITY: &str = "identity-based policy";
const BOUNDARY: &str = "permissions boundary";
const SESSION: &str = "session policy";
const TRUST: &str = "role trust policy";

impl<'a> Policies<'a> {
    /// A caller without policies of its own: a web identity.
    pub(crate) fn trust_only(trust: &'a Policy) -> Self {
        Self {
            identity: &[],
            boundary: None,
            session: None,
            trust: Some(trust),
            same_account: true,
        }
    }

    /// Whether the request is allowed.
    pub(crate) fn evaluate(&self, request: Request<'_>) -> Result<(), Denial> {
        let denial =
            |policy, statement| Denial { policy, action: request.action.to_owned(), statement };
        let identity = self.identity_opinion(request);
        let opinion = |policy: Option<&Policy>| policy.map(|policy| policy.opinion(request));
        let [boundary, session, trust] = [self.boundary, self.session, self.trust].map(opinion);
        for (policy, opinion) in [
            (TRUST, trust.as_ref()),
            (BOUNDARY, boundary.as_ref()),
            (SESSION, session.as_ref()),
            (IDENTITY, Some(&identity)),
        ] {
            if let Some(Opinion::Denied(statement)) = opinion {
                return Err(denial(policy, Some(statement.clone())));
            }
        }
        let granted = match trust {
            Some(Opinion::Allowed(grant)) if self.same_account => Some(grant),
            Some(Opinion::Allowed(_)) => None,
            Some(_) => return Err(denial(TRUST, None)),
            None => None,
        };
        if granted == Some(Grant::Caller) {
            return Ok(());
        }
        let allows = |opinion: &Option<Opinion>| match opinion {
            None | Some(Opinion::Allowed(_)) => true,
            Some(_) => false,
        };
        if !allows(&boundary) {
            return Err(denial(BOUNDARY, None));
        }
        if !allows(&session) {
            return Err(denial(SESSION, None));
        }
        if granted == Some(Grant::Role) || matches!(identity, Opinion::Allowed(_)) {
            return Ok(());
        }
        Err(denial(IDENTITY, None))
    }

    fn identity_opinion(&self, request: Request<'_>) -> Opinion {
        let mut opinion = Opinion::Silent;
        for policy in self.identity {
            match policy.opinion(request) {
                denied @ Opinion::Denied(_) => return denied,
                Opinion::Silent => {}
                allowed => opinion = allowed,
            }
        }
        opinion
    }
}

impl Denial {
    /// Whether a statement denies it, rather than none allowing it.
    pub fn is_explicit(&self) -> bool {
        self.statement.is_some()
    }

    /// The words that AWS adds to its message.
    pub fn because(&self) -> String {
        let Self { policy, action, statement } = self;
        match (statement, *policy) {
            (None, policy) => format!("because no {policy} allows the {action} action"),
            (Some(_), IDENTITY) => "with an explicit deny in an identity-based policy".into(),
            (Some(_), TRUST) => "with an explicit deny in the role trust policy".into(),
            (Some(_), policy) => format!("with an explicit deny in a {policy}"),
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.because())?;
        match &self.statement {
            Some(statement) => write!(f, " ({statement})"),
            None => Ok(()),
        }
    }
}
