//! doctor on the sources of credentials: profiles, commands, IAM Identity Center, web identities,
//! containers and STS. Each is staged, and a shell applies the doctor's remedies.

use crate::common;

use std::path::Path;
use std::process::Command;

use common::broken_setup::{BrokenSetup, Fill, Variables, filled};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A setup with files of credentials, and a server that is none of AWS's.
struct Sources {
    setup: BrokenSetup,
    files: tempfile::TempDir,
    other: String,
    keys: [String; 3],
    role: String,
    external: String,
}

impl Sources {
    async fn open() -> Self {
        let setup = BrokenSetup::open(|options| options).await;
        let keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
            .map(|name| setup.healthy[name].clone());
        let other = serve(&keys).await;
        let files = tempfile::tempdir().unwrap();
        let role = setup.healthy["DB_ROLE_ARN_EXAMPLE"].clone();
        let external = setup.healthy["DB_ROLE_EXTERNAL_ID_EXAMPLE"].clone();
        Self { setup, files, other, keys, role, external }
    }

    fn path(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.files.path().join(name), text).unwrap();
    }

    /// The healthy variables without keys, in a home of their own.
    fn without_keys(&self, changes: &[(&str, &str)]) -> Variables {
        let home = self.files.path().display().to_string();
        let mut variables = self.setup.with(&[
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_SECRET_ACCESS_KEY", ""),
            ("AWS_SESSION_TOKEN", ""),
            ("HOME", &home),
            ("PATH", &format!("{home}:/usr/bin:/bin")),
            ("AWS_CONFIG_FILE", &self.path("config")),
            ("AWS_SHARED_CREDENTIALS_FILE", &self.path("credentials")),
        ]);
        variables.extend(changes.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        variables
    }

    /// The healthy variables, and the example role to assume.
    fn with_role(&self, changes: &[(&str, &str)]) -> Variables {
        let role =
            [("DB_ROLE_ARN", self.role.as_str()), ("DB_ROLE_EXTERNAL_ID", self.external.as_str())];
        self.setup.with(&[&role, changes].concat())
    }

    /// The keys of a profile.
    fn keys(&self, section: &str, [id, secret]: [&str; 2]) {
        let session = &self.keys[2];
        self.write("credentials", &format!("[{section}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\naws_session_token = {session}\n"));
    }

    /// Profile `app` of these lines, and profile `base` with the healthy keys.
    fn profile(&self, lines: &str) -> Variables {
        let [id, secret, _] = &self.keys;
        self.write("config", &format!("[profile app]\n{lines}\n"));
        self.keys("base", [id, secret]);
        self.without_keys(&[("AWS_PROFILE", "app")])
    }

    /// The output of a credential_process.
    fn printed(&self, expiration: &str) -> String {
        let [id, secret, session] = &self.keys;
        json!({ "Version": 1, "AccessKeyId": id, "SecretAccessKey": secret, "SessionToken": session, "Expiration": expiration }).to_string()
    }

    /// The first cause is the true one, its text has these phrases, and the login works once the remedies
    /// are applied and `act` has done what an action says.
    async fn repair(
        &mut self,
        name: &'static str,
        (cause, says): (&str, &[&str]),
        mut variables: Variables,
        fill: Fill<'_>,
        act: impl FnOnce(&Self),
    ) {
        let report = self.setup.doctor(&variables).await;
        let first = report["causes"][0].clone();
        let right = report["ok"] == false && first["cause"] == cause;
        assert!(right, "{name}: {cause} expected, {report:#}");
        for phrase in says {
            assert!(common::says(&first, phrase), "{name}: {phrase} is not in {first:#}");
        }
        assert!(!report.to_string().contains("s3cret"), "{name}: {report:#}");
        for remedy in first["remedies"].as_array().unwrap() {
            apply(name, remedy, &mut variables, fill);
        }
        act(self);
        let after = self.setup.doctor(&variables).await;
        assert_eq!(after["ok"], true, "{name}, after {first:#}: {after:#}");
        self.setup.seen.push((name, right));
    }
}

