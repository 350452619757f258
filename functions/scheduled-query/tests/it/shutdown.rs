//! The end of a sandbox: after SIGTERM, the function closes its connection properly.

use crate::common;

use std::sync::Arc;
use std::time::Duration;

use common::{BINARY, event};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Mutex;
use tokio::time::timeout;

const BACKENDS: &str = "SELECT 1 FROM pg_stat_activity WHERE usename = 'iam_ro_user'";

#[tokio::test]
async fn the_connection_is_closed_by_terminate() {
    let world = common::start().await;
    let mut function = world.function().await;
    function.ok(event("customers.json")).await;
    assert_eq!(world.rows(BACKENDS).await.len(), 1);
    let log = function.stop().await;
    assert!(!log.iter().any(|line| line.contains("ERROR") || line.contains("panic")), "{log:#?}");
    let gate = world.folder().join("gate.log");
    let ended = async {
        while !std::fs::read_to_string(&gate).unwrap().contains("session ended: Terminate") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), ended).await.unwrap();
    world.stop().await;
}

/// A Runtime API without the Extensions API: hands out one event, and takes its response.
async fn serve(
    mut stream: TcpStream,
    events: Arc<Mutex<Option<Vec<u8>>>>,
    answer: Arc<Mutex<Vec<u8>>>,
) {
    let mut received = Vec::new();
    loop {
        let head_end = loop {
            if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8_lossy(&received[..head_end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        while received.len() < head_end + length {
            stream.read_buf(&mut received).await.unwrap();
        }
        let body = received[head_end..head_end + length].to_vec();
        received.drain(..head_end + length);
        let reply = if head.contains("/invocation/next") {
            let Some(event) = events.lock().await.take() else {
                return std::future::pending().await;
            };
            let mut reply = format!(
                "HTTP/1.1 200 OK\r\nlambda-runtime-aws-request-id: 1\r\nlambda-runtime-deadline-ms: 0\r\n\
                 lambda-runtime-invoked-function-arn: arn\r\ncontent-length: {}\r\n\r\n",
                event.len()
            )
            .into_bytes();
            reply.extend(event);
            reply
        } else if head.contains("/extension/") {
            b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec()
        } else {
            *answer.lock().await = body;
            b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_vec()
        };
        stream.write_all(&reply).await.unwrap();
    }
}

#[tokio::test]
async fn without_the_extensions_api_all_else_works() {
    let world = common::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = listener.local_addr().unwrap();
    let events = Arc::new(Mutex::new(Some(event("customers.json"))));
    let answer = Arc::new(Mutex::new(Vec::new()));
    let (handed, taken) = (events, answer.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, handed.clone(), taken.clone()));
        }
    });
    let mut child = Command::new(BINARY)
        .env_clear()
        .envs(&world.variables)
        .env("AWS_LAMBDA_RUNTIME_API", api.to_string())
        .env("AWS_LAMBDA_FUNCTION_NAME", "scheduled-query")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let answered = async {
        while answer.lock().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), answered).await.unwrap();
    let answer = String::from_utf8(answer.lock().await.clone()).unwrap();
    assert!(answer.contains("\"row_count\":3"), "{answer}");
    // Whoever sends SIGTERM all the same gets a clean end.
    let process = i32::try_from(child.id().unwrap()).unwrap();
    kill(Pid::from_raw(process), Signal::SIGTERM).unwrap();
    let status = timeout(Duration::from_secs(30), child.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    world.stop().await;
}
