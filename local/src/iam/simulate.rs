//! A decision without a request: what a principal's policies say of an action, as far as they do not depend
//! on the request's circumstances.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::policy::{Opinion, Policy};
use super::principal::{Circumstances, Identity, Principal};
use super::request::Request;

/// IAM's words for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Allowed,
    ImplicitDeny,
    ExplicitDeny,
}

#[derive(Debug)]
pub(crate) struct Simulated {
    pub(crate) decision: Decision,
    /// Whether the permissions boundary allows it, if there is one.
    pub(crate) boundary: Option<bool>,
    /// Keys of conditions that have no value here.
    pub(crate) missing: BTreeSet<String>,
}

impl Principal {
    pub(crate) fn simulate(
        self: &Arc<Self>,
        action: &str,
        resource: &str,
        at: &Circumstances<'_>,
    ) -> Simulated {
        let identity = Identity::fresh_user_key(self.clone());
        // Where a request comes from is not known.
        let context = identity.context(&Circumstances { source_ip: None, ..*at });
        let request = Request { action, resource, caller: &identity.caller(), context: &context };
        let decision = match identity.may(action, resource, &self.account, None, &context) {
            Ok(()) => Decision::Allowed,
            Err(denial) if denial.is_explicit() => Decision::ExplicitDeny,
            Err(_) => Decision::ImplicitDeny,
        };
        let boundary = self.boundary.as_ref();
        let allows = |policy: &Policy| matches!(policy.opinion(request), Opinion::Allowed(_));
        let policies = self.policies.iter().chain(boundary);
        Simulated {
            decision,
            boundary: boundary.map(allows),
            missing: policies.flat_map(|policy| policy.missing(request)).collect(),
        }
    }
}
