//! Failures that are produced for real, each with its true cause. doctor must name that cause first, and
//! the login must work once the test has done what the remedy says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod common;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use aws_smithy_async::time::{SharedTimeSource, TimeSource};
use rds_local::gate::Fault;
use rds_local::iam::{Identity, dbuser_arn};
use rds_local::{DATABASE, HOST, Options, Server};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const USER: &str = "iam_ro_user";

type Variables = BTreeMap<String, String>;

struct Clinic {
    server: Server,
    folder: TempDir,
    healthy: Variables,
    seen: Vec<(&'static str, bool)>,
    outputs: Vec<String>,
}

/// What stands in a remedy's `<…>`, by a part of its text, and what the test knows it to be.
type Fill<'a> = &'a [(&'a str, &'a str)];

impl Clinic {
    async fn open(change: impl FnOnce(Options) -> Options) -> Self {
        let (server, folder) = common::start(change).await;
        let mut healthy = server.variables();
        for (name, value) in [
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            healthy.insert(name.into(), value.into());
        }
        Self { server, folder, healthy, seen: Vec::new(), outputs: Vec::new() }
    }

    fn with(&self, changes: &[(&str, &str)]) -> Variables {
        let mut variables = self.healthy.clone();
        for (name, value) in changes {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        variables
    }

    async fn doctor(&mut self, variables: &Variables) -> Value {
        let variables = variables.clone();
        let run = move || {
            Command::new(env!("CARGO_BIN_EXE_rds-local"))
                .args(["doctor", "--json"])
                .env_clear()
                .envs(variables)
                .output()
                .unwrap()
        };
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        let text = common::text(&output.stdout);
        let report: Value = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}{}", common::text(&output.stderr)));
        assert_eq!(output.status.success(), report["ok"] == true, "{text}");
        self.outputs.push(text);
        report
    }

    /// The variables of a patient, its cause, and the treatment by what doctor prescribes; `act` is what
    /// an action of the remedy, done elsewhere, comes to.
    async fn treat(
        &mut self,
        name: &'static str,
        cause: &str,
        mut variables: Variables,
        fill: Fill<'_>,
        act: impl AsyncFnOnce(&mut Server),
    ) {
        let report = self.doctor(&variables).await;
        assert_eq!(report["ok"], false, "{name}: {report:#}");
        let first = &report["causes"][0];
        let right = first["cause"] == cause;
        if !right {
            eprintln!("{name}: {cause} expected, {report:#}");
        }
        self.seen.push((name, right));
        for remedy in first["remedies"].as_array().unwrap() {
            self.apply(name, remedy, &mut variables, fill).await;
        }
        act(&mut self.server).await;
        let after = self.doctor(&variables).await;
        assert_eq!(after["ok"], true, "{name}, after {first:#}: {after:#}");
    }

    async fn apply(&self, name: &str, remedy: &Value, variables: &mut Variables, fill: Fill<'_>) {
        let text = |key: &str| filled(remedy[key].as_str().unwrap(), fill);
        match remedy["kind"].as_str().unwrap() {
            "variable" => {
                let value = text("value");
                assert!(!value.contains('<'), "{name}: what is {value}?");
                variables.insert(text("name"), value);
            }
            "sql" => {
                let admin = self.server.database.superuser(&text("database")).await.unwrap();
                admin.batch_execute(&text("sql")).await.unwrap();
            }
            "policy" => {
                let document: Value = serde_json::from_str(&text("document")).unwrap();
                let statement = &document["Statement"][0];
                if statement["Action"] == "rds-db:connect" {
                    let resource = statement["Resource"].as_str().unwrap().to_owned();
                    let id = &variables["AWS_ACCESS_KEY_ID"];
                    let signer = self.server.iam.find(id).unwrap();
                    assert!(text("attach_to").ends_with(&signer.arn), "{name}: {remedy}");
                    let session = signer.session_token.clone();
                    let secret = &signer.secret_access_key;
                    let allowed = [resource];
                    let healed = Identity::with_key(id, secret, session, &signer.arn, &allowed);
                    self.server.iam.add(healed);
                }
            }
            "command" => {
                let command = text("command");
                if let Some(rest) = command.strip_prefix("export ") {
                    let name = rest.split('=').next().unwrap();
                    let shell = Command::new("bash")
                        .args(["-c", &format!("{command}; printf %s \"${name}\"")])
                        .envs(variables.iter())
                        .output()
                        .unwrap();
                    variables.insert(name.to_owned(), common::text(&shell.stdout));
                }
            }
            _ => {}
        }
    }

