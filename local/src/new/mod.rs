//! `rds-local new`: makes the folder of a project of one's own. Its functions come from a version of the toolkit, or it
//! is a crate with a function of its own, built on a version of the toolkit.
//!
//! The files are those of `local/new/`, which tests read and run too.

mod files;
mod toolkit;

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::Result;
use toolkit::Toolkit;

/// The stacks' functions add a name of up to 16 characters to it, and a function's name has 64 at most.
const LONGEST_NAME: usize = 48;

/// What to make.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// The new folder, and the stack: letters, digits and hyphens, 48 at most, and a letter first
    name: String,
    /// Functions besides scheduled-query, as a list: event-query,batch-job,export-query
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    with: Vec<Function>,
    /// Make a cargo project with a function of your own instead, in Rust on the crate rds-iam
    #[arg(long = "crate", conflicts_with = "with")]
    own_crate: bool,
    /// The version of rds-iam-lambda: "GIT-ADDRESS TAG-OR-COMMIT", "ADDRESS.zip SHA256", or a folder. By default, the
    /// folder that this program was built in
    #[arg(long, value_name = "VERSION")]
    toolkit: Option<String>,
}

/// A function that a project may have besides scheduled-query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Function {
    /// Runs a query for each message of a queue
    EventQuery,
    /// Runs work larger than one statement, in chunks
    BatchJob,
    /// Streams a query's rows into an object of S3
    ExportQuery,
}

impl Function {
    fn name(self) -> &'static str {
        match self {
            Self::EventQuery => "event-query",
            Self::BatchJob => "batch-job",
            Self::ExportQuery => "export-query",
        }
    }
}

/// Makes the folder below `parent`, and returns what to tell the person.
///
/// # Errors
/// If the name cannot be a stack's, no version of the toolkit is known, the folder is in use, or a file cannot be
/// written.
pub fn run(options: &Options, parent: &Path) -> Result<String> {
    check_name(&options.name)?;
    let toolkit = match &options.toolkit {
        Some(text) => Toolkit::parse(text)?,
        None => Toolkit::of_this_program()?,
    };
    let functions: Vec<&str> = options.with.iter().map(|function| function.name()).collect();
    let folder = parent.join(&options.name);
    check_free(&folder, &options.name)?;
    let files = match options.own_crate {
        true => files::of_a_crate(&options.name, toolkit.text()),
        false => files::of_a_project(&options.name, &functions, toolkit.text()),
    };
    for (path, text) in &files {
        write(&folder.join(path), text)
            .map_err(|error| format!("cannot write {}/{path}: {error}", options.name))?;
    }
    Ok(told(&options.name, &files, &toolkit))
}

fn check_name(name: &str) -> Result<()> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    let legal = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if begins && legal && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot name a stack: use letters, digits and hyphens, {LONGEST_NAME} at most, and a letter first"
    ))
}

/// A folder that exists must be empty.
fn check_free(folder: &Path, name: &str) -> Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("the folder {name} is not empty: choose another name")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("cannot use {name}: {error}")),
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)?;
    let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn told(name: &str, files: &[(&str, String)], toolkit: &Toolkit) -> String {
    let mut text = format!("Made {name}:\n");
    for (path, _) in files {
        text += &format!("  {path}\n");
    }
    text += &toolkit.note();
    text + &format!("Next:\n  cd {name}\n  make test\n  make configure DB=<your database>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_stacks() {
        let longest = "a".repeat(48);
        for name in ["reports", "A", "my-reports-2", "a-", &longest] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(49);
        let wrong = [
            "",
            "2reports",
            "-a",
            "my_reports",
            "my reports",
            "a/b",
            "..",
            ".",
            "a.b",
            "ü",
            "a\n",
            "--",
            &too_long,
        ];
        for name in wrong {
            assert!(check_name(name).unwrap_err().contains("cannot name a stack"), "{name}");
        }
    }

    #[test]
    fn a_folder_in_use_stays_as_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let options = |name: &str| Options {
            name: name.to_owned(),
            with: Vec::new(),
            own_crate: name == "new",
            toolkit: Some("https://example.com/rds-iam-lambda.git v1".to_owned()),
        };
        for name in ["full", "empty"] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        fs::write(parent.path().join("full/note"), "mine").unwrap();
        fs::write(parent.path().join("file"), "mine").unwrap();
        let refused = run(&options("full"), parent.path()).unwrap_err();
        assert_eq!(refused, "the folder full is not empty: choose another name");
        assert_eq!(fs::read_dir(parent.path().join("full")).unwrap().count(), 1);
        let refused = run(&options("file"), parent.path()).unwrap_err();
        assert!(refused.starts_with("cannot use file: "), "{refused}");
        for name in ["empty", "new"] {
            let told = run(&options(name), parent.path()).unwrap();
            assert!(told.ends_with(&format!(
                "Next:\n  cd {name}\n  make test\n  make configure DB=<your database>\n"
            )));
            assert!(parent.path().join(name).join("Makefile").is_file());
        }
    }
}
