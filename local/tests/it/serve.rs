//! The command line: a ready line, a clean end after every signal, and no process left behind.

use crate::common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::text;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn serve(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rds-local"));
    command.args(["serve", "--dir"]).arg(dir).args(arguments);
    command
}

/// Starts it and waits for the ready line, after which clients can connect.
fn started(dir: &Path, arguments: &[&str]) -> (Child, String) {
    let mut child =
        serve(dir, arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

/// Processes whose command line names this folder: from `/proc`, as a bare machine has no `ps`.
fn processes(dir: &Path) -> Vec<String> {
    let dir = dir.canonicalize().unwrap().display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes
        // Other entries have no such file, and a process may end meanwhile.
        .filter_map(|process| std::fs::read(process.join("cmdline")).ok())
        .map(|command| text(&command).replace('\0', " "))
        .filter(|command| command.contains(&dir))
        .collect()
}

fn wait_until_no_process(dir: &Path) {
    for _ in 0..200 {
        if processes(dir).is_empty() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("still running: {:?}", processes(dir));
}

#[test]
fn it_ends_cleanly_by_ctrl_c_and_by_sigterm() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = tempfile::tempdir().unwrap();
        let (mut child, ready) = started(folder.path(), &[]);
        assert!(ready.starts_with("rds-local: ready on 127.0.0.1:"), "{ready}");
        assert!(!processes(folder.path()).is_empty());
        for file in ["env", "env.json", "ca.pem", "gate.log", "postgres.log"] {
            assert!(folder.path().join(file).is_file(), "{file}");
        }
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(processes(folder.path()), Vec::<String>::new());
        for gone in ["env", "env.json", "postgres"] {
            assert!(!folder.path().join(gone).exists(), "{gone}");
        }
    }
}

#[test]
fn a_program_reads_all_that_it_needs_from_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, line) = started(folder.path(), &["--json"]);
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["event"], "ready");
    let address: std::net::SocketAddr = ready["address"].as_str().unwrap().parse().unwrap();
    drop(std::net::TcpStream::connect(address).unwrap());
    // What the shell would have after `. env`.
    let file = ready["env_file"].as_str().unwrap();
    let exported = Command::new("bash")
        .args(["-c", ". \"$1\"; env -0", "bash", file])
        .env_clear()
        .output()
        .unwrap();
    let exported: std::collections::BTreeMap<String, String> = text(&exported.stdout)
        .split_terminator('\0')
        .filter_map(|pair| pair.split_once('='))
        // bash's own.
        .filter(|(name, _)| !["PWD", "SHLVL", "_"].contains(name))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    assert!(exported.contains_key("AWS_SESSION_TOKEN") && exported.contains_key("RDS_LOCAL_DIR"));
    assert_eq!(ready["variables"], serde_json::json!(exported));
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_address_for_everyone_needs_a_flag() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("served");
    let refused = serve(&dir, &["--listen", "0.0.0.0", "--json"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let told = text(&refused.stderr);
    assert!(told.contains("known to everyone") && told.contains("--public"), "{told}");
    assert!(!dir.exists());
}

#[test]
fn a_program_that_waits_for_the_ready_line_reads_why_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.sql");
    std::fs::write(&schema, "CREATE TABLE mine (id int);\nCREATE TABEL wrong (id int);\n").unwrap();
    let (child, line) = started(folder.path(), &["--json", "--init", schema.to_str().unwrap()]);
    let failed: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(failed["event"], "failed");
    let reason = failed["reason"].as_str().unwrap();
    assert!(reason.contains("schema.sql:2: ERROR") && reason.contains("--no-owner"), "{reason}");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("schema.sql:2: ERROR"));
    wait_until_no_process(folder.path());
}

#[test]
fn a_killed_process_leaves_no_server_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, _) = started(folder.path(), &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_until_no_process(folder.path());
    // And the folder can be used again.
    let (child, ready) = started(folder.path(), &[]);
    assert!(ready.contains("ready"), "{ready}");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a_start_ignores_a_sourced_environment_file() {
    let folder = tempfile::tempdir().unwrap();
    let schema = folder.path().join("schema.sql");
    std::fs::write(&schema, "CREATE TABLE mine (id int);\n").unwrap();
    let mut child = serve(folder.path(), &["--init", schema.to_str().unwrap()])
        .env("PGHOSTADDR", "127.0.0.1")
        .env("PGPORT", "1")
        .env("PGSSLMODE", "verify-full")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(line.contains("ready"), "{line}");
}

#[test]
fn a_second_server_on_the_folder_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (child, _) = started(folder.path(), &[]);
    let second = serve(folder.path(), &[]).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains("another rds-local is serving"),
        "{}",
        text(&second.stderr)
    );
    assert!(folder.path().join("env").is_file(), "the first one's files stay");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

#[test]
fn a_failed_start_says_why_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.sql");
    std::fs::write(&broken, "SELECT 1;\nCREATE TABEL x ();\n").unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (arguments, told) in [
        (vec!["--init", broken.to_str().unwrap()], "broken.sql:2: ERROR"),
        (vec!["--init", "missing.sql"], "cannot find the script missing.sql"),
        (vec!["--port", &port], "choose another with --port"),
    ] {
        let dir = folder.path().join("dir");
        let output = serve(&dir, &arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(told), "{}", text(&output.stderr));
        assert!(!dir.join("env").exists());
        if dir.exists() {
            wait_until_no_process(&dir);
            assert!(!dir.join("postgres").exists());
        }
    }
}

#[test]
fn invoking_without_a_server_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let event = common::root().join("events/scheduled-query/empty.json");
    let invoke = |function: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_rds-local"))
            .args(["invoke", function, "--event"])
            .arg(&event)
            .arg("--dir")
            .arg(folder.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert!(invoke("rds-local").contains("is rds-local serve running?"));
    assert!(invoke("no-such-function").contains("functions/ has one folder"));
    assert!(invoke("../x").contains("cannot find ../x"));
    assert!(invoke("a b").contains("not a function's name"));
}

#[test]
fn help_names_every_command() {
    let output = Command::new(env!("CARGO_BIN_EXE_rds-local")).arg("--help").output().unwrap();
    assert!(output.status.success());
    for command in ["serve", "invoke", "token", "demo"] {
        assert!(text(&output.stdout).contains(command));
    }
}

#[test]
fn a_fault_strikes_after_its_time() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--fault", "refuse", "--fault-after", "1", "--latency", "5", "--proxy"];
    let (mut child, _) = started(folder.path(), &arguments);
    let environment = std::fs::read_to_string(folder.path().join("env")).unwrap();
    assert!(environment.contains(".proxy-"), "the endpoint is a proxy's");
    let port = environment.lines().find_map(|line| line.strip_prefix("PGPORT=")).unwrap();
    let address = format!("127.0.0.1:{}", port.trim_matches('\''));
    drop(std::net::TcpStream::connect(&address).unwrap());
    let told = BufReader::new(child.stderr.as_mut().unwrap()).lines();
    let told = told.map_while(Result::ok).find(|line| line.contains("fault refuse is on"));
    assert!(told.is_some());
    let refused = std::net::TcpStream::connect(&address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(child.wait().unwrap().success());
}
