//! The real engines behind the gate: ArcadeDB for openCypher and Oxigraph for SPARQL, each a private
//! process on a port of the loopback interface.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Request, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use crate::iam::random;
use crate::{Result, environment, ports};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// ArcadeDB's database, which it creates at the start.
const DATABASE: &str = "graph";

/// Runs the engine until it ends or standard input closes, which happens when this process ends in any
/// way, `kill -9` included. Its data is thrown away, so nothing is lost by killing it.
const SUPERVISOR: &str = r#"
exec 3<&0
engine=
trap '[ -z "$engine" ] || kill -KILL $engine 2>/dev/null' TERM
(cat <&3 >/dev/null; kill -TERM $$ 2>/dev/null) &
"$@" </dev/null 3<&- &
engine=$!
while kill -0 $engine 2>/dev/null; do wait $engine; done
"#;

/// The running engines.
#[derive(Debug)]
pub(super) struct Engines {
    pub(super) client: Client,
    cypher: Process,
    sparql: Process,
    folder: PathBuf,
}

/// Where the engines answer, and what ArcadeDB asks for.
#[derive(Clone)]
pub(super) struct Client {
    cypher: SocketAddr,
    sparql: SocketAddr,
    authorization: String,
}

/// Shows no password.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("cypher", &self.cypher).finish_non_exhaustive()
    }
}

/// One engine's process.
#[derive(Debug)]
struct Process {
    supervisor: Child,
    lifeline: Option<ChildStdin>,
}

/// An engine's answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: String,
    pub(super) body: Bytes,
}

impl Engines {
    /// Starts both under `parent`, with their logs in `parent/arcadedb.log` and `parent/oxigraph.log`.
    pub(super) async fn start(parent: &Path) -> Result<Self> {
        let installed = Installed::find()?;
        let folder = parent.join("graph");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|error| cannot("create", &folder, &error))?;
        let password = random(32);
        let ports = ports::free(2)?;
        let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (cypher_at, sparql_at) = (at(ports[0]), at(ports[1]));
        let arcadedb = installed.arcadedb(&folder, &password, cypher_at)?;
        let authorization = format!("Basic {}", STANDARD.encode(format!("root:{password}")));
        let engines = Self {
            client: Client { cypher: cypher_at, sparql: sparql_at, authorization },
            cypher: start(parent, "arcadedb", arcadedb)?,
            sparql: start(parent, "oxigraph", installed.oxigraph(sparql_at))?,
            folder,
        };
        match timeout(START_TIMEOUT, engines.client.ready()).await {
            Ok(()) => Ok(engines),
            Err(_) => {
                let _ = engines.stop().await;
                Err(format!(
                    "the graph engines did not start within a minute; see arcadedb.log and oxigraph.log in {}",
                    parent.display()
                ))
            }
        }
    }

    /// Kills ArcadeDB, for tests.
    pub(super) async fn kill(&mut self) {
        self.cypher.lifeline = None;
        let _ = self.cypher.supervisor.wait().await;
    }

    /// Returns when one of them has ended.
    pub(super) async fn ended(&mut self) -> &'static str {
        tokio::select! {
            _ = self.cypher.supervisor.wait() => "ArcadeDB",
            _ = self.sparql.supervisor.wait() => "Oxigraph",
        }
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        for process in [&mut self.cypher, &mut self.sparql] {
            process.lifeline = None;
            timeout(STOP_TIMEOUT, process.supervisor.wait())
                .await
                .map_err(|_| "a graph engine did not stop within 20 seconds")?
                .map_err(|error| error.to_string())?;
        }
        std::fs::remove_dir_all(&self.folder)
            .map_err(|error| cannot("remove", &self.folder, &error))
    }
}

