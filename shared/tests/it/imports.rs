//! Imports of the whole tree: no file imports a file that imports it, and no library imports from `local/` or
//! `functions/` above it.
//!
//! A `mod` line and a re-export (`pub use`) are no imports; whoever uses a re-exported name imports the file
//! that the name is from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module, as its path from the crate's root.
type Module = Vec<String>;

/// One source file.
struct Source {
    module: Module,
    /// Its modules in files of their own.
    children: BTreeSet<String>,
    /// The paths that it names, from the crate's root.
    uses: Vec<Module>,
    /// Its re-exports, by name.
    reexports: BTreeMap<String, Module>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The folders of the crates.
fn crates() -> Vec<String> {
    let mut found: Vec<String> = ["shared", "doctor", "local"].map(str::to_owned).into();
    for entry in fs::read_dir(root().join("functions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        found.push(format!("functions/{name}"));
    }
    found.retain(|folder| root().join(folder).join("src").is_dir());
    found
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// `src/a/b.rs` and `src/a/b/mod.rs` are `a::b`; `lib.rs`, or `main.rs` without one, is the root.
fn module(sources: &Path, file: &Path) -> Module {
    let relative = file.strip_prefix(sources).unwrap().with_extension("");
    let mut parts: Module = relative.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    let last = parts.last().unwrap().clone();
    let is_root = last == "lib" || last == "main" && !sources.join("lib.rs").exists();
    if last == "mod" || parts.len() == 1 && is_root {
        parts.pop();
    }
    parts
}

/// The code without comments and without the tests at its end.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().map(|line| line.split("//").next().unwrap());
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The paths in a tree such as `a::{b, c::{self, d}}`.
fn expand(tree: &str) -> Vec<Module> {
    let tree = tree.trim();
    let Some((before, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        let parts = path.split("::").map(|part| part.trim().to_owned());
        return vec![parts.filter(|part| !part.is_empty()).collect()];
    };
    let before: Module =
        before.split("::").map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect();
    let inner = inner.rsplit_once('}').unwrap().0;
    let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = &inner[start..at];
                start = at + usize::from(at < inner.len());
                if !part.trim().is_empty() {
                    paths
                        .extend(expand(part).into_iter().map(|path| [&before[..], &path].concat()));
                }
            }
            _ => {}
        }
    }
    paths
}

/// A path from the crate's root, if it is one within the crate: `crate::`, `self::`, any number of `super::`, or
/// a child's name.
fn absolute(module: &Module, children: &BTreeSet<String>, path: &[String]) -> Option<Module> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "self" => Some([module, &path[1..]].concat()),
        "super" => Some([&module[..module.len().checked_sub(supers)?], &path[supers..]].concat()),
        first if children.contains(first) => Some([module, path].concat()),
        _ => None,
    }
}

/// The paths outside of `use` that begin with `crate`, `self`, `super` or a child's name.
fn inline(body: &str) -> Vec<Module> {
    let mut paths = Vec::new();
    let mut rest = body;
    while let Some(at) = rest.find("::") {
        let start = rest[..at].rfind(|c| !is_name(c)).map_or(0, |before| before + 1);
        let path_end =
            rest[start..].find(|c| !is_name(c) && c != ':').map_or(rest.len(), |n| start + n);
        let path = &rest[start..path_end];
        paths.push(path.split("::").filter(|p| !p.is_empty()).map(str::to_owned).collect());
        rest = &rest[path_end.max(at + 2)..];
    }
    paths.retain(|path: &Module| path.len() > 1);
    paths
}

fn read(module: Module, text: &str) -> Source {
    let code = code(text);
    let (mut children, mut trees, mut body) = (BTreeSet::new(), Vec::new(), String::new());
    for statement in code.split_inclusive(';') {
        let words = statement.trim_end_matches(';');
        let line = words.rsplit(['}', '{', ']', '\n']).next().unwrap().trim();
        if let Some(child) =
            line.strip_prefix("mod ").or_else(|| line.split_once(" mod ").map(|p| p.1))
        {
            children.insert(child.trim().to_owned());
            continue;
        }
        match find_use(words) {
            Some((is_public, before, tree)) => {
                body += before;
                trees.push((is_public, tree.to_owned()));
            }
            None => body += statement,
        }
    }
    let mut source = Source { module, children, uses: Vec::new(), reexports: BTreeMap::new() };
    for (is_public, tree) in trees {
        for path in expand(&tree) {
            let Some(path) = absolute(&source.module, &source.children, &path) else { continue };
            if is_public {
                source.reexports.extend(path.last().cloned().map(|name| (name, path)));
            } else {
                source.uses.push(path);
            }
        }
    }
    let named = inline(&body).into_iter();
    let named: Vec<Module> =
        named.filter_map(|path| absolute(&source.module, &source.children, &path)).collect();
    source.uses.extend(named);
    source
}

