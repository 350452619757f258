//! A private S3: [SeaweedFS](https://github.com/seaweedfs/seaweedfs), an object store with S3's multipart
//! uploads, checksums and conditions. It listens on the loopback interface only, takes any key, and is
//! removed when it stops.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use crate::lifeline::Removal;
use crate::process::SUPERVISOR;
use crate::{Result, ports};

const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPTS: usize = 3;
/// One request of its own, which may fetch a large object.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The bucket that exists from the start.
pub const BUCKET: &str = "exports";
/// The services of SeaweedFS, each with a port for HTTP and one for gRPC.
const SERVICES: [&str; 4] = ["master", "volume", "filer", "s3"];

/// A running S3, with one empty bucket. Dropping it stops it, a moment later.
#[derive(Debug)]
pub struct S3 {
    /// Where clients reach it.
    pub endpoint: String,
    port: u16,
    folder: PathBuf,
    _removal: Removal,
    supervisor: Child,
    lifeline: Option<ChildStdin>,
}

/// How a start went.
enum Start {
    Ready,
    Late,
    Ended,
}

impl S3 {
    /// Starts an empty S3 under `parent`, with the log in `parent/s3.log`.
    ///
    /// # Errors
    ///
    /// If SeaweedFS is not installed, or does not start within a minute.
    pub async fn start(parent: &Path) -> Result<Self> {
        let log = parent.join("s3.log");
        for _ in 0..ATTEMPTS {
            let mut s3 = Self::launch(parent)?;
            match s3.wait_until_ready().await {
                Start::Ready => return Ok(s3),
                Start::Late => {
                    let _ = s3.stop().await;
                    return Err(format!(
                        "SeaweedFS did not start within a minute; see {}",
                        log.display()
                    ));
                }
                // A port, or a socket of that number in /tmp, is another program's meanwhile.
                Start::Ended => {}
            }
        }
        Err(format!("SeaweedFS ended while it started; see {}", log.display()))
    }

    fn launch(parent: &Path) -> Result<Self> {
        let weed = find_program()?;
        let folder = parent.join("s3");
        let failed = |error| format!("cannot use {}: {error}", folder.display());
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).map_err(failed)?;
        let log = parent.join("s3.log");
        let log_file = std::fs::File::create(&log)
            .map_err(|error| format!("cannot create {}: {error}", log.display()))?;
        let ports = ports::free(SERVICES.len() * 2)?;
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SUPERVISOR, "rds-local-s3"])
            .arg(&folder)
            .arg(weed)
            .args(arguments(&folder, &ports))
            // Its configuration files and keys of the home folder are not for this one.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &folder)
            .current_dir(&folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log_file);
        let mut supervisor =
            command.spawn().map_err(|error| format!("cannot start SeaweedFS: {error}"))?;
        let port = ports[6];
        // It makes these whatever it is told.
        let sockets: Vec<PathBuf> = SERVICES
            .iter()
            .zip(ports.chunks(2))
            .filter_map(|(service, pair)| {
                Some(format!("/tmp/seaweedfs-{service}-grpc-{}.sock", pair.get(1)?).into())
            })
            .collect();
        Ok(Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            port,
            folder,
            _removal: Removal::of(&sockets)?,
            lifeline: supervisor.stdin.take(),
            supervisor,
        })
    }

    /// Until a bucket exists and takes an object.
    async fn wait_until_ready(&mut self) -> Start {
        let port = self.port;
        let ready = async {
            let probe = format!("/{BUCKET}/.ready");
            while request(port, "PUT", &format!("/{BUCKET}"))
                .await
                .is_none_or(|s| s != 200 && s != 409)
                || request(port, "PUT", &probe).await != Some(200)
                || request(port, "DELETE", &probe).await != Some(204)
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::select! {
            ready = timeout(START_TIMEOUT, ready) => match ready {
                Ok(()) => Start::Ready,
                Err(_) => Start::Late,
            },
            _ = self.supervisor.wait() => Start::Ended,
        }
    }

    /// An object of the bucket, if it is there.
    pub async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let answer = exchange(self.port, "GET", &format!("/{BUCKET}/{key}")).await?;
        (answer.status == 200).then_some(answer.body)
    }

    /// Removes an object of the bucket.
    pub async fn delete(&self, key: &str) {
        exchange(self.port, "DELETE", &format!("/{BUCKET}/{key}")).await;
    }

    /// The keys of all objects, in order.
    pub async fn keys(&self) -> Vec<String> {
        self.elements("?list-type=2", "Key").await
    }

    /// The ids of the multipart uploads that have not ended.
    pub async fn open_uploads(&self) -> Vec<String> {
        self.elements("?uploads", "UploadId").await
    }

    /// The texts of these elements in a list that S3 gives.
    async fn elements(&self, query: &str, name: &str) -> Vec<String> {
        let answer = exchange(self.port, "GET", &format!("/{BUCKET}{query}")).await;
        let text = answer.map(|answer| String::from_utf8_lossy(&answer.body).into_owned());
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let text = text.unwrap_or_default();
        text.split(&open)
            .skip(1)
            .filter_map(|rest| Some(rest.split_once(&close)?.0.into()))
            .collect()
    }

    /// Returns when it has ended.
    pub async fn ended(&mut self) {
        let _ = self.supervisor.wait().await;
    }

    /// Stops it and removes its folder.
    ///
    /// # Errors
    ///
    /// If it does not stop within ten seconds.
    pub async fn stop(mut self) -> Result<()> {
        self.lifeline = None;
        let stopped = timeout(STOP_TIMEOUT, self.supervisor.wait()).await;
        let _ = std::fs::remove_dir_all(&self.folder);
        stopped.map(|_| ()).map_err(|_| "SeaweedFS did not stop within 10 seconds".into())
    }
}