    /// Every cause was the true one, and no output holds a secret.
    async fn close(self) -> usize {
        let secrets: Vec<&String> =
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]
                .iter()
                .map(|name| &self.healthy[*name])
                .collect();
        for output in &self.outputs {
            assert!(!output.contains("X-Amz-Signature"), "{output}");
            for secret in &secrets {
                assert!(!output.contains(secret.as_str()), "{output}");
            }
        }
        let wrong: Vec<&str> =
            self.seen.iter().filter(|(_, right)| !right).map(|(name, _)| *name).collect();
        assert!(wrong.is_empty(), "another cause came first: {wrong:?}");
        let count = self.seen.len();
        self.server.stop().await.unwrap();
        drop(self.folder);
        count
    }
}

fn filled(text: &str, fill: Fill<'_>) -> String {
    let mut text = text.to_owned();
    while let Some(start) = text.find('<') {
        let Some(end) = text[start..].find('>').map(|end| start + end + 1) else { break };
        let known = fill.iter().find(|(part, _)| text[start..end].contains(part));
        let Some((_, value)) = known else { break };
        text.replace_range(start..end, value);
    }
    text
}

async fn nothing(_: &mut Server) {}

async fn clear(server: &mut Server) {
    server.inject(Fault::None).await.unwrap();
}

/// Forwards a free port of the loopback interface to an address.
async fn forward(to: SocketAddr) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut far = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    port
}

