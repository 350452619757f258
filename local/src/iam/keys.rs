//! Keys of one's own, from a file in the format of `~/.aws/credentials`, and the keys of all users
//! in that format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::{DEFAULT_USER, Iam, Identity, Session};
use crate::Result;

impl Iam {
    /// Adds the keys of a file of `--user-key-file`. A profile is named after a user, or after a
    /// role as `role/NAME`; `default` is the default user.
    pub(crate) fn load_keys(&self, path: &Path) -> Result<()> {
        let failed = |why: String| format!("the keys {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        for (profile, settings) in profiles(&text).map_err(failed)? {
            let identity = self.identity(&profile, &settings);
            let identity = identity.map_err(|why| failed(format!("profile {profile:?}: {why}")))?;
            if self.find(&identity.access_key_id).is_some() {
                return Err(failed(format!("profile {profile:?}: another profile has this key")));
            }
            if identity.session.is_none() {
                // In place of the key that was made up for the user.
                self.lock().retain(|_, key| key.session.is_some() || key.arn != identity.arn);
            }
            self.add(identity);
        }
        Ok(())
    }

    fn identity(&self, profile: &str, settings: &BTreeMap<String, String>) -> Result<Identity> {
        let get = |name: &str| settings.get(name).ok_or_else(|| format!("{name} is missing"));
        if let Some(other) = settings.keys().find(|name| {
            !["aws_access_key_id", "aws_secret_access_key", "aws_session_token"]
                .contains(&name.as_str())
        }) {
            return Err(format!("{other} is not supported"));
        }
        let name = if profile == "default" { DEFAULT_USER } else { profile };
        let session_token = settings.get("aws_session_token").cloned();
        let (arn, principal, session) = match name.strip_prefix("role/") {
            Some(role_name) => {
                let role = self.role(&self.arn(name)).ok_or("there is no such role")?;
                if session_token.is_none() {
                    return Err("a role's keys have an aws_session_token".into());
                }
                let short = role_name.rsplit('/').next().unwrap_or(role_name);
                let (account, session) = (&self.account, "rds-local");
                let arn = format!("arn:aws:sts::{account}:assumed-role/{short}/{session}");
                let session = Session { name: Some(session.into()), ..Session::default() };
                (arn, role.principal.clone(), Some(session))
            }
            None => {
                let arn = self.arn(&format!("user/{name}"));
                let user = self.users.get(&arn).ok_or("there is no such user")?.clone();
                (arn, user, session_token.as_ref().map(|_| Session::default()))
            }
        };
        Ok(Identity {
            access_key_id: get("aws_access_key_id")?.clone(),
            secret_access_key: get("aws_secret_access_key")?.clone(),
            session_token,
            expires_at: None,
            arn,
            principal,
            session,
        })
    }

    /// The long-term keys of all users, as profiles of an AWS credentials file: those of other
    /// accounts as `account/NAME`.
    pub(crate) fn credentials_file(&self) -> String {
        let keys = self.lock();
        let profiles: BTreeMap<String, &Identity> = keys
            .values()
            .filter(|identity| identity.session.is_none())
            .map(|identity| (self.profile(identity), identity))
            .collect();
        let mut text = String::new();
        for (profile, identity) in profiles {
            let (id, secret) = (&identity.access_key_id, &identity.secret_access_key);
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "[{profile}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}"
            );
        }
        text
    }

    fn profile(&self, identity: &Identity) -> String {
        let name = identity.arn.split_once(":user/").map_or("", |(_, name)| name);
        let account = &identity.principal.account;
        if *account == self.account { name.to_owned() } else { format!("{account}/{name}") }
    }
}

type Profiles = BTreeMap<String, BTreeMap<String, String>>;

/// Reads the INI format of AWS's shared files, of which this is all that keys need.
fn profiles(text: &str) -> Result<Profiles> {
    let mut profiles = Profiles::new();
    let mut current = None;
    for (index, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), index + 1);
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            current = Some(name.trim().to_owned());
            if profiles.insert(name.trim().to_owned(), BTreeMap::new()).is_some() {
                return Err(format!("the profile {name:?} stands twice"));
            }
            continue;
        }
        // Not the line itself: it may hold a secret.
        let malformed = || format!("line {number} is neither [profile] nor name = value");
        let (name, value) = line.split_once('=').ok_or_else(malformed)?;
        let profile = current.as_ref().and_then(|name| profiles.get_mut(name));
        profile.ok_or_else(malformed)?.insert(name.trim().to_owned(), value.trim().to_owned());
    }
    Ok(profiles)
}
