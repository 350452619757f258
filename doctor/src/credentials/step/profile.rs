//! The profile that the SDK selects, followed as the SDK follows it
//! (<https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>). Names of profiles and files are
//! kept; a command, a URL or a key is not.

use aws_config::profile::{Profile as Section, ProfileSet};
use aws_types::os_shim_internal::{Env, Fs};
use rds_iam::credentials::key_flaws;

use super::token_file::token_file;
use crate::credentials::evidence::{Profile, ProfileRole, Way};
use crate::environment::Environment;

/// Both files, and what the credentials file alone says.
struct Files {
    all: ProfileSet,
    credentials: Option<ProfileSet>,
    /// Their names, as the user writes them.
    paths: [String; 2],
}

/// The selected profile; `None` if none is selected and there is no default.
pub(super) async fn find(environment: &Environment) -> Option<Profile> {
    let path = |name, usual: &str| environment.get(name).unwrap_or(usual).to_owned();
    let paths = [
        path("AWS_CONFIG_FILE", "~/.aws/config"),
        path("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
    ];
    let (fs, env) = (Fs::real(), Env::real());
    let only = only_the_credentials_file();
    let credentials = aws_config::profile::load(&fs, &env, &only, None).await;
    let Ok(all) = aws_config::profile::load(&fs, &env, &Default::default(), None).await else {
        let name = environment.get("AWS_PROFILE").unwrap_or("default");
        let [config, keys] = paths;
        let place = if credentials.is_err() { keys } else { config };
        let what = format!("{place} cannot be read, or is not of the form of AWS's files");
        return Some(Profile {
            selected: name.to_owned(),
            base: name.to_owned(),
            place,
            way: Way::Broken { what, ends: true },
            roles: Vec::new(),
            names: Vec::new(),
        });
    };
    let files = Files { all, credentials: credentials.ok(), paths };
    let unselected = !environment.has("AWS_PROFILE") && files.all.get_profile("default").is_none();
    (!unselected).then(|| files.follow())
}

#[allow(deprecated, reason = "the name's own crate is not a dependency")]
fn only_the_credentials_file() -> aws_config::profile::profile_file::ProfileFiles {
    aws_config::profile::profile_file::ProfileFiles::builder()
        .include_default_credentials_file(true)
        .build()
}

fn broken(what: String) -> Way {
    Way::Broken { what, ends: true }
}

impl Files {
    /// The file and the section of a profile that has this setting.
    fn place(&self, profile: &str, setting: &str) -> String {
        let has = |set: &ProfileSet| set.get_profile(profile)?.get(setting).map(|_| ());
        let [config, credentials] = &self.paths;
        if self.credentials.as_ref().and_then(has).is_some() {
            return format!("{credentials}, under [{profile}]");
        }
        let prefix = if profile == "default" { "" } else { "profile " };
        format!("{config}, under [{prefix}{profile}]")
    }

    fn follow(&self) -> Profile {
        let selected = self.all.selected_profile();
        let mut roles = Vec::new();
        let mut visited: Vec<&str> = Vec::new();
        let mut name = selected;
        let (way, setting) = loop {
            let Some(section) = self.all.get_profile(name) else {
                let Some(from) = visited.last() else { break (Way::NoSuchProfile, "") };
                let what = format!(
                    "source_profile of profile {from} is {name}, and there is none of that name"
                );
                name = from;
                break (Way::Broken { what, ends: false }, "source_profile");
            };
            if visited.contains(&name) {
                let from = visited.last().copied().unwrap_or(name);
                let what = format!("source_profile of profile {from} leads back to {name}");
                name = from;
                break (broken(what), "source_profile");
            }
            visited.push(name);
            if visited.len() > 1
                && let (way @ Way::Keys(_), setting) = keys(section)
            {
                break (way, setting);
            }
            roles.extend(self.role(section));
            match self.next(section, &visited) {
                Ok(next) => name = next,
                Err(end) => break end,
            }
        };
        let mut names: Vec<String> = self.all.profiles().map(str::to_owned).collect();
        names.sort();
        Profile {
            selected: selected.to_owned(),
            base: name.to_owned(),
            place: self.place(name, setting),
            way,
            roles,
            names,
        }
    }

    /// The role that a profile assumes; that of a web identity is not assumed with other credentials.
    fn role(&self, section: &Section) -> Option<ProfileRole> {
        let arn = section.get("role_arn")?;
        section.get("web_identity_token_file").is_none().then(|| ProfileRole {
            arn: arn.to_owned(),
            place: self.place(section.name(), "role_arn"),
            external_id: section.get("external_id").is_some(),
        })
    }

    /// The profile that a profile has its credentials from, or how it ends here.
    fn next<'a>(
        &self,
        section: &'a Section,
        visited: &[&str],
    ) -> Result<&'a str, (Way, &'static str)> {
        let name = section.name();
        if self.role(section).is_none() {
            return Err(self.base(section, visited));
        }
        let what = match (section.get("source_profile"), section.get("credential_source")) {
            (Some(next), None) if next != name => return Ok(next),
            (None, None) => "role_arn, and neither source_profile nor credential_source",
            (Some(_), Some(_)) => "both source_profile and credential_source",
            _ => return Err(self.base(section, visited)),
        };
        Err((broken(format!("profile {name} has {what}")), "role_arn"))
    }

    /// Where a profile has its first credentials from, and the setting that says so.
    fn base(&self, section: &Section, visited: &[&str]) -> (Way, &'static str) {
        let has = |setting: &str| section.get(setting).is_some();
        let name = section.name();
        if let Some(source) = section.get("credential_source") {
            let known = ["Environment", "EcsContainer", "Ec2InstanceMetadata"];
            let way = match known.iter().find(|known| **known == source) {
                Some(known) => Way::CredentialSource(known),
                None => broken(format!(
                    "credential_source of profile {name} is none of {}",
                    known.join(", ")
                )),
            };
            return (way, "credential_source");
        }
        if let Some(path) = section.get("web_identity_token_file") {
            let way = match section.get("role_arn") {
                Some(role) => Way::WebIdentity(token_file(path, role)),
                None => {
                    broken(format!("profile {name} has web_identity_token_file, and no role_arn"))
                }
            };
            return (way, "web_identity_token_file");
        }
        let sso = ["sso_session", "sso_start_url", "sso_account_id", "sso_role_name", "sso_region"];
        if let Some(setting) = sso.into_iter().find(|setting| has(setting)) {
            return (self.sso(section), setting);
        }
        if has("login_session") {
            return (Way::LoginSession, "login_session");
        }
        if has("credential_process") {
            return (Way::Process, "credential_process");
        }
        match keys(section) {
            (Way::Nothing, setting) if visited.len() > 1 => (
                broken(format!("profile {name} is a source_profile, and has no credentials")),
                setting,
            ),
            found => found,
        }
    }

    fn sso(&self, section: &Section) -> Way {
        let name = section.name();
        let [config, _] = &self.paths;
        let mut found =
            ["sso_region", "sso_start_url"].map(|setting| section.get(setting).is_some());
        if let Some(session) = section.get("sso_session") {
            if found.contains(&true) {
                return broken(format!(
                    "profile {name} has sso_session, and sso_region or sso_start_url, which belong under [sso-session {session}]"
                ));
            }
            let Some(session) = self.all.sso_session(session) else {
                return broken(format!(
                    "sso_session of profile {name} is {session}, and {config} has no [sso-session {session}]"
                ));
            };
            found = ["sso_region", "sso_start_url"].map(|setting| session.get(setting).is_some());
        }
        let [account, role] =
            ["sso_account_id", "sso_role_name"].map(|setting| section.get(setting).is_some());
        let wanted = [
            (account, "sso_account_id"),
            (role, "sso_role_name"),
            (found[0], "sso_region"),
            (found[1], "sso_start_url"),
        ];
        match wanted.iter().find(|(has, _)| !has) {
            None => Way::Sso,
            // One of the two ends the search; the lack of both does not, nor that of the others.
            Some((_, setting)) => Way::Broken {
                what: format!("profile {name} has no {setting}"),
                ends: account != role,
            },
        }
    }
}

/// The keys that a profile itself holds.
fn keys(section: &Section) -> (Way, &'static str) {
    let (id, secret) = ("aws_access_key_id", "aws_secret_access_key");
    let values = [id, secret, "aws_session_token"].map(|setting| section.get(setting));
    match values {
        [Some(_), Some(_), _] => (Way::Keys(key_flaws(values)), id),
        [None, None, _] => (Way::Nothing, id),
        [one, ..] => {
            let (given, missing) = if one.is_some() { (id, secret) } else { (secret, id) };
            (broken(format!("profile {} has {given}, and no {missing}", section.name())), given)
        }
    }
}