/// A server that reads what it is asked for and answers with these bytes.
async fn answering(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(bytes).await;
                let _ = stream.read(&mut buffer).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn variables_and_keys() {
    let mut clinic = Clinic::open(|options| options).await;
    let port = clinic.healthy["PGPORT"].clone();
    let root = clinic.healthy["PGSSLROOTCERT"].clone();
    let host_and_port = format!("{HOST}:{port}");
    let url = format!("postgres://{USER}@{HOST}:{port}/{DATABASE}");
    let fill: &[(&str, &str)] = &[
        ("database's endpoint", HOST),
        ("granted rds_iam", USER),
        ("database's name", DATABASE),
        ("PEM file", &root),
    ];
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("no host", &[("PGHOST", "")]),
        ("host with port", &[("PGHOST", &host_and_port), ("PGPORT", "")]),
        ("URL as host", &[("PGHOST", &url), ("PGPORT", "")]),
        ("no user, no database", &[("PGUSER", ""), ("PGDATABASE", "")]),
        ("sslmode require", &[("PGSSLMODE", "require")]),
        ("name in PGHOSTADDR", &[("PGHOSTADDR", "localhost")]),
        ("root file missing", &[("PGSSLROOTCERT", "/nowhere/ca.pem")]),
        ("wish for a primary", &[("PGTARGETSESSIONATTRS", "primary")]),
    ];
    for (name, changes) in cases {
        let variables = clinic.with(changes);
        clinic.treat(name, "configuration", variables, fill, nothing).await;
    }

    let secret = clinic.healthy["AWS_SECRET_ACCESS_KEY"].clone();
    let id = clinic.healthy["AWS_ACCESS_KEY_ID"].clone();
    let session = clinic.healthy["AWS_SESSION_TOKEN"].clone();
    for (name, value) in
        [("quoted secret", format!("\"{secret}\"")), ("line break", format!("{secret}\n"))]
    {
        let variables = clinic.with(&[("AWS_SECRET_ACCESS_KEY", &value)]);
        clinic.treat(name, "keys-pasted", variables, &[], nothing).await;
    }
    let variables = clinic.with(&[("AWS_SECRET_ACCESS_KEY", "")]);
    let fill: &[(&str, &str)] = &[("belongs to AWS_ACCESS_KEY_ID", &secret)];
    clinic.treat("id without secret", "keys-incomplete", variables, fill, nothing).await;
    let variables = clinic.with(&[("AWS_SESSION_TOKEN", "")]);
    let fill: &[(&str, &str)] = &[("issued with the key", &session)];
    clinic.treat("no session token", "keys-incomplete", variables, fill, nothing).await;

    let allowed = [dbuser_arn(USER)];
    let arn = "arn:aws:iam::123456789012:user/ops";
    clinic.server.iam.add(Identity::with_key("AKIAOPSOPSOPSOPS", "opssecret", None, arn, &allowed));
    let stale = [("AWS_ACCESS_KEY_ID", "AKIAOPSOPSOPSOPS"), ("AWS_SECRET_ACCESS_KEY", "opssecret")];
    let variables = clinic.with(&stale);
    clinic.treat("another's session token", "keys-incomplete", variables, &[], nothing).await;

    // The remedy's command gets new credentials: here the test has them already.
    let before = SharedTimeSource::default().now() - Duration::from_secs(60);
    let dead = Identity::session(arn.into(), Some(before), allowed.to_vec());
    clinic.server.iam.add(dead.clone());
    let expired = [
        ("AWS_ACCESS_KEY_ID", dead.access_key_id.as_str()),
        ("AWS_SECRET_ACCESS_KEY", &dead.secret_access_key),
        ("AWS_SESSION_TOKEN", dead.session_token.as_deref().unwrap()),
    ];
    let variables = clinic.with(&expired);
    let revive = async |server: &mut Server| {
        let mut alive = dead.clone();
        alive.expires_at = None;
        server.iam.add(alive);
    };
    clinic.treat("expired session", "credentials-expired", variables, &[], revive).await;
    let deleted = [
        ("AWS_ACCESS_KEY_ID", "AKIADELETED"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_SESSION_TOKEN", ""),
    ];
    let variables = clinic.with(&deleted);
    let create = async |server: &mut Server| {
        server.iam.add(Identity::with_key("AKIADELETED", "x", None, arn, &[dbuser_arn(USER)]));
    };
    clinic.treat("deleted key", "keys-unknown", variables, &[], create).await;
    let variables = clinic.with(&[
        ("AWS_ACCESS_KEY_ID", "AKIAOPSOPSOPSOPS"),
        ("AWS_SECRET_ACCESS_KEY", "opssecreT"),
        ("AWS_SESSION_TOKEN", ""),
    ]);
    let correct = async |server: &mut Server| {
        server.iam.add(Identity::with_key(
            "AKIAOPSOPSOPSOPS",
            "opssecreT",
            None,
            arn,
            &[dbuser_arn(USER)],
        ));
    };
    clinic.treat("wrong secret", "secret-wrong", variables, &[], correct).await;
    assert!(clinic.server.iam.find(&id).is_some());
    let none =
        [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", ""), ("AWS_SESSION_TOKEN", "")];
    let mut variables = clinic.with(&none);
    let file = clinic.folder.path().join("credentials");
    variables.insert("AWS_SHARED_CREDENTIALS_FILE".into(), file.display().to_string());
    variables.insert("AWS_PROFILE".into(), "nobody".into());
    let fill: &[(&str, &str)] = &[("a profile", "developer")];
    let profile = std::fs::read_to_string(&file).unwrap();
    let fill = if profile.contains("developer") { fill } else { &[("a profile", "default")][..] };
    clinic.treat("no such profile", "credentials-missing", variables, fill, nothing).await;

    // The role of another owner, its external id, and an STS that is not reached.
    let role = clinic.healthy["DB_ROLE_ARN_EXAMPLE"].clone();
    let external = clinic.healthy["DB_ROLE_EXTERNAL_ID_EXAMPLE"].clone();
    let fill: &[(&str, &str)] =
        &[("owner gave you", &external), ("DB_ROLE_EXTERNAL_ID holds", &external)];
    let variables = clinic.with(&[("DB_ROLE_ARN", &role), ("DB_ROLE_EXTERNAL_ID", "wrong-id")]);
    clinic.treat("external id", "role-refused", variables, fill, nothing).await;
    let sts = clinic.healthy["AWS_ENDPOINT_URL_STS"].clone();
    let fill: &[(&str, &str)] = &[("URL of an STS", &sts)];
    let variables = clinic.with(&[
        ("DB_ROLE_ARN", &role),
        ("DB_ROLE_EXTERNAL_ID", &external),
        ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:9"),
    ]);
    clinic.treat("STS unreachable", "sts-unreachable", variables, fill, nothing).await;
    println!("{} staged", clinic.close().await);
}

#[tokio::test]
async fn networks_and_certificates() {
    let mut clinic = Clinic::open(|options| options).await;
    let address = clinic.server.address;
    let port = address.port().to_string();

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let fill: &[(&str, &str)] = &[("database's port", &port)];
    let variables = clinic.with(&[("PGPORT", &closed.to_string())]);
    clinic.treat("wrong port", "port-refused", variables, fill, nothing).await;
    let tunnel = format!("127.0.0.1:{}", forward(address).await);
    let dead = format!("127.0.0.1:{closed}");
    let fill: &[(&str, &str)] = &[("does listen", &tunnel)];
    let variables = clinic.with(&[("PGHOSTADDR", ""), ("DB_TUNNEL", &dead)]);
    clinic.treat("tunnel is down", "port-refused", variables, fill, nothing).await;
    clinic.server.inject(Fault::Refuse).await.unwrap();
    let fill: &[(&str, &str)] = &[("database's port", &port)];
    let variables = clinic.with(&[]);
    clinic.treat("refused", "port-refused", variables, fill, clear).await;

    // A full backlog: the kernel drops further SYNs, as a security group does.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    full.listen(0).unwrap();
    let hole = full.local_addr().unwrap().as_socket().unwrap();
    let _filler = std::net::TcpStream::connect(hole).unwrap();
    let variables = clinic.with(&[("PGPORT", &hole.port().to_string())]);
    let start = tokio::time::Instant::now();
    let report = clinic.doctor(&variables).await;
    let took = start.elapsed();
    println!("black hole: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(report["causes"][0]["cause"], "security-group", "{report:#}");
    let rule = report["causes"][0]["remedies"][0]["command"].as_str().unwrap();
    assert!(rule.contains(&format!("--port {}", hole.port())), "{rule}");
    clinic.seen.push(("black hole", true));

    let variables = clinic.with(&[("PGHOSTADDR", ""), ("DB_TUNNEL", "no.such.name.invalid:5432")]);
    let report = clinic.doctor(&variables).await;
    let cause = report["causes"][0]["cause"].as_str().unwrap();
    // Without a network, a resolver cannot tell.
    assert!(["name-unknown", "resolver-silent"].contains(&cause), "{report:#}");
    let fill: &[(&str, &str)] = &[("tunnel", &tunnel)];
    let cause = if cause == "name-unknown" { "name-unknown" } else { "resolver-silent" };
    clinic.treat("no such name", cause, variables, fill, nothing).await;

    clinic.server.inject(Fault::Stall).await.unwrap();
    let variables = clinic.with(&[]);
    clinic.treat("accepts and says nothing", "server-silent", variables, &[], clear).await;
    clinic.server.inject(Fault::Reset).await.unwrap();
    let variables = clinic.with(&[]);
    clinic.treat("reset", "tls-closed", variables, &[], clear).await;

    let http = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.to_string();
    let mysql = answering(b"J\0\0\0\x0a8.0.36\0").await.to_string();
    let plain = answering(b"N").await.to_string();
    for (name, other) in [("HTTP", &http), ("MySQL", &mysql)] {
        let variables = clinic.with(&[("PGPORT", other)]);
        let fill: &[(&str, &str)] = &[("port, 5432", &port), ("PostgreSQL database, if", HOST)];
        clinic.treat(name, "other-server", variables, fill, nothing).await;
    }
    let variables = clinic.with(&[("PGPORT", &plain)]);
    let fill: &[(&str, &str)] = &[("address of the RDS", "127.0.0.1"), ("its port", &port)];
    clinic.treat("a server without TLS", "tls-not-offered", variables, fill, nothing).await;

    let (other, other_folder) = common::start(|options| options).await;
    let other_root = other.variables()["PGSSLROOTCERT"].clone();
    let root = clinic.healthy["PGSSLROOTCERT"].clone();
    let fill: &[(&str, &str)] = &[("PEM file", &root)];
    let variables = clinic.with(&[("PGSSLROOTCERT", &other_root)]);
    clinic.treat("another server's root", "root-missing", variables, fill, nothing).await;
    let variables = clinic.with(&[("PGSSLROOTCERT", "")]);
    clinic.treat("the region's roots alone", "root-missing", variables, fill, nothing).await;
    other.stop().await.unwrap();
    drop(other_folder);

    let variables = clinic.with(&[("PGHOST", "orders.db.example.com")]);
    clinic.treat("an alias", "certificate-name", variables, &[], nothing).await;
    let variables = clinic.with(&[("PGHOST", "127.0.0.1"), ("PGHOSTADDR", "")]);
    clinic.treat("an address", "certificate-name", variables, &[], nothing).await;
    let variables = clinic.with(&[("PGHOST", "localhost"), ("PGHOSTADDR", "")]);
    clinic
        .treat("a name that the certificate holds too", "token-host", variables, &[], nothing)
        .await;
    let variables = clinic.with(&[("PGHOST", "orders.db.example.com"), ("PGSSLMODE", "verify-ca")]);
    clinic.treat("an alias, its name unchecked", "token-host", variables, &[], nothing).await;
    let variables = clinic.with(&[
        ("PGHOST", "localhost"),
        ("PGHOSTADDR", ""),
        ("AWS_REGION", "eu-west-1"),
        ("AWS_DEFAULT_REGION", "eu-west-1"),
    ]);
    clinic.treat("another region", "token-region", variables, &[], nothing).await;
    println!("{} staged", clinic.close().await);
}

#[tokio::test]
async fn logins_grants_and_policies() {
    let mut clinic = Clinic::open(|options| options).await;
    let run = async |server: &Server, sql: &str| {
        let admin = server.database.superuser("postgres").await.unwrap();
        for statement in sql.split(';') {
            admin.batch_execute(statement).await.unwrap();
        }
    };
    let healthy = clinic.with(&[]);
    let grants = [
        ("rds_iam not granted", "not-granted", format!("REVOKE rds_iam FROM {USER}")),
        ("no LOGIN", "no-login", format!("ALTER ROLE {USER} NOLOGIN")),
        (
            "no CONNECT",
            "connect-denied",
            format!(
                "REVOKE CONNECT ON DATABASE {DATABASE} FROM PUBLIC; REVOKE CONNECT ON DATABASE {DATABASE} FROM {USER}"
            ),
        ),
        ("the user's limit", "connections-full", format!("ALTER ROLE {USER} CONNECTION LIMIT 0")),
        (
            "the database's limit",
            "connections-full",
            format!("ALTER DATABASE {DATABASE} CONNECTION LIMIT 0"),
        ),
        (
            "no connections allowed",
            "database-closed",
            format!("ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false"),
        ),
    ];
    for (name, cause, sql) in &grants {
        run(&clinic.server, sql).await;
        clinic.treat(name, cause, healthy.clone(), &[], nothing).await;
    }
    run(&clinic.server, &format!("GRANT CONNECT ON DATABASE {DATABASE} TO PUBLIC")).await;
    // A role that nobody created, whose policy is right.
    let allowed = [dbuser_arn("reporter"), dbuser_arn(USER)];
    let arn = "arn:aws:iam::123456789012:user/reporter";
    clinic.server.iam.add(Identity::with_key("AKIAREPORTERREPO", "s3", None, arn, &allowed));
    let reporter = [
        ("AWS_ACCESS_KEY_ID", "AKIAREPORTERREPO"),
        ("AWS_SECRET_ACCESS_KEY", "s3"),
        ("AWS_SESSION_TOKEN", ""),
    ];
    let variables = clinic.with(&[&reporter[..], &[("PGUSER", "reporter")]].concat());
    clinic.treat("no such role", "not-granted", variables, &[], nothing).await;
    let variables = clinic.with(&[("PGUSER", "IAM_RO_user")]);
    clinic.treat("capitals", "user-case", variables, &[], nothing).await;
    let variables = clinic.with(&[("PGDATABASE", "sampel_db")]);
    clinic.treat("database's name", "database-unknown", variables, &[], nothing).await;
    run(&clinic.server, "ALTER DATABASE sample_db SET default_transaction_read_only = on").await;
    let variables = clinic.with(&[("PGTARGETSESSIONATTRS", "read-write")]);
    clinic.treat("takes no writes", "read-only", variables, &[], nothing).await;

    // Policies: none, the instance's name in place of its id, another user's.
    let fill: &[(&str, &str)] = &[("db-…", rds_local::RESOURCE_ID)];
    for (name, resources) in [
        ("no policy", vec![]),
        (
            "the instance's name",
            vec![format!("arn:aws:rds-db:us-east-1:123456789012:dbuser:rds-local/{USER}")],
        ),
        ("another user", vec![dbuser_arn("iam_rw_user")]),
        ("another region's ARN", vec![dbuser_arn(USER).replace("us-east-1", "eu-west-1")]),
    ] {
        clinic.server.iam.add(Identity::with_key("AKIAREPORTERREPO", "s3", None, arn, &resources));
        let variables = clinic.with(&reporter);
        clinic.treat(name, "policy", variables, fill, nothing).await;
    }

    clinic.server.inject(Fault::ResetBeforeLogin).await.unwrap();
    clinic.treat("closed at the login", "login-closed", healthy.clone(), &[], clear).await;
    println!("{} staged", clinic.close().await);
}

/// A clock that is off by so many seconds.
#[derive(Clone, Debug, Default)]
struct Off(Arc<AtomicI64>);

impl TimeSource for Off {
    fn now(&self) -> SystemTime {
        let off = self.0.load(Ordering::Relaxed);
        let by = Duration::from_secs(off.unsigned_abs());
        let here = SharedTimeSource::default().now();
        if off > 0 { here + by } else { here - by }
    }
}

#[tokio::test]
async fn clocks() {
    for (name, off) in [("an hour behind", 3600), ("an hour ahead", -3600)] {
        let clock = Off::default();
        clock.0.store(off, Ordering::Relaxed);
        let shared = SharedTimeSource::new(clock.clone());
        let mut clinic = Clinic::open(|options| Options { clock: shared, ..options }).await;
        let variables = clinic.with(&[]);
        // This machine's clock cannot be set: the other one is.
        let set = async |_: &mut Server| clock.0.store(0, Ordering::Relaxed);
        clinic.treat(name, "clock", variables, &[], set).await;
        clinic.close().await;
    }
}