/// A statement's `use`: whether it is public, what stands before it, and its tree.
fn find_use(statement: &str) -> Option<(bool, &str, &str)> {
    let at = statement.rfind("use ").filter(|at| {
        let before = statement[..*at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace())
    })?;
    let before = &statement[..at];
    let line = before.rsplit('\n').next().unwrap().trim();
    let is_use = line.is_empty() || line == "pub" || line.starts_with("pub(");
    let tree = &statement[at + 4..];
    // A string may begin a line with the word.
    let is_tree = tree.chars().all(|c| is_name(c) || c.is_whitespace() || ":{},*".contains(c));
    (is_use && is_tree).then_some((!line.is_empty(), before, tree))
}

/// The file that a path leads to, through re-exports.
fn file_of(sources: &BTreeMap<Module, Source>, path: &[String], hops: usize) -> Option<Module> {
    let length = (0..=path.len()).rev().find(|length| sources.contains_key(&path[..*length]))?;
    let source = &sources[&path[..length]];
    let next = path.get(length).and_then(|name| source.reexports.get(name));
    match next {
        Some(next) if hops < 9 && next[..] != path[..=length] => {
            file_of(sources, &[next, &path[length + 1..]].concat(), hops + 1)
        }
        _ => Some(source.module.clone()),
    }
}

/// The files of a crate, each with the files that it imports.
fn imports(sources: &BTreeMap<Module, Source>) -> BTreeMap<Module, BTreeSet<Module>> {
    let of = |source: &Source| {
        let files = source.uses.iter().filter_map(|path| file_of(sources, path, 0));
        files.filter(|file| *file != source.module).collect()
    };
    sources.iter().map(|(module, source)| (module.clone(), of(source))).collect()
}

fn sources(folder: &str) -> BTreeMap<Module, Source> {
    let folder = root().join(folder).join("src");
    let mut found = Vec::new();
    files(&folder, &mut found);
    let read = |file: &PathBuf| {
        let module = module(&folder, file);
        (module.clone(), read(module, &fs::read_to_string(file).unwrap()))
    };
    found.iter().map(read).collect()
}

fn named(module: &Module) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

/// Pairs of files that import each other.
fn circles(sources: &BTreeMap<Module, Source>) -> Vec<String> {
    let imports = imports(sources);
    let both = |from: &Module, to: &Module| from < to && imports[to].contains(from);
    let pairs = imports.iter().flat_map(|(from, files)| files.iter().map(move |to| (from, to)));
    let pairs = pairs.filter(|(from, to)| both(from, to));
    pairs.map(|(from, to)| format!("{} and {}", named(from), named(to))).collect()
}

#[test]
fn no_file_imports_a_file_that_imports_it() {
    let (mut files, mut found) = (0, BTreeSet::new());
    for folder in crates() {
        let sources = sources(&folder);
        files += sources.len();
        found.extend(circles(&sources).into_iter().map(|pair| format!("{folder}: {pair}")));
    }
    assert!(files > 200, "only {files} files were found");
    assert!(found.is_empty(), "files that import each other: {found:#?}");
}

/// Dependencies of development are exempt: they are no part of the library.
#[test]
fn no_library_depends_on_what_is_above_it() {
    for (folder, above) in [
        ("shared", &["rds-local", "rds-doctor", "../functions", "../local", "../doctor"][..]),
        ("doctor", &["rds-local", "../functions", "../local"]),
        ("local", &["rds-doctor", "../functions", "../doctor"]),
    ] {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        let sections = manifest.split("\n[").filter(|section| {
            let name = section.split(']').next().unwrap();
            name.ends_with("dependencies") && !name.contains("dev-")
        });
        let dependencies: String = sections.collect();
        assert!(dependencies.contains("tokio"), "{folder}: {dependencies}");
        for name in above {
            assert!(!dependencies.contains(name), "{folder} depends on {name}");
        }
    }
}

#[test]
fn circles_are_seen_in_every_spelling() {
    let circles = |files: &[(&str, &str)]| {
        let module =
            |path: &str| path.split("::").filter(|p| !p.is_empty()).map(str::to_owned).collect();
        let read = |(path, text): &(&str, &str)| {
            let module: Module = module(path);
            (module.clone(), read(module, text))
        };
        circles(&files.iter().map(read).collect())
    };
    let parent = ("a", "mod b;\nmod c;\npub use b::B;\n");
    for (b, c, pairs) in [
        ("use super::c::C;", "use crate::a::b::B;", 1),
        ("use super::super::a::{c::{C, D}, e};", "fn f() { super::b::f() }", 1),
        ("use crate::{\n    a::c,\n};", "use super::B;", 1),
        ("use super::c::C;", "use super::super::x::B;", 0),
        (
            "use super::c::C;\n// use crate::a::b\n",
            "#[cfg(test)]\nmod tests {\nuse super::super::b;\n}",
            0,
        ),
    ] {
        let files = [("", "mod a;"), parent, ("a::b", b), ("a::c", c)];
        assert_eq!(circles(&files).len(), pairs, "{b} {c}");
    }
    let up =
        [("", "mod a;"), ("a", "mod b;\nfn f() { b::g(); }\nstruct A;"), ("a::b", "use super::A;")];
    assert_eq!(circles(&up), ["a and a::b"]);
}
