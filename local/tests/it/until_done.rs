//! `rds-local invoke batch-job --until-done`, interrupted: nothing is left running, and the command that it
//! prints finishes the run.

use crate::common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{start, text};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rds_local::{DATABASE, Options, READ_WRITE_USER, Server};
use tokio::time::{sleep, timeout};

const ROWS: i64 = 1000;
/// 100 chunks: five seconds at least.
const PURGE: &str =
    "/*+++\nmode = \"write\"\nresult = \"affected\"\nrepeat = \"until-no-rows\"\npause = 0.05\n\
    params = [{ name = \"chunk\", default = 10 }]\n+++*/
    DELETE FROM items WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM items LIMIT $1)";

fn command(folder: &Path) -> Command {
    let batch_job = Path::new(env!("CARGO_BIN_EXE_rds-local")).with_file_name("batch-job");
    assert!(batch_job.is_file(), "batch-job is missing: run cargo build");
    std::fs::create_dir(folder.join("my queries")).unwrap();
    std::fs::write(folder.join("my queries/purge.sql"), PURGE).unwrap();
    let event = folder.join("event.json");
    std::fs::write(&event, r#"{"query": "purge"}"#).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rds-local"));
    command.args(["invoke", "batch-job", "--until-done", "--timeout", "2", "--event"]).arg(event);
    command.arg("--dir").arg(folder).args(["--env", "JOB_LEASE=2", "--env"]);
    command.arg(format!("QUERIES_DIR={}", folder.join("my queries").display()));
    command
}

async fn read(server: &Server, sql: &str) -> String {
    let admin = server.database.superuser(DATABASE).await.unwrap();
    admin.query_one(sql, &[]).await.unwrap().get(0)
}

async fn wait_for(server: &Server, sql: &str, wanted: &str) {
    let reached = async {
        while read(server, sql).await != wanted {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), reached).await.unwrap_or_else(|_| panic!("never: {sql}"));
}

/// Processes of the function whose environment names this folder.
fn functions(folder: &Path) -> usize {
    let folder = folder.display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    processes
        .filter_map(|process| std::fs::read(process.join("environ")).ok())
        .filter(|environment| text(environment).contains(&format!("QUERIES_DIR={folder}")))
        .count()
}

async fn interrupt_and_go_on(signal: Signal, code: i32) {
    let (server, folder) =
        start(|options| Options { user: READ_WRITE_USER.into(), ..options }).await;
    let admin = server.database.superuser(DATABASE).await.unwrap();
    let tables = format!(
        "CREATE TABLE items AS SELECT generate_series(1, {ROWS}) AS n;
         GRANT SELECT, DELETE ON items TO iam_rw_user"
    );
    admin.batch_execute(&tables).await.unwrap();
    let mut command = command(folder.path());
    // As a shell does, which sends Ctrl-C to the whole group.
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
    // In the middle of the second invocation at the earliest.
    let middle =
        "SELECT coalesce(max((invocations > 1 AND rows > 300)::text), 'false') FROM job_runs";
    wait_for(&server, middle, "true").await;
    assert_eq!(functions(folder.path()), 1);
    killpg(group, signal).unwrap();
    let ended = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(functions(folder.path()), 0);
    let told = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{told}");
    let run = read(&server, "SELECT run FROM job_runs").await;
    assert!(told.contains(&format!("run {run}: chosen, because")), "{told}");
    assert!(told.contains(&format!("run {run}: step 1 (purge), ")), "{told}");
    let in_use = "SELECT count(*)::text FROM pg_stat_activity WHERE usename = 'iam_rw_user'";
    wait_for(&server, in_use, "0").await;
    let left = read(&server, "SELECT count(*)::text FROM items").await;
    assert_ne!(left, "0", "it was not interrupted: {told}");

    let before = read(&server, "SELECT rows::text FROM job_runs").await;

    let again = told.lines().last().unwrap().trim().to_owned();
    assert!(again.ends_with(&format!(" --run {run}")), "{again}");
    let again = move || Command::new("sh").args(["-c", &again]).output().unwrap();
    let ended = tokio::task::spawn_blocking(again).await.unwrap();
    let (told, answer) = (text(&ended.stderr), text(&ended.stdout));
    assert!(ended.status.success(), "{told}");
    assert!(told.contains(&format!("run {run}: as --run says")), "{told}");
    // Not those of the calls before.
    let here: i64 = told
        .lines()
        .filter_map(|line| line.split_once("; now ")?.1.split(' ').next()?.parse().ok())
        .max()
        .unwrap();
    assert_eq!(here, ROWS - before.parse::<i64>().unwrap(), "{told}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["done"], &answer["rows"]), (&true.into(), &ROWS.into()), "{told}");
    // The last chunk finds nothing.
    let runs = "SELECT string_agg(status || ' ' || chunks || ' ' || rows, ', ') FROM job_runs";
    assert_eq!(read(&server, runs).await, format!("finished {} {ROWS}", ROWS / 10 + 1));
    assert_eq!(read(&server, "SELECT count(*)::text FROM items").await, "0");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_ctrl_c_the_printed_command_finishes_the_run() {
    interrupt_and_go_on(Signal::SIGINT, 130).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_sigterm_too() {
    interrupt_and_go_on(Signal::SIGTERM, 143).await;
}
