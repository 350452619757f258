//! doctor on Neptune: the gate with its engines, and servers that answer otherwise.

use std::net::SocketAddr;

use aws_smithy_async::time::SharedTimeSource;
use rds_local::iam::Identity;
use rds_local::neptune::Cluster;
use rds_local::testing::ports::free_port;
use rds_local::{CLUSTER_RESOURCE_ID, NEPTUNE_HOST, Options};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::common;
use crate::common::front::certified;
use crate::common::staged::{Changes, Failure, Off, Staged};

const ARN: &str = "arn:aws:iam::123456789012:user/reporter";
const KEY: &str = "AKIAREPORTERREPO";
const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "s3"), ("AWS_SESSION_TOKEN", "")];

const PAGE: &str = "<html>s3cret</html>";

struct World {
    cluster: Cluster,
    staged: Staged,
    clock: Off,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options::new(folder.path());
        let off = Off::default();
        let clock = SharedTimeSource::new(off.clone());
        let options = Options { resource_id: CLUSTER_RESOURCE_ID.into(), clock, ..options };
        let cluster = Cluster::start(options).await.unwrap();
        let mut variables = cluster.variables();
        // The proxy for other people's clients, which AWS's SDK would use too.
        for name in ["HTTPS_PROXY", "AWS_CA_BUNDLE"] {
            variables.remove(name);
        }
        Self { cluster, staged: Staged::new(variables), clock: off, _folder: folder }
    }

    async fn variables(
        &mut self,
        name: &str,
        cause: &str,
        changes: Changes<'_>,
        fill: Changes<'_>,
    ) {
        let failure = self.staged.fails(name, cause, changes).await;
        self.staged.repairs(failure, fill).await;
    }

    /// Gives the reporter these policies.
    fn reporter(&self, policies: &[&str]) {
        self.cluster.iam.add(Identity::with_policies(KEY, "s3", ARN, policies).unwrap());
    }

    /// Gives the reporter the policy of a remedy beside another, and finds that it works.
    async fn attach(&mut self, failure: Failure, beside: &[&str]) {
        let remedies = failure.first["remedies"].as_array().unwrap().iter();
        let policy = remedies.filter_map(|remedy| remedy["document"].as_str()).next().unwrap();
        let policy = policy.replace("<cluster-…>", CLUSTER_RESOURCE_ID);
        self.reporter(&[beside, &[policy.as_str()]].concat());
        self.staged.repairs(failure, &[]).await;
    }
}

fn allow(actions: &[&str], id: &str, language: Option<&str>) -> String {
    let mut statement = json!({ "Effect": "Allow", "Action": actions,
        "Resource": format!("arn:aws:neptune-db:us-east-1:123456789012:{id}/*") });
    if let Some(language) = language {
        statement["Condition"] =
            json!({ "StringEquals": { "neptune-db:QueryLanguage": language } });
    }
    json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()
}

#[tokio::test]
async fn causes_have_their_own_remedies() {
    let mut world = World::start().await;
    let report = world.staged.report(&world.staged.healthy.clone()).await;
    assert_eq!((&report["ok"], &report["engine"]), (&true.into(), &"neptune".into()), "{report:#}");
    assert_eq!(report["causes"].as_array().unwrap().len(), 0, "{report:#}");
    let status = common::aws::step(&report, "status");
    assert!(status.starts_with("healthy, writer, engine 1."), "{status}");
    settings_and_keys(&mut world).await;
    names_and_ports(&mut world).await;
    policies(&mut world).await;
    for (name, off) in [("ten minutes behind", 600), ("ten minutes ahead", -600)] {
        world.clock.set(off);
        let failure = world.staged.fails(name, "clock", &[]).await;
        world.clock.set(0);
        world.staged.repairs(failure, &[]).await;
    }
    other_servers(&mut world).await;
    failing_clusters(&mut world).await;
    let (own, all) = world.staged.close();
    assert!(own >= 15 && all >= 25, "{own} of {all} causes");
    world.cluster.stop().await.unwrap();
}

