//! A decision without a request: what a principal's policies say of an action, as far as they do not depend
//! on the request's circumstances.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::evaluate::Policies;
use super::policy::Request;
use super::principal::{Circumstances, Identity, Principal};

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
        let (boundary, identity) = (self.boundary.as_ref(), self.policies.as_slice());
        let policies =
            Policies { identity, boundary, session: None, trust: None, same_account: true };
        let decision = match policies.evaluate(request) {
            Ok(()) => Decision::Allowed,
            Err(denial) if denial.is_explicit() => Decision::ExplicitDeny,
            Err(_) => Decision::ImplicitDeny,
        };
        let alone = boundary.map(|boundary| Policies {
            identity: std::slice::from_ref(boundary),
            boundary: None,
            ..policies
        });
        let missing = identity.iter().chain(boundary).flat_map(|policy| policy.missing(request));
        Simulated {
            decision,
            boundary: alone.map(|policies| policies.evaluate(request).is_ok()),
            missing: missing.collect(),
        }
    }
}
