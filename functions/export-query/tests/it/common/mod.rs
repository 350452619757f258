//! A proxy in front of S3 that injects one fault into chosen requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection is reset before the request arrives.
    ResetBefore,
    /// It is reset in the middle of the request's body.
    ResetMidway,
    /// S3 carries the request out, and the answer is lost.
    LoseAnswer,
    /// S3 carries the request out, and the connection ends in the middle of the answer.
    CutAnswer,
    /// 503 SlowDown, and nothing is carried out.
    SlowDown,
    /// 500 InternalError, and nothing is carried out.
    InternalError,
    /// 200 with an error in its body, as CompleteMultipartUpload may answer.
    ErrorIn200,
    /// 507: S3 is full.
    Full,
    /// 403 AccessDenied.
    Denied,
    /// 400 ThrottlingException, of KMS.
    Throttled,
    /// 301 PermanentRedirect, to another region.
    Elsewhere,
    /// Another ETag than S3's own.
    OtherTag,
    /// The answer comes late.
    Slow,
    /// No answer comes.
    Silence,
}

/// Which requests a fault meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) operation: &'static str,
    /// From this one of the operation's requests on, counted from 0.
    pub(crate) from: usize,
    /// This many of them.
    pub(crate) times: usize,
    pub(crate) fault: Fault,
}

#[derive(Default)]
struct State {
    plan: Option<Plan>,
    seen: usize,
    operations: Vec<&'static str>,
    aborts_fail: bool,
}

pub(crate) struct FaultyS3 {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
    /// Woken by each operation.
    asked: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for FaultyS3 {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FaultyS3 {
    pub(crate) async fn start(s3: &str) -> Self {
        let upstream = s3.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let asked = Arc::new(Notify::new());
        let shared = (state.clone(), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (upstream, (state, asked)) = (upstream.clone(), shared.clone());
                // Ends with its connection.
                tokio::spawn(async move { relay(client, &upstream, &state, &asked).await });
            }
        });
        Self { endpoint, state, asked, task }
    }

    /// Injects this from now on.
    pub(crate) fn plan(&self, plan: Option<Plan>) {
        let mut state = self.state.lock().unwrap();
        *state = State { plan, aborts_fail: state.aborts_fail, ..State::default() };
    }

    /// From now on, S3 refuses every abort.
    pub(crate) fn fail_aborts(&self) {
        self.state.lock().unwrap().aborts_fail = true;
    }

    /// Waits until this operation was asked for so many times since the last plan.
    pub(crate) async fn met(&self, operation: &str, times: usize) {
        while self.operations().iter().filter(|seen| **seen == operation).count() < times {
            // One that comes before this keeps its word.
            self.asked.notified().await;
        }
    }

    /// The operations that were asked for since the last plan.
    pub(crate) fn operations(&self) -> Vec<&'static str> {
        self.state.lock().unwrap().operations.clone()
    }
}

fn operation(head: &str) -> &'static str {
    let line = head.lines().next().unwrap_or_default();
    match line.split(' ').next() {
        Some("POST") if line.contains("uploads") => "create",
        Some("POST") => "complete",
        Some("PUT") if line.contains("partNumber=") => "part",
        Some("PUT") => "put",
        Some("DELETE") => "abort",
        _ => "other",
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let matches =
        |line: &&str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
    head.lines().find(matches)?.split_once(':').map(|(_, value)| value.trim())
}

/// Closes with a reset, as a crashed host or a firewall does.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// One request a connection: the answer says that it closes.
async fn relay(
    mut client: TcpStream,
    upstream: &str,
    state: &Mutex<State>,
    asked: &Notify,
) -> Option<()> {
    let mut bytes = Vec::new();
    let end = loop {
        let read = client.read_buf(&mut bytes).await.ok()?;
        if read == 0 {
            return None;
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let operation = operation(&head);
    let fault = {
        let mut state = state.lock().unwrap();
        state.operations.push(operation);
        asked.notify_one();
        let plan = state.plan.filter(|plan| plan.operation == operation);
        let nth = state.seen;
        state.seen += usize::from(plan.is_some());
        let planned = plan.filter(|plan| (plan.from..plan.from + plan.times).contains(&nth));
        let refused = state.aborts_fail && operation == "abort";
        if refused { Some(Fault::Denied) } else { planned.map(|plan| plan.fault) }
    };
    let length: usize = header(&head, "content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    if fault == Some(Fault::ResetBefore) {
        reset(client);
        return None;
    }
    if header(&head, "expect").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
    }
    let wanted = if fault == Some(Fault::ResetMidway) { length / 2 } else { length };
    while bytes.len() - end < wanted {
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    match fault {
        Some(Fault::ResetMidway) => reset(client),
        Some(Fault::Silence) => sleep(Duration::from_secs(600)).await,
        Some(Fault::SlowDown) => refuse(client, 503, "SlowDown").await,
        Some(Fault::InternalError) => refuse(client, 500, "InternalError").await,
        Some(Fault::ErrorIn200) => refuse(client, 200, "InternalError").await,
        Some(Fault::Full) => refuse(client, 507, "InsufficientStorage").await,
        Some(Fault::Denied) => refuse(client, 403, "AccessDenied").await,
        Some(Fault::Throttled) => refuse(client, 400, "ThrottlingException").await,
        Some(Fault::Elsewhere) => refuse(client, 301, "PermanentRedirect").await,
        fault => pass_on(client, upstream, &bytes, end, fault).await?,
    }
    Some(())
}

async fn refuse(mut client: TcpStream, status: u16, code: &str) {
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>s3cret</Message></Error>"
    );
    let region = if status == 301 { "x-amz-bucket-region: eu-west-1\r\n" } else { "" };
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/xml\r\n{region}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let _ = client.write_all(answer.as_bytes()).await;
    let _ = client.shutdown().await;
}

async fn pass_on(
    mut client: TcpStream,
    upstream: &str,
    request: &[u8],
    end: usize,
    fault: Option<Fault>,
) -> Option<()> {
    let mut server = TcpStream::connect(upstream).await.ok()?;
    // Before the empty line: S3 closes when it has answered.
    server.write_all(&request[..end - 2]).await.ok()?;
    server.write_all(b"Connection: close\r\n\r\n").await.ok()?;
    server.write_all(&request[end..]).await.ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.ok()?;
    match fault {
        Some(Fault::LoseAnswer) => {
            reset(client);
            return None;
        }
        Some(Fault::CutAnswer) => answer.truncate(answer.len() / 2),
        Some(Fault::Slow) => sleep(Duration::from_millis(700)).await,
        Some(Fault::OtherTag) => other_tag(&mut answer),
        _ => {}
    }
    client.write_all(&answer).await.ok()?;
    client.shutdown().await.ok()
}

fn other_tag(answer: &mut [u8]) {
    let lower = answer.to_ascii_lowercase();
    if let Some(at) = lower.windows(7).position(|window| window == b"etag: \"") {
        answer[at + 7..at + 15].copy_from_slice(b"00000000");
    }
}