fn nothing(_: &Sources) {}

fn apply(name: &str, remedy: &Value, variables: &mut Variables, fill: Fill<'_>) {
    let text = |key: &str| filled(remedy[key].as_str().unwrap(), fill);
    match remedy["kind"].as_str().unwrap() {
        "variable" => {
            assert!(!text("value").contains('<'), "{name}: {remedy}");
            match text("value") {
                empty if empty.is_empty() => drop(variables.remove(&text("name"))),
                value => drop(variables.insert(text("name"), value)),
            }
        }
        "command" => {
            let script = format!("{}\nenv -0", text("command"));
            let shell =
                Command::new("bash").args(["-c", &script]).env_clear().envs(&*variables).output();
            let output = common::text(&shell.unwrap().stdout);
            let pairs = output.split('\0').filter_map(|pair| pair.split_once('='));
            *variables = pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        }
        _ => {}
    }
}

/// A server of HTTP: credentials of a container and of IAM Identity Center, an error, junk, and silence.
async fn serve([id, secret, session]: &[String; 3]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let far = "2099-01-01T00:00:00Z";
    let container = json!({ "AccessKeyId": id, "SecretAccessKey": secret, "Token": session, "Expiration": far });
    let sso = json!({ "roleCredentials": { "accessKeyId": id, "secretAccessKey": secret, "sessionToken": session, "expiration": 4_070_908_800_000_u64 } });
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (container, sso) = (container.to_string(), sso.to_string());
            tokio::spawn(async move {
                let mut request = vec![0; 8192];
                let length = socket.read(&mut request).await.unwrap_or_default();
                let request = common::text(&request[..length]);
                let (status, body) =
                    match request.split([' ', '?']).nth(1).unwrap_or("/").trim_end_matches('/') {
                        "/keys" => ("200 OK", container.as_str()),
                        "/404" => ("404 Not Found", "<html>s3cret</html>"),
                        "/hang" => return std::future::pending::<()>().await,
                        path if path.starts_with("/federation/credentials") => {
                            ("200 OK", sso.as_str())
                        }
                        _ => ("200 OK", "junk s3cret"),
                    };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn sources_of_credentials() {
    let mut sources = Sources::open().await;
    swapped_and_quoted(&mut sources).await;
    profiles(&mut sources).await;
    processes(&mut sources).await;
    identity_center(&mut sources).await;
    web_identities(&mut sources).await;
    containers(&mut sources).await;
    println!("{} staged", sources.setup.close().await);
}

#[tokio::test]
async fn roles_and_the_way_to_sts() {
    let mut sources = Sources::open().await;
    roles_of_profiles(&mut sources).await;
    configured_roles(&mut sources).await;
    other_servers(&mut sources).await;
    proxies(&mut sources).await;
    println!("{} staged", sources.setup.close().await);
}

async fn swapped_and_quoted(sources: &mut Sources) {
    let [id, secret, _] = sources.keys.clone();
    let swapped =
        sources.setup.with(&[("AWS_ACCESS_KEY_ID", &secret), ("AWS_SECRET_ACCESS_KEY", &id)]);
    sources.repair("swapped", ("keys-pasted", &["are swapped"]), swapped, &[], nothing).await;
    let correct = |sources: &Sources| sources.keys("default", [&sources.keys[0], &sources.keys[1]]);
    let (start, end) = secret.split_at(9);
    for (name, says, [id, secret]) in [
        ("swapped in a file", "are swapped", [secret.clone(), id.clone()]),
        ("quoted in a file", "holds quotes", [format!("\"{id}\""), format!("\"{secret}\"")]),
        ("a space in a file", "holds a space", [id.clone(), format!("{start} {end}")]),
        ("a line break in a file", "holds a line break", [id.clone(), format!("{start}\n  {end}")]),
    ] {
        sources.keys("default", [&id, &secret]);
        let place = format!("{}, under [default]", sources.path("credentials"));
        let variables = sources.without_keys(&[]);
        sources.repair(name, ("keys-pasted", &[says, &place]), variables, &[], correct).await;
    }
    std::fs::remove_file(sources.path("credentials")).unwrap();
}

async fn profiles(sources: &mut Sources) {
    let (role, external) = (sources.role.clone(), sources.external.clone());
    let lines = format!("role_arn={role}\nexternal_id={external}");
    let correct = format!("{lines}\nsource_profile=base");
    for (name, lines, says) in [
        ("source_profile nobody", format!("{lines}\nsource_profile=nobody"), "nobody"),
        (
            "source_profile loops",
            format!(
                "{lines}\nsource_profile=loop\n[profile loop]\nrole_arn={role}\nsource_profile=app"
            ),
            "leads back",
        ),
        ("no source_profile", lines.clone(), "neither source_profile"),
        (
            "secret missing",
            "aws_access_key_id=AKIAIOSFODNN7EXAMPLE".into(),
            "no aws_secret_access_key",
        ),
        (
            "sso-session missing",
            "sso_session=s\nsso_account_id=1\nsso_role_name=r".into(),
            "no [sso-session s]",
        ),
        ("section cut", "[profile".into(), "is not of the form"),
    ] {
        let variables = sources.profile(&lines);
        let file = sources.path("config");
        let act = |sources: &Sources| drop(sources.profile(&correct));
        sources.repair(name, ("profile-broken", &[says, &file]), variables, &[], act).await;
    }
    let mut variables = sources.profile(&correct);
    variables.insert("AWS_PROFILE".into(), "App".into());
    let fill: Fill<'_> = &[("a profile", "app")];
    let says: &[&str] = &["AWS_PROFILE is App", "app, base"];
    sources
        .repair("profile misspelt", ("credentials-missing", says), variables, fill, nothing)
        .await;
}

async fn processes(sources: &mut Sources) {
    let correct =
        |sources: &Sources| sources.write("keys.json", &sources.printed("2099-01-01T00:00:00Z"));
    let file = sources.path("keys.json");
    let old = sources.printed("2020-01-01T00:00:00Z");
    for (name, cause, says, text) in [
        ("process fails", "credential-process", "failed", "FAIL"),
        ("process prints junk", "credential-process", "failed", "s3cret"),
        ("process hangs", "credential-process", "did not end in time", "HANG"),
        ("process prints old keys", "credentials-expired", "credential_process", &old),
    ] {
        sources.write("keys.json", text);
        let script =
            format!("grep -q HANG {file} && sleep 20; ! grep -q FAIL {file} && cat {file}");
        sources.write("process.sh", &script);
        let variables =
            sources.profile(&format!("credential_process = bash {}", sources.path("process.sh")));
        sources.repair(name, (cause, &[says, "by hand"]), variables, &[], correct).await;
    }
}

/// `aws sso login` is a script that leaves the session's token where the CLI leaves it.
async fn identity_center(sources: &mut Sources) {
    let cache = sources.files.path().join(".aws/sso/cache");
    let login = |expires: &str| {
        format!(
            "mkdir -p {0}; echo '{{\"accessToken\":\"s3cret\",\"expiresAt\":\"{expires}\",\"region\":\"us-east-1\",\"startUrl\":\"https://x.awsapps.com/start\"}}' > {0}/$(printf %s \"$ID\" | sha1sum | cut -d' ' -f1).json",
            cache.display()
        )
    };
    let script = format!(
        "#!/bin/bash\n[ \"$*\" = 'sso login --profile app' ] || exit 1\n{}\n",
        login("2099-01-01T00:00:00Z")
    );
    sources.write("aws", &script);
    executable(&sources.files.path().join("aws"));
    let account = "sso_account_id=123456789012\nsso_role_name=r\n";
    let portal = "sso_region=us-east-1\nsso_start_url=https://x.awsapps.com/start\n";
    let session = format!("{account}sso_session=s\n[sso-session s]\n{portal}");
    let legacy = format!("{account}{portal}");
    for (name, lines, id, old) in [
        ("sso session, never logged in", &session, "s", false),
        ("sso session has ended", &session, "s", true),
        ("sso without a session, never logged in", &legacy, "https://x.awsapps.com/start", false),
    ] {
        let _ = std::fs::remove_dir_all(&cache);
        if old {
            let script = login("2020-01-01T00:00:00Z");
            Command::new("bash").args(["-c", &script]).env("ID", id).status().unwrap();
        }
        let mut variables = sources.profile(lines);
        variables.insert("AWS_ENDPOINT_URL_SSO".into(), sources.other.clone());
        variables.insert("ID".into(), id.into());
        let says: &[&str] = &["aws sso login --profile app"];
        sources.repair(name, ("sso-login", says), variables, &[], nothing).await;
    }
}

fn executable(path: &Path) {
    assert!(Command::new("chmod").arg("+x").arg(path).status().unwrap().success());
}

async fn web_identities(sources: &mut Sources) {
    let role = sources.role.clone();
    let good = sources.setup.folder.path().join("web-identity-token").display().to_string();
    for (name, text) in [("junk.jwt", "s3cret"), ("empty.jwt", "")] {
        sources.write(name, text);
    }
    let (junk, empty) = (sources.path("junk.jwt"), sources.path("empty.jwt"));
    let wrong = role.replace("role/", "role/wrong-");
    let fill: Fill<'_> = &[("role's ARN", &role), ("ARN of the role", &role), ("path of", &good)];
    for (name, file, role, says) in [
        ("token file missing", "/nowhere/token", role.as_str(), "does not exist"),
        ("token file empty", &empty, &role, "is empty"),
        ("token refused", &junk, &role, "STS refused the role"),
        ("role of the token misspelt", &good, &wrong, "wrong-"),
        ("token without role", &good, "", "AWS_ROLE_ARN is not"),
    ] {
        let variables =
            sources.without_keys(&[("AWS_WEB_IDENTITY_TOKEN_FILE", file), ("AWS_ROLE_ARN", role)]);
        let says: &[&str] = &[says, "AWS_WEB_IDENTITY_TOKEN_FILE"];
        sources.repair(name, ("web-identity", says), variables, fill, nothing).await;
    }
    let variables = sources.without_keys(&[
        ("AWS_WEB_IDENTITY_TOKEN_FILE", &good),
        ("AWS_ROLE_ARN", &role),
        ("AWS_ROLE_SESSION_NAME", "x"),
    ]);
    let says: &[&str] = &["AWS_ROLE_SESSION_NAME is set"];
    sources
        .repair("session name too short", ("web-identity", says), variables, fill, nothing)
        .await;
}

async fn containers(sources: &mut Sources) {
    let name = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
    let good = format!("{}/keys", sources.other);
    let fill: Fill<'_> = &[("ECS or EKS", &good)];
    let at = |path: &str| format!("{}{path}", sources.other);
    for (case, uri, says) in [
        ("agent answers 404", at("/404"), "answers without credentials"),
        ("agent answers junk", at("/junk"), "answers without credentials"),
        ("agent is silent", at("/hang"), "gives none in time"),
        ("agent is not there", "http://127.0.0.1:9/keys".to_owned(), "refuses connections"),
        ("agent elsewhere", "http://192.0.2.1/keys".to_owned(), "not a place"),
    ] {
        let variables = sources.without_keys(&[(name, &uri)]);
        let expected: (&str, &[&str]) = ("container-credentials", &[says, name]);
        sources.repair(case, expected, variables, fill, nothing).await;
    }
    let token = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
    sources.write("agent-token", "token");
    let file = sources.path("agent-token");
    let variables = sources.without_keys(&[(name, &good), (token, "/nowhere/token")]);
    let fill: Fill<'_> = &[("the token", &file)];
    let expected: (&str, &[&str]) = ("container-credentials", &[token, "does not exist"]);
    sources.repair("agent's token missing", expected, variables, fill, nothing).await;
    let variables =
        sources.without_keys(&[(name, &good), ("http_proxy", "http://u:s3cret@127.0.0.1:9")]);
    let expected: (&str, &[&str]) = ("container-credentials", &["http_proxy is set", "NO_PROXY"]);
    sources.repair("agent behind a proxy", expected, variables, &[], nothing).await;
}

async fn roles_of_profiles(sources: &mut Sources) {
    let (role, external) = (sources.role.clone(), sources.external.clone());
    let correct = format!("role_arn={role}\nsource_profile=base\nexternal_id={external}");
    let wrong = role.replace("role/", "role/wrong-");
    let says: &[&str] = &["may not assume", &role, "external_id", "under [profile app]"];
    let act = |sources: &Sources| drop(sources.profile(&correct));
    let variables = sources.profile(&format!("role_arn={role}\nsource_profile=base"));
    sources.repair("profile's external id", ("role-refused", says), variables, &[], act).await;
    let variables = sources.profile(&correct.replace(&role, &wrong));
    let says: &[&str] = &[&wrong, "role_arn is the role's ARN"];
    sources.repair("profile's role", ("role-refused", says), variables, &[], act).await;
}

async fn configured_roles(sources: &mut Sources) {
    let (role, external) = (sources.role.clone(), sources.external.clone());
    let own = [("DB_ROLE_ARN", role.as_str()), ("DB_ROLE_EXTERNAL_ID", &external)];
    drop(sources.profile("region=us-east-1"));
    let mut variables = sources.without_keys(&own);
    variables.insert("AWS_CONFIG_FILE".into(), "/dev/null".into());
    let fill: Fill<'_> = &[("a profile", "base")];
    let says: &[&str] = &["no source of credentials has any"];
    let name = "role without credentials";
    sources.repair(name, ("credentials-missing", says), variables, fill, nothing).await;

    let fill: Fill<'_> = &[("role's ARN", &role), ("owner gave you", &external)];
    let misspelt = role.replace("role/", "role/wrong-");
    let account = role.replace("123456789012", "999999999999");
    for (name, wrong, says) in
        [("role misspelt", misspelt, "does not exist"), ("role's account", account, "999999999999")]
    {
        let variables = sources.with_role(&[("DB_ROLE_ARN", &wrong)]);
        let report = sources.setup.doctor(&variables).await;
        assert_eq!(report["causes"][0]["remedies"][0]["name"], "DB_ROLE_ARN", "{report:#}");
        sources.repair(name, ("role-refused", &[says]), variables, fill, nothing).await;
    }
}

async fn other_servers(sources: &mut Sources) {
    let sts = sources.setup.healthy["AWS_ENDPOINT_URL_STS"].clone();
    let fill: Fill<'_> = &[("URL of an STS", &sts)];
    for (name, path, says) in [
        ("STS answers 404", "/404", "another server"),
        ("STS answers junk", "/junk", "another server"),
        ("STS is silent", "/hang", "did not answer"),
    ] {
        let url = format!("{}{path}", sources.other);
        let variables = sources.with_role(&[("AWS_ENDPOINT_URL_STS", &url)]);
        let says: &[&str] = &[says, "AWS_ENDPOINT_URL_STS"];
        sources.repair(name, ("sts-unreachable", says), variables, fill, nothing).await;
    }
}

async fn proxies(sources: &mut Sources) {
    for (name, variable) in [
        ("HTTP_PROXY is dead", "HTTP_PROXY"),
        ("http_proxy is dead", "http_proxy"),
        ("ALL_PROXY is dead", "ALL_PROXY"),
    ] {
        let dead = "http://user:s3cret@127.0.0.1:9";
        let variables = sources.with_role(&[(variable, dead), ("NO_PROXY", "example.com")]);
        let says: &[&str] = &[variable, "example.com,127.0.0.1"];
        sources.repair(name, ("sts-unreachable", says), variables, &[], nothing).await;
    }
}
