//! For benchmarks: a function's binary beside a Python program that does the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::Instant;

use super::Function;

const RUNS: usize = 9;

/// Prints how long it takes from the start of a process to the answer: for the function with one event,
/// and for a program in the Python of the tests. They take turns, and each number is a median.
pub async fn cold_starts(
    root: &Path,
    (binary, event): (&Path, &str),
    (name, program): (&str, &str),
    variables: &BTreeMap<String, String>,
) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        let mut function = Function::start(binary, variables, Duration::from_secs(30)).await;
        function.ok(event).await;
        ours.push(start.elapsed());
        function.stop().await;

        let start = Instant::now();
        python(root, program, variables).await;
        theirs.push(start.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let function = binary.file_name().unwrap().display();
    println!("cold start with one query, {RUNS} runs, medians");
    println!("  {function:<20}{ours:8.1} ms");
    println!("  {name:<20}{theirs:8.1} ms  ({:.1} times as long)", theirs / ours);
}

/// What a program prints, in the Python of the tests.
pub async fn python(root: &Path, program: &str, variables: &BTreeMap<String, String>) -> String {
    let mut command = Command::new(root.join("target/venv/bin/python"));
    command.args(["-c", program]).env_clear().envs(variables).env("PATH", "/usr/bin:/bin");
    let ran = command.output().await.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// The median, in milliseconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}