async fn settings_and_keys(world: &mut World) {
    let failure = world.staged.fails("no host", "configuration", &[("NEPTUNE_HOST", "")]).await;
    assert!(!failure.first.to_string().contains("PG"), "{:#}", failure.first);
    world.staged.repairs(failure, &[("database's endpoint", NEPTUNE_HOST)]).await;
    // What jq prints without -r.
    let secret = world.staged.healthy["AWS_SECRET_ACCESS_KEY"].clone();
    let quoted = format!("\"{secret}\"");
    let quoted = [("AWS_SECRET_ACCESS_KEY", quoted.as_str())];
    world.variables("jq without -r", "keys-pasted", &quoted, &[]).await;
    let session = world.staged.healthy["AWS_SESSION_TOKEN"].clone();
    let fill = [("issued with the key", session.as_str())];
    world.variables("no session", "keys-incomplete", &[("AWS_SESSION_TOKEN", "")], &fill).await;
    let all = allow(&["neptune-db:*"], CLUSTER_RESOURCE_ID, None);
    let failure = world.staged.fails("unknown key", "keys-unknown", &KEYS).await;
    world.reporter(&[&all]);
    world.staged.repairs(failure, &[]).await;
    let identity = Identity::with_policies(KEY, "another", ARN, &[&all]).unwrap();
    world.cluster.iam.add(identity);
    let failure = world.staged.fails("wrong secret", "secret-wrong", &KEYS).await;
    world.reporter(&[&all]);
    world.staged.repairs(failure, &[]).await;
    let failure = world
        .staged
        .fails("bad session", "keys-unknown", &[("AWS_SESSION_TOKEN", "another")])
        .await;
    let mut repaired = failure;
    repaired.variables.insert("AWS_SESSION_TOKEN".into(), session);
    world.staged.repairs(repaired, &[]).await;
}

async fn names_and_ports(world: &mut World) {
    let gate = world.cluster.address.to_string();
    let rds = "orders.cluster-c0ffee000000.us-east-1.rds.amazonaws.com";
    let fill = [("one of them", NEPTUNE_HOST)];
    world.variables("RDS", "neptune-not-a-cluster", &[("NEPTUNE_HOST", rds)], &fill).await;
    let alias = [("NEPTUNE_HOST", "graph.example.com")];
    world.variables("an alias", "certificate-name", &alias, &[]).await;
    let localhost = [("NEPTUNE_HOST", "localhost")];
    world.variables("localhost", "neptune-alias", &localhost, &[]).await;
    let region = [("AWS_REGION", "eu-west-1"), ("NEPTUNE_HOST", "localhost")];
    world.variables("region", "neptune-region", &region, &[]).await;
    let port = world.cluster.address.port().to_string();
    let changes = [("NEPTUNE_PORT", port.as_str())];
    world.variables("the tunnel's port", "neptune-port", &changes, &[]).await;

    let closed = format!("127.0.0.1:{}", free_port());
    let fill = [("does listen", gate.as_str())];
    world.variables("no tunnel", "port-refused", &[("DB_TUNNEL", &closed)], &fill).await;
    let root = world.staged.healthy["NEPTUNE_SSLROOTCERT"].clone();
    let changes = [("NEPTUNE_SSLROOTCERT", "")];
    world.variables("Amazon's roots", "root-missing", &changes, &[("PEM file", &root)]).await;
}

async fn policies(world: &mut World) {
    let (status, read) = ("neptune-db:GetEngineStatus", "neptune-db:ReadDataViaQuery");
    let id = CLUSTER_RESOURCE_ID;
    for (name, policy) in [
        ("connect alone", allow(&["neptune-db:connect"], id, None)),
        ("another cluster's id", allow(&["neptune-db:*"], "cluster-ANOTHER", None)),
    ] {
        world.reporter(&[&policy]);
        let failure = world.staged.fails(name, "neptune-policy", &KEYS).await;
        world.attach(failure, &[&policy]).await;
    }
    let status_only = allow(&[status], id, None);
    world.reporter(&[&status_only]);
    let failure = world.staged.fails("status alone", "neptune-policy-queries", &KEYS).await;
    world.attach(failure, &[&status_only]).await;
    for (language, cause) in
        [("Sparql", "neptune-policy-opencypher"), ("OpenCypher", "neptune-policy-sparql")]
    {
        let policy = allow(&[read], id, Some(language));
        let beside = [status_only.as_str(), &policy];
        world.reporter(&beside);
        let failure = world.staged.warns(language, cause, &KEYS).await;
        world.attach(failure, &beside).await;
    }
    let queries = allow(&[read], id, None);
    world.reporter(&[&queries]);
    let failure = world.staged.warns("no status", "neptune-policy-status", &KEYS).await;
    world.attach(failure, &[&queries]).await;
}

