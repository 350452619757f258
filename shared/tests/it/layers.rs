//! The crate's layers: a module uses the layers below its own, and nothing above or beside.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. Modules of the ground may use one another, as `work` uses `deadline`.
const LAYERS: [&[&str]; 6] = [
    &["error", "deadline", "emf", "endpoint", "flaw", "json", "retry", "roots", "words", "work"],
    &["credentials", "query"],
    &["token"],
    &["config"],
    &["postgres", "mysql", "neptune"],
    &["session", "lambda"],
];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("module {module} has no layer: add it to LAYERS"))
}

/// Every source file, with the module of the crate that it belongs to.
fn files(folder: &Path, found: &mut Vec<(String, PathBuf)>, module: Option<&str>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = module.unwrap_or(&name);
        if path.is_dir() {
            files(&path, found, Some(module));
        } else if module != "lib" {
            found.push((module.to_owned(), path));
        }
    }
}

/// The crate's modules that a text names: `use crate::a::B`, `crate::a::b()`.
fn uses(text: &str) -> BTreeSet<String> {
    // Links of the documentation may point anywhere.
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = code.flat_map(|line| [line, "\n"]).collect();
    let name = |rest: &str| {
        rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    code.split("crate::").skip(1).map(name).filter(|name| !name.is_empty()).collect()
}

#[test]
fn no_module_uses_a_layer_above_its_own() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found, None);
    assert!(found.len() > 40, "only {} files were found", found.len());
    let mut wrong = Vec::new();
    for (module, path) in &found {
        for used in uses(&fs::read_to_string(path).unwrap()) {
            let (own, other) = (layer(module), layer(&used));
            let same = *module == used || (own == 0 && other == 0);
            if !same && other >= own {
                wrong.push(format!("{} uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_use_of_the_crate_is_seen() {
    let text =
        "use crate::query::{Query};\n// crate::lambda\nlet x = crate::config::Config::new();";
    assert_eq!(uses(text), BTreeSet::from(["config".to_owned(), "query".to_owned()]));
}
