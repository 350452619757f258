//! A simulator of IAM by others, @cloud-copilot/iam-simulate, gives the verdicts of the table that
//! the crate's own test reads.

use crate::common;

use std::process::Command;

use common::{node, root, text};
use serde_json::Value;

/// Where the simulator says otherwise, and AWS's guide decides.
const DIFFERS: [(&str, &str); 6] = [
    // Variables came with version 2012-10-17, and are plain text in the older one.
    ("the old version has no variables", "allowed"),
    // A plain mistake of the simulator's, which takes no range of this length.
    ("any address of IPv4", "implicitly denied"),
    // "The value is effectively null. There is no equal or like value."
    ("a variable without a value is like nothing: NotResource leaves nothing out", "allowed"),
    ("a variable without a value equals nothing", "allowed"),
    // "If the condition key isn't present, evaluate the condition element as true."
    ("ForAnyValue with …IfExists, without the key", "implicitly denied"),
    // A grant to a session's own ARN is not limited by its session policy.
    ("trust names a session: its session policy need not allow", "implicitly denied"),
];

#[test]
fn another_simulator_returns_the_same_verdicts() {
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
    assert_eq!(wrong, DIFFERS.map(|(name, verdict)| format!("{name}: {verdict}")));
}
