//! Who is to blame for credentials that are missing: STS, which was asked for a role, or their source.

use rds_iam::credentials::{Failure, Role};

use crate::aws::evidence::Caller;
use crate::credentials::evidence::{Credentials, ProfileRole, Source, TokenFile, Way};
use crate::evidence::Evidence;

/// The reason, and the part that it is about.
pub(super) enum Trouble<'a> {
    /// STS refused a role.
    Refused {
        /// STS's code, if it is documented.
        code: &'a str,
        role: Asked<'a>,
    },
    /// STS was not reached, or another server answered.
    Unreachable { role: Asked<'a>, answered: bool },
    /// The source gave none.
    Source(&'a Source),
}

/// The role that STS was asked for.
#[derive(Clone, Copy)]
pub(super) enum Asked<'a> {
    /// `DB_ROLE_ARN`
    Configured(&'a Role),
    /// `role_arn` of a profile.
    Profile(&'a ProfileRole),
    /// The role of a web identity.
    WebIdentity(&'a TokenFile),
}

impl Asked<'_> {
    pub(super) fn arn(&self) -> &str {
        match self {
            Self::Configured(role) => &role.arn,
            Self::Profile(role) => &role.arn,
            Self::WebIdentity(token) => &token.role,
        }
    }
}

/// Why there are no credentials; `None` if there are.
pub(super) fn trouble(evidence: &Evidence) -> Option<Trouble<'_>> {
    let credentials = &evidence.credentials;
    let source = credentials.source()?;
    match credentials {
        Credentials::Missing { failure, .. } => Some(match (asked(evidence, source), failure) {
            (Some(role), Failure::RoleRefused { code, .. }) => {
                Trouble::Refused { code: code.unwrap_or("an undocumented code"), role }
            }
            (Some(role), Failure::NotSts) => Trouble::Unreachable { role, answered: true },
            (Some(role), Failure::StsUnreachable | Failure::StsSilent | Failure::StsNotAsked) => {
                Trouble::Unreachable { role, answered: false }
            }
            _ => Trouble::Source(source),
        }),
        Credentials::Silent { .. } => {
            let own = source.profile().is_some_and(|p| matches!(p.way, Way::Process | Way::Sso));
            let by_configured =
                configured(evidence).is_some() && evidence.aws.caller != Caller::Unknown;
            Some(match asked(evidence, source) {
                Some(role) if by_configured || !own => {
                    Trouble::Unreachable { role, answered: false }
                }
                _ => Trouble::Source(source),
            })
        }
        _ => None,
    }
}

fn configured(evidence: &Evidence) -> Option<&Role> {
    evidence.config()?.common.role.as_ref()
}

/// The role that STS was asked for last: that of `DB_ROLE_ARN` if the credentials before it are known.
fn asked<'a>(evidence: &'a Evidence, source: &'a Source) -> Option<Asked<'a>> {
    let named = match evidence.credentials.failure() {
        Some(Failure::RoleRefused { role, .. }) => role.as_deref(),
        _ => None,
    };
    let is_named = |arn: &str| named.is_none_or(|named| named == arn);
    let before = evidence.aws.caller != Caller::Unknown || !source.asks_sts();
    if let Some(role) = configured(evidence).filter(|role| before && is_named(&role.arn)) {
        // Without credentials to ask with, it was not asked for.
        let base_is_there = evidence.aws.caller != Caller::Unknown
            || matches!(evidence.credentials, Credentials::Missing { .. });
        return base_is_there.then_some(Asked::Configured(role));
    }
    let roles = source.profile().map_or(&[][..], |profile| &profile.roles);
    // The one next to the first credentials is asked for first.
    let role = roles.iter().find(|role| named == Some(role.arn.as_str())).or_else(|| roles.last());
    role.map(Asked::Profile).or_else(|| source.web_identity().map(Asked::WebIdentity))
}