fn arguments(folder: &Path, ports: &[u16]) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut arguments = vec![
        "-logtostderr=true".into(),
        "server".into(),
        format!("-dir={}", folder.display()),
        "-ip=127.0.0.1".into(),
        "-ip.bind=127.0.0.1".into(),
        "-filer".into(),
        "-s3".into(),
        "-s3.iam=false".into(),
        "-s3.port.iceberg=0".into(),
        "-s3.port.lance=0".into(),
        // 50 volumes, which it creates as they fill.
        "-master.volumeSizeLimitMB=256".into(),
        "-volume.max=50".into(),
        format!("-filer.localSocket={}", path("filer.sock")),
        format!("-s3.localSocket={}", path("s3.sock")),
    ];
    for (service, pair) in SERVICES.iter().zip(ports.chunks(2)) {
        arguments.push(format!("-{service}.port={}", pair[0]));
        arguments.push(format!("-{service}.port.grpc={}", pair[1]));
    }
    arguments
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// The status of one request without a body; `None` if nothing answered.
async fn request(port: u16, method: &str, path: &str) -> Option<u16> {
    exchange(port, method, path).await.map(|answer| answer.status)
}

async fn exchange(port: u16, method: &str, path: &str) -> Option<Answer> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        // HTTP/1.0 knows no chunks.
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 0\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let status = std::str::from_utf8(answer.get(9..12)?).ok()?.parse().ok()?;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
        Some(Answer { status, body: answer.split_off(end + 4) })
    };
    timeout(EXCHANGE_TIMEOUT, exchange).await.ok().flatten()
}

/// `weed`, where local/setup.sh puts it, or on the PATH.
fn find_program() -> Result<PathBuf> {
    let this = std::env::current_exe().unwrap_or_default();
    let installed = this.ancestors().map(|folder| folder.join("venv-s3/bin/weed"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> =
        std::env::split_paths(&path).map(|folder| folder.join("weed")).collect();
    installed.chain(on_path).find(|program| program.is_file()).ok_or_else(|| {
        "cannot find SeaweedFS, which --s3 needs: run local/setup.sh --s3, or put its program weed on the PATH"
            .to_owned()
    })
}
