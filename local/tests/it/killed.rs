//! A process that is killed with SIGKILL cannot end what it started: all of it ends by itself.

use crate::common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{helper, root, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rds_local::database::Engine;
use rds_local::lifeline::parent_ended;
use rds_local::neptune::Cluster;
use rds_local::testing::World;
use rds_local::{CLUSTER_RESOURCE_ID, Options};

/// A function that never answers, with a child of its own.
const FUNCTION: &str = "#!/bin/sh\nsleep 1000 &\necho started\nwait\n";
/// A program that starts `serve` as the fixture of docs/testing.md does.
const FIXTURE: &str = "import subprocess, sys, time
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(server.stdout.readline().decode(), end='', flush=True)
time.sleep(1000)";
/// Makes this test the runner that is killed, with its files in this folder.
const RUNNER: &str = "RDS_LOCAL_KILLED_RUNNER";

/// A process by its number and its start, because the kernel gives a number to another one later.
type Process = (i32, u64);

/// All processes: the parent and the name of each. One that only waits to be reaped has ended.
fn processes() -> BTreeMap<Process, (i32, String)> {
    let entries = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter_map(|path| std::fs::read_to_string(path.join("stat")).ok())
        .filter_map(|stat| {
            // A name may hold spaces and parentheses.
            let (id, rest) = stat.split_once(" (")?;
            let (name, rest) = rest.rsplit_once(") ")?;
            let fields: Vec<&str> = rest.split(' ').collect();
            let ended = ["Z", "X"].contains(&fields[0]);
            let process = (id.parse().ok()?, fields[19].parse().ok()?);
            (!ended).then(|| Some((process, (fields[1].parse().ok()?, name.to_owned()))))?
        })
        .collect()
}

/// The processes below this one, with their names.
fn descendants(ancestor: u32) -> BTreeMap<Process, String> {
    let all = processes();
    let mut found = BTreeMap::new();
    let mut parents = vec![i32::try_from(ancestor).unwrap()];
    while let Some(parent) = parents.pop() {
        for (process, (_, name)) in all.iter().filter(|(_, (of, _))| *of == parent) {
            found.insert(*process, name.clone());
            parents.push(process.0);
        }
    }
    found
}

/// A process that a failed test kills too: nothing else would end it.
struct Started(Child);

impl Started {
    fn by(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits half a minute for what no event tells: the state of other processes and of their files.
pub fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    (0..600).any(|_| {
        if is_so() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
        false
    })
}

/// Kills the process, below which programs of these names run, and waits until all of them have ended.
fn kill_and_wait(killed: Started, names: &[&str]) {
    let id = killed.0.id();
    let mut below = BTreeMap::new();
    // Between its fork and its exec, a program has its parent's name.
    wait_until(|| {
        below = descendants(id);
        names.iter().all(|name| below.values().any(|found| found == name))
    });
    for name in names {
        assert!(below.values().any(|found| found == name), "no {name} in {below:?}");
    }
    drop(killed);
    let mut left = below;
    let ended = wait_until(|| {
        let all = processes();
        left.retain(|process, _| all.contains_key(process));
        left.is_empty()
    });
    assert!(ended, "still running: {left:?}");
}

fn wait_until_gone(path: &Path) {
    assert!(wait_until(|| !path.exists()), "{} is still there", path.display());
}

/// Started by root, a server runs as another user, who cannot remove its folder from the folder above.
fn wait_until_empty(folder: &Path) {
    let is_empty = || std::fs::read_dir(folder).map_or(0, Iterator::count) == 0;
    assert!(wait_until(is_empty), "{} still holds files", folder.display());
}

fn write_function(folder: &Path) -> PathBuf {
    let function = folder.join("function");
    std::fs::write(&function, FUNCTION).unwrap();
    std::fs::set_permissions(&function, std::fs::Permissions::from_mode(0o700)).unwrap();
    function
}

fn rds_local() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rds-local"))
}

/// Reads lines until one contains this.
fn wait_for_line(from: impl std::io::Read, wanted: &str) {
    let mut lines = BufReader::new(from).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains(wanted)), "it ended without {wanted}");
}

#[test]
fn a_killed_invoke_leaves_no_function() {
    for frozen in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let function = write_function(folder.path());
        std::fs::write(folder.path().join("env"), "").unwrap();
        std::fs::write(folder.path().join("event.json"), "{}").unwrap();
        let mut invoke = rds_local();
        invoke.arg("invoke").arg(&function).args(["--event", "event.json", "--dir", "."]);
        let mut invoke = Started::by(invoke.current_dir(folder.path()).stderr(Stdio::piped()));
        wait_for_line(invoke.0.stderr.take().unwrap(), "started");
        if frozen {
            let below = descendants(invoke.0.id());
            let (function, _) = below.iter().find(|(_, name)| *name == "function").unwrap();
            kill(Pid::from_raw(function.0), Signal::SIGSTOP).unwrap();
        }
        kill_and_wait(invoke, &["function", "sleep"]);
    }
}

