//! A simulator of IAM by others, @cloud-copilot/iam-simulate, gives the verdicts of the table that
//! the crate's own test reads.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::process::Command;

use common::{node, root, text};
use serde_json::Value;

/// AWS's guide says that policy variables came with version 2012-10-17, and are plain text in the
/// older one; the simulator expands them in both.
const DIFFERS: &str = "the old version has no variables";

#[test]
fn a_simulator_of_others_gives_the_same_verdicts() {
    let table = root().join("local/tests/corpus/policies/cases.json");
    let cases: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(&table).unwrap()).unwrap();
    let script = format!("{} '{}'", node("policy_oracle.cjs"), table.display());
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let verdicts = text(&output.stdout);
    let verdicts: Vec<&str> = verdicts.lines().collect();
    assert_eq!(verdicts.len(), cases.len());
    let field = |case: &Value, name: &str| case[name].as_str().unwrap().to_owned();
    let wrong: Vec<String> = cases
        .iter()
        .zip(verdicts)
        .filter(|(case, verdict)| field(case, "verdict") != *verdict)
        .map(|(case, verdict)| format!("{}: {verdict}", field(case, "name")))
        .collect();
    assert_eq!(wrong, [format!("{DIFFERS}: allowed")]);
}
