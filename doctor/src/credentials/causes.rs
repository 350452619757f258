//! Keys and roles.

mod keys;
mod proxy;
mod renew;
mod role;
mod source;
mod trouble;

use crate::cause::{Cause, Found};
use crate::credentials::evidence::{Credentials, Profile, Way};
use crate::evidence::Evidence;
use crate::remedy::Remedy;
use trouble::{Trouble, trouble};

pub(crate) const CAUSES: &[Cause] = &[
    Cause {
        id: "keys-pasted",
        title: "a key was pasted with something that does not belong to it",
        seen: "a variable or a profile holds quotes, a line break or a space in a key; or the key id and the secret are swapped",
        remedy: "the command takes them out or swaps them, without showing the key",
        find: keys::pasted,
    },
    Cause {
        id: "keys-incomplete",
        title: "the keys do not belong together",
        seen: "`ASIA…` without a session token, `AKIA…` with one, or one key without the other",
        remedy: "set the missing one, or unset the one that is too much",
        find: keys::incomplete,
    },
    Cause {
        id: "credentials-expired",
        title: "the credentials have expired",
        seen: "STS answers `ExpiredToken`, or their source says so",
        remedy: "get new ones",
        find: keys::expired,
    },
    Cause {
        id: "keys-unknown",
        title: "AWS does not know the access key",
        seen: "STS answers `InvalidClientTokenId`: the key was deleted, or the session token is another key's",
        remedy: "set all parts of the credentials anew",
        find: keys::unknown,
    },
    Cause {
        id: "secret-wrong",
        title: "the secret access key is wrong",
        seen: "STS answers `SignatureDoesNotMatch`, and the clocks agree",
        remedy: "set all parts of the credentials anew",
        find: keys::secret,
    },
    Cause {
        id: "profile-broken",
        title: "the profile cannot be used",
        seen: "its `source_profile` or `sso_session` does not exist, a setting is missing, or the file cannot be read",
        remedy: "the file and the section to correct",
        find: source::profile_broken,
    },
    Cause {
        id: "credential-process",
        title: "the profile's credential_process gives no credentials",
        seen: "its command fails, does not end in time, or prints something else",
        remedy: "run the command by hand, and correct it",
        find: source::process,
    },
    Cause {
        id: "sso-login",
        title: "the profile is not logged in to IAM Identity Center",
        seen: "nobody is logged in, or the session has ended; or IAM Identity Center is not reached",
        remedy: "`aws sso login` for that profile",
        find: source::sso,
    },
    Cause {
        id: "web-identity",
        title: "the web identity gives no credentials",
        seen: "the file of `AWS_WEB_IDENTITY_TOKEN_FILE` is missing or empty, or STS refuses its token",
        remedy: "the variable or the setting to correct; or the role's trust policy",
        find: source::web_identity,
    },
    Cause {
        id: "container-credentials",
        title: "the container's agent gives no credentials",
        seen: "the URI of `AWS_CONTAINER_CREDENTIALS_FULL_URI` or `…_RELATIVE_URI` is not reached, is silent, or answers without credentials",
        remedy: "correct or unset the variable; or name the agent in `NO_PROXY`",
        find: source::container,
    },
    Cause {
        id: "role-refused",
        title: "STS refuses the role",
        seen: "AssumeRole is denied for `DB_ROLE_ARN` or a profile's `role_arn`: its trust policy, its external id, or the caller's policy; or there is no such role",
        remedy: "the right ARN or external id; or both policies, with the caller and the role filled in",
        find: role::refused,
    },
    Cause {
        id: "sts-unreachable",
        title: "STS, which hands out the role, cannot be reached",
        seen: "a role is to be assumed, and STS refuses the connection or does not answer, or another server answers",
        remedy: "an interface endpoint for STS in the function's subnets; or unset a wrong `AWS_ENDPOINT_URL_STS`; or name STS in `NO_PROXY`",
        find: role::unreachable,
    },
    Cause {
        id: "credentials-missing",
        title: "there are no AWS credentials",
        seen: "no source has any",
        remedy: "set a profile, or export keys; in Lambda, give the function a role",
        find: missing,
    },
];

fn missing(evidence: &Evidence) -> Option<Found> {
    let Trouble::Source(source) = trouble(evidence)? else { return None };
    let profile = source.profile();
    // Nobody is logged in there: a cause of its own.
    if profile.is_some_and(|profile| profile.way == Way::Sso) {
        return None;
    }
    let why = match (&evidence.credentials, profile) {
        (Credentials::Silent { .. }, _) => format!("{source} did not answer in time"),
        (_, Some(Profile { selected, way: Way::NoSuchProfile, .. })) => {
            format!("AWS_PROFILE is {selected}, and there is no profile of that name")
        }
        (_, Some(Profile { selected, way: Way::Nothing, .. })) => {
            format!("profile {selected} has no credentials")
        }
        (credentials, _) => credentials.failure().map(ToString::to_string).unwrap_or_default(),
    };
    let found = Found::certain(why);
    if evidence.environment.is_lambda() {
        return Some(found.remedy(Remedy::action("Give the function an execution role")));
    }
    let value = match profile.map(|profile| profile.names.as_slice()) {
        Some(names) if !names.is_empty() => format!("<a profile: {}>", names.join(", ")),
        _ => "<a profile of ~/.aws/config>".to_owned(),
    };
    Some(found.remedy(Remedy::variable("AWS_PROFILE", value)))
}
