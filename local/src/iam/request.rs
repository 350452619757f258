//! A request, as the policies see it.

use super::context::Context;

/// A request, as policies see it.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    /// Such as `rds-db:connect`.
    pub(crate) action: &'a str,
    /// The resource's ARN.
    pub(crate) resource: &'a str,
    /// The caller by the names that a trust policy may give it.
    pub(crate) caller: &'a Caller,
    /// The values of condition keys.
    pub(crate) context: &'a Context,
}

/// The caller, for a trust policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// A user's ARN, or a session's.
    pub(crate) arn: String,
    /// The ARN of the role whose session it is.
    pub(crate) role: Option<String>,
    /// The account's number.
    pub(crate) account: String,
    /// An identity provider's ARN, for a web identity.
    pub(crate) federated: Option<String>,
}
