//! The files of a new project, from `local/new/`: `project` has queries for the toolkit's functions, and `crate` a
//! function of its own.
//!
//! A file there is one of a real project, with every function in it. What belongs to some functions only stands
//! between a comment `@if batch-job event-query` and a comment `@end`.

/// The project's name in the files.
const NAME: &str = "my-queries";
/// The place of the toolkit's version in the Makefile.
const TOOLKIT: &str = "@TOOLKIT@";

/// A path, the function that it belongs to or "", and the text.
type File = (&'static str, &'static str, &'static str);

macro_rules! file {
    ($path:literal) => {
        file!($path, "")
    };
    ($path:literal, $function:literal) => {
        file!($path, $function, "project")
    };
    ($path:literal, $function:literal, $folder:literal) => {
        ($path, $function, include_str!(concat!("../../new/", $folder, "/", $path)))
    };
}

const PROJECT: &[File] = &[
    file!(".gitignore"),
    file!("Makefile"),
    file!("README.md"),
    file!("events/batch-job/purge_orders.json", "batch-job"),
    file!("events/event-query/order_placed.json", "event-query"),
    file!("events/export-query/all_orders.json", "export-query"),
    file!("events/scheduled-query/orders_below_six.json"),
    file!("events/scheduled-query/orders_by_customer.json"),
    file!("events/scheduled-query/orders_without_total.json"),
    file!("queries/all_orders.sql", "export-query"),
    file!("queries/orders_by_customer.sql"),
    file!("queries/orders_without_total.sql"),
    file!("queries/purge_orders.sql", "batch-job"),
    file!("queries/record_order.sql", "event-query"),
    file!("samconfig.toml"),
    file!("schema.sql"),
    file!("template.yaml"),
    file!("tests/data.sql"),
    file!("tests/run.sh"),
    file!("toolkit.sh"),
];

const CRATE: &[File] = &[
    file!(".cargo/config.toml", "", "crate"),
    file!(".gitignore"),
    file!("Cargo.toml", "", "crate"),
    file!("Makefile", "", "crate"),
    file!("README.md", "", "crate"),
    file!("events/alice.json", "", "crate"),
    file!("queries/customer_orders.sql", "", "crate"),
    file!("samconfig.toml"),
    file!("schema.sql"),
    file!("src/handler.rs", "", "crate"),
    file!("src/main.rs", "", "crate"),
    file!("template.yaml", "", "crate"),
    file!("tests/data.sql"),
    file!("tests/function.rs", "", "crate"),
    file!("toolkit.sh"),
];

/// Paths and texts of a project of this name, with these functions besides scheduled-query.
pub(super) fn of_a_project(
    name: &str,
    functions: &[&str],
    toolkit: &str,
) -> Vec<(&'static str, String)> {
    let files = PROJECT.iter().filter(|(_, of, _)| of.is_empty() || functions.contains(of));
    files.map(|(path, _, text)| (*path, fill_in(&keep(text, functions), name, toolkit))).collect()
}

/// Paths and texts of a cargo project of this name.
pub(super) fn of_a_crate(name: &str, toolkit: &str) -> Vec<(&'static str, String)> {
    CRATE.iter().map(|(path, _, text)| (*path, fill_in(text, name, toolkit))).collect()
}

fn fill_in(text: &str, name: &str, toolkit: &str) -> String {
    text.replace(NAME, name).replace(TOOLKIT, toolkit)
}

/// The text with the blocks of these functions, without the marks.
fn keep(text: &str, functions: &[&str]) -> String {
    let mut kept = String::new();
    let mut inside = true;
    for line in text.split_inclusive('\n') {
        match mark(line) {
            Some(Mark::If(of)) => inside = of.split(' ').any(|name| functions.contains(&name)),
            Some(Mark::End) => inside = true,
            None if inside => kept += line,
            None => {}
        }
    }
    kept
}

enum Mark<'a> {
    If(&'a str),
    End,
}

/// A comment of YAML, make and the shell, or of Markdown.
fn mark(line: &str) -> Option<Mark<'_>> {
    let comment = line.trim();
    let inner = comment.strip_prefix("# ").or_else(|| {
        comment.strip_prefix("<!-- ").and_then(|comment| comment.strip_suffix(" -->"))
    })?;
    match inner.strip_prefix("@if ") {
        Some(functions) => Some(Mark::If(functions)),
        None => (inner == "@end").then_some(Mark::End),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    use super::*;

    const FUNCTIONS: [&str; 3] = ["event-query", "batch-job", "export-query"];

    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, into) } else { into.push(path) }
        }
    }

    #[test]
    fn every_file_of_the_folders_is_in_a_project() {
        for (folder, files) in [("project", PROJECT), ("crate", CRATE)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("new").join(folder);
            let mut paths = Vec::new();
            walk(&folder, &mut paths);
            let found: BTreeSet<&str> = paths
                .iter()
                .map(|path| path.strip_prefix(&folder).unwrap().to_str().unwrap())
                .collect();
            let listed: BTreeSet<&str> = files.iter().map(|(path, ..)| *path).collect();
            assert!(found.is_subset(&listed), "{found:?}");
        }
    }

    #[test]
    fn a_crate_has_its_name_and_its_version_of_the_toolkit() {
        let files = of_a_crate("orders", "../toolkit");
        let all: String = files.iter().map(|(path, text)| format!("{path}\n{text}")).collect();
        for word in ["@if", "@end", TOOLKIT, NAME] {
            assert!(!all.contains(word), "{word}");
        }
        for word in ["name = \"orders\"", "CARGO_BIN_EXE_orders", "TOOLKIT = ../toolkit\n"] {
            assert!(all.contains(word), "{word}");
        }
    }

    #[test]
    fn a_block_stays_for_its_functions_only() {
        let text = "a\n  # @if event-query batch-job\nb\n  # @end\n<!-- @if export-query -->\nc\n<!-- @end -->\nd\n";
        assert_eq!(keep(text, &[]), "a\nd\n");
        assert_eq!(keep(text, &["batch-job"]), "a\nb\nd\n");
        assert_eq!(keep(text, &["export-query", "event-query"]), "a\nb\nc\nd\n");
    }

    #[test]
    fn a_project_holds_no_mark_and_no_other_function() {
        let sets: [&[&str]; 5] =
            [&[], &["event-query"], &["batch-job"], &["export-query"], &FUNCTIONS];
        for functions in sets {
            let files = of_a_project("reports", functions, "../toolkit");
            let all: String = files.iter().map(|(path, text)| format!("{path}\n{text}")).collect();
            for word in ["@if", "@end", TOOLKIT, NAME] {
                assert!(!all.contains(word), "{word} with {functions:?}");
            }
            for function in FUNCTIONS {
                assert_eq!(all.contains(function), functions.contains(&function), "{function}");
            }
            assert!(
                all.contains("stack_name = \"reports\"") && all.contains("TOOLKIT = ../toolkit\n")
            );
        }
    }
}
