//! Files with a token: whether they can be read as text. The text itself is not kept.

use std::io::ErrorKind;

use crate::credentials::evidence::TokenFile;

pub(super) fn token_file(path: &str, role: &str) -> TokenFile {
    TokenFile { path: path.to_owned(), role: role.to_owned(), flaw: file_flaw(path) }
}

/// Why a file cannot be read as text, as a phrase.
pub(super) fn file_flaw(path: &str) -> Option<&'static str> {
    // A pipe can be read once, and not here.
    if let Ok(about) = std::fs::metadata(path)
        && !about.is_file()
    {
        return about.is_dir().then_some("is a folder");
    }
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Some("is empty"),
        Ok(_) => None,
        Err(error) => Some(match error.kind() {
            ErrorKind::NotFound => "does not exist",
            ErrorKind::PermissionDenied => "may not be read by this user",
            ErrorKind::InvalidData => "does not hold text",
            _ => "cannot be read",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_not_kept() {
        assert_eq!(file_flaw("/nowhere/token"), Some("does not exist"));
        assert_eq!(file_flaw("/dev/null"), None);
        assert_eq!(file_flaw("/"), Some("is a folder"));
        assert_eq!(file_flaw(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), None);
    }
}
