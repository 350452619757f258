//! Remedies that several causes share: new credentials, from the source of the old ones.

use crate::cause::Found;
use crate::credentials::evidence::{Profile, Source, Way};
use crate::evidence::Evidence;
use crate::remedy::{Remedy, word};

/// New credentials, from wherever these came.
pub(super) fn renew(evidence: &Evidence, found: Found) -> Found {
    let Some(source) = evidence.credentials.source() else { return found };
    found.remedy(match source {
        Source::Environment if evidence.environment.is_lambda() => Remedy::action(
            "Invoke the function again: a new sandbox gets new credentials; if they come from variables of the function's own, remove those",
        ),
        Source::Environment => Remedy::command(
            "unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN\neval \"$(aws configure export-credentials --profile <your profile> --format env)\"",
        ),
        Source::Profile(profile) => match &profile.way {
            Way::Sso => login(&profile.base),
            Way::Process => run_by_hand(profile),
            Way::WebIdentity(_) | Way::CredentialSource(_) | Way::LoginSession => Remedy::action(format!(
                "Get new credentials from the source that {} names, and run this again",
                profile.place
            )),
            _ => Remedy::action(format!(
                "In {}: write new keys, aws_access_key_id and aws_secret_access_key, and aws_session_token if they are temporary",
                profile.place
            )),
        },
        source => Remedy::action(format!("Get new credentials from {source}, and run this again")),
    })
}

pub(super) fn login(profile: &str) -> Remedy {
    Remedy::command(format!("aws sso login --profile {}", word(profile)))
}

pub(super) fn run_by_hand(profile: &Profile) -> Remedy {
    Remedy::action(format!(
        r#"Run the command of credential_process, in {}, by hand, and correct it: within 2 s it must print living keys, {{"Version":1,"AccessKeyId":"…","SecretAccessKey":"…","SessionToken":"…","Expiration":"…"}}, and exit with 0"#,
        profile.place
    ))
}