async fn other_servers(world: &mut World) {
    let gate = world.cluster.address.to_string();
    let tunnel = [("tunnel", gate.as_str())];
    let http = common::saying(b"HTTP/1.1 400 Bad Request\r\n\r\n", b"").await;
    let mysql = common::serving(|mut stream| async move {
        let _ = stream.write_all(b"J\0\0\0\x0a8.0.36\0").await;
        let _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let (postgres, _folder) = common::start(|options| options).await;
    let postgres_port = postgres.address.port().to_string();
    for (name, port, cause) in [
        ("HTTP", &http, "neptune-http"),
        ("MySQL", &mysql, "neptune-other-engine"),
        ("PostgreSQL", &postgres_port, "neptune-other-engine"),
    ] {
        let address = format!("127.0.0.1:{port}");
        let failure = world.staged.fails(name, cause, &[("DB_TUNNEL", &address)]).await;
        let mut repaired = failure;
        repaired.variables.insert("DB_TUNNEL".into(), gate.clone());
        world.staged.repairs(repaired, &tunnel).await;
    }
    postgres.stop().await.unwrap();
}

/// Answers over TLS as a cluster does that is ill, or as something else.
/// A status, a body, and whether a request without a signature gets it too.
type Answer = (&'static str, &'static str, bool);

struct Front {
    address: SocketAddr,
    root_pem: String,
    /// The answer to every request; no answer without one.
    answer: watch::Sender<Option<Answer>>,
}

impl Front {
    async fn start() -> Self {
        let (root_pem, acceptor) = certified(NEPTUNE_HOST);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = watch::Sender::new(None);
        let current = answer.subscribe();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer) = (acceptor.clone(), *current.borrow());
                tokio::spawn(Self::serve(stream, acceptor, answer));
            }
        });
        Self { address, root_pem, answer }
    }

    async fn serve(
        stream: TcpStream,
        acceptor: TlsAcceptor,
        answer: Option<Answer>,
    ) -> std::io::Result<()> {
        let mut stream = acceptor.accept(stream).await?;
        let mut request = [0; 16_384];
        loop {
            let length = stream.read(&mut request).await?;
            if length == 0 {
                return Ok(());
            }
            let head = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
            let Some((status, body, open)) = answer else { continue };
            let denied = !open && !head.contains("authorization: aws4");
            let (status, body) = if denied { ("403 Forbidden", "") } else { (status, body) };
            let length = body.len();
            let text = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).await?;
            stream.flush().await?;
        }
    }
}

async fn failing_clusters(world: &mut World) {
    let front = Front::start().await;
    let root = std::fs::read_to_string(&world.staged.healthy["NEPTUNE_SSLROOTCERT"]).unwrap();
    let roots = root + &front.root_pem;
    let address = front.address.to_string();
    let gate = world.cluster.address.to_string();
    let changes = [("DB_TUNNEL", address.as_str()), ("NEPTUNE_SSLROOTCERT", roots.as_str())];
    let healthy = r#"{"status":"healthy","role":"writer","dbEngineVersion":"1.4.6.0.R1"}"#;
    let recovering = r#"{"status":"recovery","role":"writer","dbEngineVersion":"1.4.6.0.R1"}"#;
    let reader = r#"{"status":"healthy","role":"reader","dbEngineVersion":"1.4.6.0.R1"}"#;
    let refused = r#"{"code":"AccessDeniedException","detailedMessage":"s3cret"}"#;
    let busy = r#"{"code":"ThrottlingException","detailedMessage":"s3cret"}"#;
    let broken = r#"{"code":"InternalFailureException","detailedMessage":"s3cret"}"#;
    for (name, cause, works, answer) in [
        (
            "a proxy that changes requests",
            "neptune-signature",
            false,
            Some(("403 F", refused, false)),
        ),
        ("busy", "neptune-throttled", false, Some(("429 T", busy, false))),
        ("ill", "neptune-failing", false, Some(("500 I", broken, false))),
        ("a gateway", "neptune-gateway", false, Some(("503 S", PAGE, false))),
        ("another server", "neptune-not-neptune", false, Some(("404 N", PAGE, false))),
        ("silent", "neptune-slow", false, None),
        ("recovering", "neptune-failing", true, Some(("200 OK", recovering, false))),
        ("open to all", "neptune-iam-off", true, Some(("200 OK", healthy, true))),
        ("a reader", "neptune-reader", true, Some(("200 OK", reader, false))),
    ] {
        front.answer.send_replace(answer);
        let failure = match works {
            true => world.staged.warns(name, cause, &changes).await,
            false => world.staged.fails(name, cause, &changes).await,
        };
        assert!(!failure.first.to_string().contains("s3cret"), "{:#}", failure.first);
        let mut repaired = failure;
        repaired.variables.insert("DB_TUNNEL".into(), gate.clone());
        let fill = [("cluster itself", gate.as_str()), ("cluster's endpoint", NEPTUNE_HOST)];
        world.staged.repairs(repaired, &fill).await;
    }
}
