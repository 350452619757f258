//! The same profile and role give the same principal as the AWS CLI, by the word of another STS, moto's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{root, text};

struct Moto(Child, u16);

impl Moto {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let program = root().join("target/venv-sam/bin/moto_server");
        assert!(program.exists(), "moto is missing: run make test, or local/setup.sh --tests");
        let mut child = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for _ in 0..600 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Self(child, port);
            }
            assert!(child.try_wait().unwrap().is_none(), "moto ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("moto does not listen");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_profiles_role_is_the_same_principal() {
    let moto = Moto::start();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config");
    std::fs::write(
        &config,
        "[profile base]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = secret\n\
         [profile reader]\nrole_arn = arn:aws:iam::123456789012:role/reader\nsource_profile = base\n\
         external_id = shared-secret\nrole_session_name = cross-check\n",
    )
    .unwrap();
    let client = |program: &str| {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", folder.path())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_CONFIG_FILE", &config)
            .env("AWS_ENDPOINT_URL_STS", format!("http://127.0.0.1:{}", moto.1));
        command
    };
    let said = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    let cli = common::helper("aws").display().to_string();
    let who = ["sts", "get-caller-identity", "--query", "Arn", "--output", "text"];
    let theirs = said(client(&cli).args(who).env("AWS_PROFILE", "reader"));
    assert_eq!(theirs, "arn:aws:sts::123456789012:assumed-role/reader/cross-check");

    let token = said(
        client(env!("CARGO_BIN_EXE_rds-local"))
            .args([
                "token",
                "--hostname",
                "db.c1a2b3.us-east-1.rds.amazonaws.com",
                "--username",
                "u",
            ])
            .env("AWS_PROFILE", "reader"),
    );
    let parameter = |name: &str| {
        let value = token.split(&format!("{name}=")).nth(1).unwrap().split('&').next().unwrap();
        percent_encoding::percent_decode_str(value).decode_utf8().unwrap().into_owned()
    };
    // moto knows a caller by the key alone, so that whoever signed the token can be asked for.
    let credential = parameter("X-Amz-Credential");
    let ours = said(
        client(&cli)
            .args(who)
            .env("AWS_ACCESS_KEY_ID", credential.split('/').next().unwrap())
            .env("AWS_SECRET_ACCESS_KEY", "unknown")
            .env("AWS_SESSION_TOKEN", parameter("X-Amz-Security-Token")),
    );
    assert_eq!(ours, theirs);
}
