//! doctor for a person: `--watch` says what changed, and a terminal gets colours.

use crate::common;

use std::process::Stdio;
use std::time::Duration;

use rds_local::gate::Fault;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn watch_says_what_changed_until_the_login_works() {
    let (mut server, _folder) = common::start(|options| options).await;
    server.inject(Fault::ResetBeforeLogin).await.unwrap();
    let mut doctor = Command::new(env!("CARGO_BIN_EXE_rds-doctor"))
        .arg("--watch")
        .env_clear()
        .envs(server.variables())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(doctor.stdout.take().unwrap()).lines();
    let mut next = async || timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
    while !next().await.unwrap().contains("[") {}
    server.inject(Fault::None).await.unwrap();
    let mut changes = Vec::new();
    while let Some(line) = next().await {
        changes.push(line);
    }
    let all = changes.join("\n");
    assert!(all.contains("login: FAILED -> ok"), "{all}");
    assert!(timeout(PATIENCE, doctor.wait()).await.unwrap().unwrap().success());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_terminal_gets_colours_and_a_pipe_none() {
    let (server, _folder) = common::start(|options| options).await;
    // Python gives the program a terminal.
    let python = common::root().join("target/venv/bin/python");
    let spawn = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)";
    let program = env!("CARGO_BIN_EXE_rds-doctor");
    for (terminal, variable, colours) in
        [(true, None, true), (true, Some(("NO_COLOR", "1")), false), (false, None, false)]
    {
        let mut command =
            Command::new(if terminal { python.as_os_str() } else { program.as_ref() });
        if terminal {
            command.args(["-c", spawn, program]);
        }
        command.env_clear().envs(server.variables()).env("TERM", "xterm");
        let output = command.envs(variable).stdin(Stdio::null()).output().await.unwrap();
        let text = common::text(&output.stdout);
        assert!(output.status.success() && text.contains("login"), "{text}");
        assert_eq!(text.contains("\u{1b}[32m"), colours, "{terminal} {variable:?}: {text}");
    }
    server.stop().await.unwrap();
}

#[test]
fn rds_local_doctor_runs_it() {
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_rds-doctor"));
    let local = program.with_file_name("rds-local");
    let output = std::process::Command::new(local).args(["doctor", "--version"]).output().unwrap();
    assert!(common::text(&output.stdout).starts_with("rds-doctor "), "{output:?}");
}

/// The check cannot see another client's options, so that it gives advice for them.
#[tokio::test]
async fn other_clients_get_advice() {
    let (server, _folder) = common::start(|options| options).await;
    for (client, advice) in [
        ("mysql", "--enable-cleartext-plugin"),
        ("mariadb", "--default-auth=mysql_clear_password"),
        ("mysql2", "enableCleartextPlugin"),
        ("connector-python", "auth_plugin"),
        ("pymysql", "create_default_context"),
        ("connector-j", "MysqlClearPasswordPlugin"),
        ("go-sql-driver", "allowCleartextPasswords"),
        ("awscurl", "--service neptune-db"),
        ("curl", "--aws-sigv4"),
        ("boto3", "neptunedata"),
    ] {
        let program = env!("CARGO_BIN_EXE_rds-doctor");
        let mut command = Command::new(program);
        command.args(["--client", client]).env_clear().envs(server.variables());
        let output = command.output().await.unwrap();
        let text = common::text(&output.stdout);
        assert!(output.status.success(), "{client}: {text}{}", common::text(&output.stderr));
        for part in [advice, "the check cannot see the options of"] {
            assert!(text.contains(part), "{client}: {part}: {text}");
        }
    }
    server.stop().await.unwrap();
}
