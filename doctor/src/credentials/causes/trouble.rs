//! Who is to blame for credentials that are missing: STS, which was asked for a role, or their source.

use rds_iam::credentials::Role;

use crate::aws::evidence::Caller;
use crate::credentials::evidence::{Credentials, ProfileRole, Source, TokenFile, Way};
use crate::evidence::Evidence;

/// What went wrong.
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
        Credentials::Missing { why, .. } => {
            let role = asked(evidence, source);
            let is = |start: &str| why.starts_with(start);
            Some(match role {
                Some(role) if is("STS refused the role") => {
                    Trouble::Refused { code: code(why), role }
                }
                Some(role) if is("what answered is not STS") => {
                    Trouble::Unreachable { role, answered: true }
                }
                Some(role)
                    if is("STS cannot be") || is("STS did not") || is("the request to STS") =>
                {
                    Trouble::Unreachable { role, answered: false }
                }
                _ => Trouble::Source(source),
            })
        }
        Credentials::Silent { .. } => {
            let own = source.profile().is_some_and(|p| matches!(p.way, Way::Process | Way::Sso));
            let by_configured =
                configured(evidence).is_some() && evidence.caller != Caller::Unknown;
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

/// `STS refused the role: CODE: …`
fn code(why: &str) -> &str {
    why.split(": ").nth(1).unwrap_or("an undocumented code")
}

/// Who asked and for which role, if STS said so: `… CALLER may not assume ROLE: …`
pub(super) fn parties(why: &str) -> Option<(&str, &str)> {
    let (before, after) = why.split_once(" may not assume ")?;
    Some((before.rsplit(": ").next()?, after.split(": ").next()?))
}

fn configured(evidence: &Evidence) -> Option<&Role> {
    evidence.config.as_ref()?.role.as_ref()
}

/// The role that STS was asked for last: that of `DB_ROLE_ARN` if the credentials before it are known.
fn asked<'a>(evidence: &'a Evidence, source: &'a Source) -> Option<Asked<'a>> {
    let named = parties(evidence.credentials.why()).map(|(_, role)| role);
    let is_named = |arn: &str| named.is_none_or(|named| named == arn);
    let before = evidence.caller != Caller::Unknown || !source.asks_sts();
    if let Some(role) = configured(evidence).filter(|role| before && is_named(&role.arn)) {
        // Without credentials to ask with, it was not asked for.
        let base_is_there = evidence.caller != Caller::Unknown
            || matches!(evidence.credentials, Credentials::Missing { .. });
        return base_is_there.then_some(Asked::Configured(role));
    }
    let roles = source.profile().map_or(&[][..], |profile| &profile.roles);
    // The one next to the first credentials is asked for first.
    let role = roles.iter().find(|role| named == Some(&role.arn)).or_else(|| roles.last());
    role.map(Asked::Profile).or_else(|| source.web_identity().map(Asked::WebIdentity))
}