#[test]
fn a_killed_serve_leaves_no_database() {
    for (arguments, names) in [
        (&["--s3"][..], &["postgres", "weed"][..]),
        (&["--engine", "mysql"], &["mariadbd"]),
        (&["--engine", "neptune"], &["java", "oxigraph"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut serve = rds_local();
        serve.arg("serve").arg("--dir").arg(folder.path()).args(arguments);
        let mut serve = Started::by(serve.stdout(Stdio::piped()).stderr(Stdio::null()));
        wait_for_line(serve.0.stdout.take().unwrap(), "ready");
        kill_and_wait(serve, names);
        for server in ["postgres", "mariadb"] {
            wait_until_empty(&folder.path().join(server));
        }
    }
}

#[test]
fn a_server_whose_fixture_is_killed_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Command::new(helper("python"));
    fixture.args(["-c", FIXTURE]).arg(env!("CARGO_BIN_EXE_rds-local"));
    fixture.args(["serve", "--json", "--dir"]).arg(folder.path());
    let mut fixture = Started::by(fixture.stdout(Stdio::piped()).stderr(Stdio::piped()));
    wait_for_line(fixture.0.stdout.take().unwrap(), r#""event":"ready""#);
    kill_and_wait(fixture, &["rds-local", "postgres"]);
    // It removed its keys.
    for gone in ["env", "env.json", "credentials", "postgres"] {
        assert!(!folder.path().join(gone).exists(), "{gone}");
    }
}

/// `rds-local serve --json >ready.json &` in a script: nothing holds standard input, and the script may end.
#[test]
fn a_server_in_the_background_outlives_its_shell() {
    let folder = tempfile::tempdir().unwrap();
    let script = r#""$0" serve --json --dir "$1" >"$1/ready.json" & echo $!"#;
    let shell = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_rds-local")])
        .arg(folder.path())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let server = Pid::from_raw(text(&shell.stdout).trim().parse().unwrap());
    let ready = folder.path().join("ready.json");
    let is_ready =
        || std::fs::read_to_string(&ready).is_ok_and(|line| line.contains(r#""event":"ready""#));
    let started = wait_until(is_ready) || wait_until(is_ready);
    assert!(started && kill(server, None).is_ok());
    kill(server, Signal::SIGTERM).unwrap();
    wait_until_gone(&folder.path().join("env"));
    wait_until_gone(&folder.path().join("postgres"));
}

/// The test starts itself as a runner of tests, which starts one of each and is then killed.
#[tokio::test]
async fn a_killed_test_runner_leaves_nothing() {
    if let Some(folder) = std::env::var_os(RUNNER) {
        return be_the_runner(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut runner = Command::new(std::env::current_exe().unwrap());
    runner
        .args(["--exact", "killed::a_killed_test_runner_leaves_nothing", "--nocapture"])
        .env(RUNNER, folder.path())
        .current_dir(root())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        // As a time-out of CI kills it, alone in its group.
        .process_group(0);
    let mut runner = Started::by(&mut runner);
    let mut lines = BufReader::new(runner.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let mut told = Vec::new();
    let running = lines.any(|line| {
        told.push(line.clone());
        line == "all run"
    });
    assert!(running, "{told:?}");
    let folders: Vec<PathBuf> =
        told.iter().filter_map(|line| line.strip_prefix("folder ")).map(PathBuf::from).collect();
    assert_eq!(folders.len(), 2);
    let names = ["function", "sleep", "postgres", "weed", "mariadbd", "java", "oxigraph"];
    tokio::task::spawn_blocking(move || kill_and_wait(runner, &names)).await.unwrap();
    folders.iter().for_each(|folder| wait_until_gone(folder));
}

async fn be_the_runner(folder: &Path) {
    let function = write_function(folder);
    let postgres = World::with_s3(&function).await;
    let mysql =
        World::with(&function, |options| Options { engine: Engine::Mysql, ..options }).await;
    let cluster =
        Options { resource_id: CLUSTER_RESOURCE_ID.into(), ..Options::new(folder.join("cluster")) };
    let _cluster = Cluster::start(cluster).await.unwrap();
    let mut function = postgres.function().await;
    for world in [&postgres, &mysql] {
        eprintln!("folder {}", world.folder().display());
    }
    tokio::join!(function.invoke("{}"), async { eprintln!("all run") });
    // Should this test itself be killed.
    parent_ended().await;
}
