//! The environment files: the variables that a client needs to reach the database and to sign tokens.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::Result;

/// Variables in the order in which they are written.
pub type Variables = Vec<(&'static str, String)>;

/// Writes `env`: dotenv lines that a shell can source too. The last line exports the names, so
/// that `. env` is enough for the programs started after it.
pub fn write_dotenv(path: &Path, variables: &Variables, folder: &Path) -> Result<()> {
    let mut text: String =
        variables.iter().map(|(name, value)| format!("{name}={}\n", quote(value))).collect();
    let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
    text.push_str(&format!(
        "export {} RDS_LOCAL_DIR={}\n",
        names.join(" "),
        quote(&folder.display().to_string())
    ));
    write_private(path, &text)
}

/// Writes `env.json` for `sam local invoke --env-vars`.
pub fn write_sam_json(path: &Path, variables: &Variables) -> Result<()> {
    let variables: BTreeMap<&str, &str> =
        variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let json = serde_json::json!({ "Parameters": variables });
    write_private(path, format!("{json:#}\n"))
}

/// Reads what [`write_dotenv`] wrote.
pub fn read_dotenv(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = fs::read_to_string(path).map_err(|error| {
        format!("cannot read {}: {error}; is rds-local serve running?", path.display())
    })?;
    let pairs = text.lines().filter(|line| !line.starts_with("export "));
    Ok(pairs
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), unquote(value)))
        .collect())
}

/// Only the owner may read these files: they hold keys.
pub(crate) fn write_private(path: &Path, text: impl AsRef<[u8]>) -> Result<()> {
    let failed = |error| format!("cannot write {}: {error}", path.display());
    // An earlier run's file may have other permissions.
    let _ = fs::remove_file(path);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_ref()).map_err(failed)
}

/// A word as a shell reads it.
pub(crate) fn quote(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+,".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

fn unquote(value: &str) -> String {
    match value.strip_prefix('\'').and_then(|v| v.strip_suffix('\'')) {
        Some(inner) => inner.replace(r"'\''", "'"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_dotenv_reads_back_and_sources_in_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        let variables: Variables =
            vec![("PLAIN", "a.b:5".into()), ("ODD", "it's a $b \"c\"".into())];
        write_dotenv(&path, &variables, Path::new("/a b")).unwrap();
        let read = read_dotenv(&path).unwrap();
        assert_eq!(read["ODD"], "it's a $b \"c\"");
        assert_eq!(read.len(), 2);
        let shell = std::process::Command::new("sh")
            .args(["-c", ". \"$1\" && printenv ODD RDS_LOCAL_DIR", "sh"])
            .arg(&path)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8(shell.stdout).unwrap(), "it's a $b \"c\"\n/a b\n");
    }

    #[test]
    fn files_with_keys_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env.json");
        fs::write(&path, "old").unwrap();
        write_sam_json(&path, &vec![("KEY", "s".into())]).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["Parameters"]["KEY"], "s");
    }
}