impl Client {
    async fn ready(&self) {
        let body =
            || serde_json::json!({ "language": "opencypher", "command": "RETURN 1" }).to_string();
        while self.cypher(true, body()).await.is_none_or(|answer| answer.status != StatusCode::OK) {
            sleep(Duration::from_millis(50)).await;
        }
        while self.sparql("query", "application/json", "ASK {}").await.is_none() {
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Has ArcadeDB run a statement; one that may only read is refused there if it writes. `None` when
    /// the engine does not answer. Dropping the future stops the statement.
    pub(super) async fn cypher(&self, reads: bool, body: String) -> Option<Answer> {
        let path = if reads { "query" } else { "command" };
        let request = Request::post(format!("/api/v1/{path}/{DATABASE}"))
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json");
        send(self.cypher, request.body(Full::from(body)).ok()?).await
    }

    /// Has Oxigraph run a query (`query`) or an update (`update`).
    pub(super) async fn sparql(&self, kind: &str, accept: &str, text: &str) -> Option<Answer> {
        let request = Request::post(format!("/{kind}"))
            .header(header::CONTENT_TYPE, format!("application/sparql-{kind}"))
            .header(header::ACCEPT, accept);
        send(self.sparql, request.body(Full::from(text.to_owned())).ok()?).await
    }
}

/// The engines' programs, from the Python packages `arcadedb-embedded` and `oxigraph`.
struct Installed {
    arcadedb: PathBuf,
    oxigraph: PathBuf,
}

impl Installed {
    /// Looks beside this program: in its own virtual environment, and in target/venv-graph.
    fn find() -> Result<Self> {
        let program = std::env::current_exe().unwrap_or_default();
        let here = std::env::current_dir().unwrap_or_default().join("target");
        let beside = program.ancestors().skip(1).take(4).chain([here.as_path()]);
        for folder in beside.flat_map(|folder| [folder.to_owned(), folder.join("venv-graph")]) {
            let Ok(libraries) = std::fs::read_dir(folder.join("lib")) else { continue };
            for library in libraries.flatten() {
                let arcadedb = library.path().join("site-packages/arcadedb_embedded");
                let oxigraph = folder.join("bin/oxigraph");
                if arcadedb.is_dir() && oxigraph.is_file() {
                    return Ok(Self { arcadedb, oxigraph });
                }
            }
        }
        Err("the graph engines are missing: run local/setup.sh --graph, or install the Python packages \
             arcadedb-embedded and oxigraph beside rds-local"
            .into())
    }

    fn arcadedb(&self, folder: &Path, password: &str, at: SocketAddr) -> Result<Command> {
        let set = |name: &str, value: &str| format!("-Darcadedb.{name}={value}\n");
        let arguments = [
            set("server.rootPassword", password),
            set("server.rootPath", &quote(folder)),
            set("server.databaseDirectory", &quote(&folder.join("databases"))),
            set("server.httpIncomingHost", &at.ip().to_string()),
            set("server.httpIncomingPort", &at.port().to_string()),
            set("server.defaultDatabases", &format!("{DATABASE}[]")),
        ];
        // Not on the command line, which every user of the machine can read.
        let file = folder.join("java-arguments");
        environment::write_private(&file, arguments.concat())?;
        let mut command = supervised(&self.arcadedb.join("jre/bin/java"));
        command
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"])
            .args(["-Djava.awt.headless=true", "--add-modules", "jdk.incubator.vector"])
            .arg("-cp")
            .arg(self.arcadedb.join("jars/*"))
            .arg(format!("@{}", file.display()))
            .arg("com.arcadedb.server.ArcadeDBServer")
            .current_dir(folder);
        Ok(command)
    }

    fn oxigraph(&self, at: SocketAddr) -> Command {
        let mut command = supervised(&self.oxigraph);
        // Without a location its data stays in memory.
        command.args(["serve", "--bind", &at.to_string()]);
        command
    }
}

/// A path in a file of Java's arguments.
fn quote(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

fn supervised(program: &Path) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SUPERVISOR, "rds-local-graph"]).arg(program);
    // Its own process group: Ctrl-C reaches this process, which then stops the engine in order.
    command.process_group(0).env_clear().env("PATH", "/usr/bin:/bin").env("LANG", "C.UTF-8");
    command
}

fn start(parent: &Path, name: &str, mut command: Command) -> Result<Process> {
    let path = parent.join(format!("{name}.log"));
    let log = std::fs::File::create(&path).map_err(|error| cannot("create", &path, &error))?;
    let too = log.try_clone().map_err(|error| cannot("create", &path, &error))?;
    let mut supervisor = command
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(too)
        .spawn()
        .map_err(|error| format!("cannot start {name}: {error}"))?;
    let lifeline = supervisor.stdin.take();
    Ok(Process { supervisor, lifeline })
}

/// One request on a connection of its own, so that dropping the future closes it.
async fn send(address: SocketAddr, mut request: Request<Full<Bytes>>) -> Option<Answer> {
    let host = address.to_string().parse().ok()?;
    request.headers_mut().insert(header::HOST, host);
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let exchange = async {
        let response = sender.send_request(request).await.ok()?;
        let (parts, body) = response.into_parts();
        let content_type = parts.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        Some(Answer {
            status: parts.status,
            content_type: content_type.to_owned(),
            body: body.collect().await.ok()?.to_bytes(),
        })
    };
    tokio::select! {
        biased;
        answer = exchange => answer,
        Err(_) = connection => None,
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
