//! docs/troubleshooting.md is the table in the code. `UPDATE_DOCS=1` writes it.

use std::collections::HashSet;
use std::path::Path;

#[test]
fn the_document_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/troubleshooting.md");
    let text = rds_doctor::diagnose::troubleshooting();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/troubleshooting.md is out of date: UPDATE_DOCS=1 cargo test -p rds-doctor documents"
    );
}

#[test]
fn every_cause_has_its_own_name_and_says_all() {
    let mut names = HashSet::new();
    for cause in rds_doctor::diagnose::all() {
        assert!(names.insert(cause.id), "{} stands twice", cause.id);
        for text in [cause.title, cause.seen, cause.remedy] {
            assert!(text.len() > 3 && !text.contains('|'), "{}: {text:?}", cause.id);
        }
    }
    assert!(names.len() > 40, "only {} causes", names.len());
}
