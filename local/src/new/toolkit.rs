//! The version of the toolkit that a project is built with, as its Makefile names it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;

const FORMS: &str = "--toolkit \"GIT-ADDRESS TAG-OR-COMMIT\", --toolkit \"ADDRESS.zip SHA256\", or --toolkit FOLDER";

/// The words that the Makefile gives to `toolkit.sh`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Toolkit {
    /// A git address with a tag or commit, or a zip's address with its checksum.
    Version(String),
    /// A folder of this machine.
    Folder(PathBuf, String),
}

impl Toolkit {
    /// Reads the option.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            _ if Path::new(text).is_dir() => Self::folder(Path::new(text)),
            [address, version] => {
                plain(address)?;
                plain(version)?;
                Ok(Self::Version(format!("{address} {version}")))
            }
            _ => Err(format!("{text:?} is neither a version nor a folder: {FORMS}")),
        }
    }

    /// The folder that this program was built in.
    pub(super) fn of_this_program() -> Result<Self> {
        let this = std::env::current_exe().and_then(std::fs::canonicalize);
        let this = this.map_err(|error| format!("cannot find this program: {error}"))?;
        match this.ancestors().find(|folder| is_toolkit(folder)) {
            Some(folder) => Self::folder(folder),
            None => Err(format!(
                "this program lies in no folder of rds-iam-lambda, so name the version whose functions you want: {FORMS}"
            )),
        }
    }

    fn folder(folder: &Path) -> Result<Self> {
        if !is_toolkit(folder) {
            return Err(format!("{} is not a folder of rds-iam-lambda", folder.display()));
        }
        let folder = std::fs::canonicalize(folder)
            .map_err(|error| format!("cannot use {}: {error}", folder.display()))?;
        let text = folder.display().to_string();
        plain(&text)?;
        Ok(Self::Folder(folder, text))
    }

    /// The value of `TOOLKIT`.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Version(text) | Self::Folder(_, text) => text,
        }
    }

    /// What to do before others can build the project.
    pub(super) fn note(&self) -> String {
        let Self::Folder(folder, text) = self else { return String::new() };
        let version = published(folder);
        let version = version.unwrap_or_else(|| "<git address> <tag or commit>".to_owned());
        format!(
            "TOOLKIT in the Makefile is {text}, which only this machine has. For others:\n  TOOLKIT = {version}\n"
        )
    }
}

fn is_toolkit(folder: &Path) -> bool {
    folder.join("local/package.sh").is_file()
}

/// Neither make nor the shell may see more in it than its characters.
fn plain(word: &str) -> Result<()> {
    let strange = |c: char| !c.is_alphanumeric() && !"/._-:@+%=~,".contains(c);
    match word.chars().find(|c| strange(*c)) {
        None => Ok(()),
        Some(c) => Err(format!("{word} has {c:?}, which a Makefile cannot take as it is")),
    }
}

/// The address and the commit that the folder was cloned from.
fn published(folder: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(folder).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let address = git(&["remote", "get-url", "origin"])?;
    let is_remote = address.contains("://") && !address.starts_with("file:");
    // An address may hold a password.
    let is_remote = (is_remote && !address.contains('@')) || address.starts_with("git@");
    let commit = git(&["rev-parse", "HEAD"])?;
    (is_remote && plain(&address).is_ok()).then(|| format!("{address} {commit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_two_words() {
        for text in [
            "https://example.com/rds-iam-lambda.git v0.1.0",
            "git@example.com:us/rds-iam-lambda.git 0123456789abcdef",
            "https://example.com/rds-iam-lambda-1.zip 9f86d081884c7d65",
        ] {
            assert_eq!(Toolkit::parse(text), Ok(Toolkit::Version(text.to_owned())));
            assert_eq!(Toolkit::parse(text).unwrap().note(), "");
        }
        for text in ["", "https://example.com/rds-iam-lambda.git", "a b c", "/no/such/folder"] {
            let why = Toolkit::parse(text).unwrap_err();
            assert!(why.contains("neither a version nor a folder"), "{why}");
        }
        for text in [
            "https://example.com/$(HOME) v1",
            "a.git v1#2",
            "a.git `id`",
            "a.git v1;id",
            "a.git 'v1'",
        ] {
            let why = Toolkit::parse(text).unwrap_err();
            assert!(why.contains("which a Makefile cannot take"), "{why}");
        }
    }

    #[test]
    fn a_folder_is_a_checkout() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let here = Toolkit::of_this_program().unwrap();
        assert_eq!(here.text(), std::fs::canonicalize(root).unwrap().display().to_string());
        assert_eq!(Toolkit::parse(&root.display().to_string()), Ok(here));
        let other = Toolkit::parse(&root.join("docs").display().to_string()).unwrap_err();
        assert!(other.ends_with("docs is not a folder of rds-iam-lambda"), "{other}");
    }

    #[test]
    fn an_address_with_a_password_is_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let status = Command::new("git").arg("-C").arg(folder.path()).args(arguments).status();
            assert!(status.unwrap().success(), "{arguments:?}");
        };
        git(&["init", "--quiet"]);
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        git(&[&identity[..], &["commit", "--quiet", "--allow-empty", "--message", "first"]]
            .concat());
        git(&["remote", "add", "origin", "https://example.com/a.git"]);
        assert!(published(folder.path()).unwrap().starts_with("https://example.com/a.git "));
        for address in ["https://me:secret@example.com/a.git", "/home/me/a", "file:///home/me/a"] {
            git(&["remote", "set-url", "origin", address]);
            assert_eq!(published(folder.path()), None, "{address}");
        }
    }
}
