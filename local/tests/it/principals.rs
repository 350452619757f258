//! The same profile and role give the same principal as the AWS CLI, by the word of another STS, moto's.

use crate::common;

use std::net::TcpListener;
use std::process::Command;

use common::{root, text};
use rds_local::testing::imitations::Moto;

#[tokio::test]
async fn a_profiles_role_is_the_same_principal() {
    let moto = Moto::start(&root()).await;
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
            .env("AWS_ENDPOINT_URL_STS", &moto.url);
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

/// IAM Identity Center as a laptop has it: a session signed in to, whose portal issues a role's keys.
#[test]
fn a_profile_of_identity_center_signs_tokens() {
    use std::io::{Read, Write};
    let portal = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = portal.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let (mut stream, _) = portal.accept().unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).unwrap();
        let body = r#"{"roleCredentials":{"accessKeyId":"ASIAIDENTITYCENTER","secretAccessKey":"secret","sessionToken":"issued","expiration":4070908800000}}"#;
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        text(&request[..length])
    });
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join(".aws/sso/cache");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::write(
        home.path().join(".aws/config"),
        "[profile laptop]\nsso_session = work\nsso_account_id = 123456789012\nsso_role_name = Reader\nregion = us-east-1\n\
         [sso-session work]\nsso_region = us-east-1\nsso_start_url = https://example.awsapps.com/start\n",
    )
    .unwrap();
    // Where the AWS CLI keeps the token of the session `work`: its name's SHA-1.
    std::fs::write(
        cache.join("e274eeff768c6396088ec6eb091f4bf4d47ab1e0.json"),
        r#"{"accessToken":"signed-in","expiresAt":"2099-01-01T00:00:00Z","region":"us-east-1","startUrl":"https://example.awsapps.com/start"}"#,
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_rds-local"))
        .args(["token", "--hostname", "db.c1a2b3.us-east-1.rds.amazonaws.com", "--username", "u"])
        .env_clear()
        .env("HOME", home.path())
        .env("AWS_PROFILE", "laptop")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_ENDPOINT_URL_SSO", format!("http://{address}"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("X-Amz-Credential=ASIAIDENTITYCENTER%2F"));
    let request = served.join().unwrap();
    assert!(request.contains("role_name=Reader") && request.contains("signed-in"), "{request}");
}
