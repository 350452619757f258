//! Every server answers a client that is still sending: it takes what arrives, within bounds, before it
//! closes. A server that closes at once makes the kernel send a reset, and the client has a broken pipe
//! instead of the answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use rds_local::runtime_api::{Outcome, RuntimeApi};
use rds_local::{NEPTUNE_HOST, Options};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::common;
use crate::common::cluster;

const TIMES: usize = 10;

/// Sends a request to its end, as a client does that reads only then, and reads the answer. The body has
/// this many bytes, is announced or comes in chunks.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    head: &str,
    length: usize,
    is_chunked: bool,
) -> String {
    let framing = match is_chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {length}"),
    };
    let exchange = async {
        let head = format!("{head}\r\nHost: example.com\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let chunk = vec![b'x'; 64 * 1024];
        let mut left = length;
        while left > 0 {
            let part = &chunk[..left.min(chunk.len())];
            left -= part.len();
            if is_chunked {
                stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await.unwrap();
            }
            stream.write_all(part).await.unwrap();
            if is_chunked {
                stream.write_all(b"\r\n").await.unwrap();
            }
        }
        if is_chunked {
            stream.write_all(b"0\r\n\r\n").await.unwrap();
        }
        stream.flush().await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..length]).into_owned()
    };
    timeout(Duration::from_secs(60), exchange).await.unwrap()
}

/// The status of such a request without TLS.
async fn status(address: SocketAddr, head: &str, length: usize, is_chunked: bool) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let answer = exchange(&mut stream, head, length, is_chunked).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn address(url: &str) -> SocketAddr {
    url.trim_start_matches("http://").parse().unwrap()
}

#[tokio::test]
async fn the_apis_do() {
    let (server, _folder) = common::start(|options| options).await;
    let sts = address(&server.variables()["AWS_ENDPOINT_URL_STS"]);
    for number in 0..TIMES {
        for length in [200_000, 20_000_000] {
            let told = status(sts, "POST / HTTP/1.1", length, number % 2 == 0).await;
            assert_eq!(told, "413", "{length}");
        }
    }
    server.stop().await.unwrap();
}

/// Time is driven by hand here: it passes as soon as nobody has anything to do.
#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let (server, _folder) = common::start(|options| options).await;
    let sts = address(&server.variables()["AWS_ENDPOINT_URL_STS"]);
    let silent = TcpStream::connect(sts).await.unwrap();
    let mut stopped = TcpStream::connect(sts).await.unwrap();
    stopped.write_all(b"POST / HTTP/1.1\r\nHost: example.com\r\nContent-").await.unwrap();
    let mut idle = TcpStream::connect(sts).await.unwrap();
    let answer = exchange(&mut idle, "POST / HTTP/1.1", 0, false).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("MissingAction"), "{answer}");
    tokio::time::pause();
    for (mut stream, what) in [(silent, "silent"), (stopped, "stopped"), (idle, "idle")] {
        let mut rest = Vec::new();
        let closed = timeout(Duration::from_secs(3600), stream.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "{what}");
    }
    tokio::time::resume();
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_runtime_api_does_and_the_invocation_fails() {
    let api = Arc::new(RuntimeApi::start("test").await.unwrap());
    for number in 0..TIMES {
        let invoked = tokio::spawn({
            let api = api.clone();
            async move { api.invoke("id", Bytes::new(), Duration::from_secs(60)).await }
        });
        let next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1";
        assert_eq!(status(api.address, next, 0, false).await, "200");
        let kind = if number % 3 == 0 { "error" } else { "response" };
        let head = format!("POST /2018-06-01/runtime/invocation/id/{kind} HTTP/1.1");
        assert_eq!(status(api.address, &head, 20_000_000, number % 2 == 0).await, "413");
        let outcome: Outcome = invoked.await.unwrap().unwrap();
        assert_eq!(outcome.error().unwrap().error_type, "Function.ResponseSizeTooLarge");
        for (head, expected) in [
            ("POST /elsewhere HTTP/1.1", "404"),
            ("PUT /2018-06-01/runtime/invocation/next HTTP/1.1", "405"),
            ("POST /2020-01-01/extension/register HTTP/1.1", "200"),
        ] {
            assert_eq!(status(api.address, head, 20_000_000, false).await, expected, "{head}");
        }
    }
}

#[tokio::test]
async fn neptune_does_inside_tls_and_before_it() {
    let (cluster, _folder) = cluster::start(|options: Options| options).await;
    let mut roots = rustls::RootCertStore::empty();
    let root = &cluster.variables()["NEPTUNE_SSLROOTCERT"];
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let tls = TlsConnector::from(Arc::new(config));
    for number in 0..TIMES {
        let stream = TcpStream::connect(cluster.address).await.unwrap();
        let name = ServerName::try_from(NEPTUNE_HOST).unwrap();
        let mut stream = tls.connect(name, stream).await.unwrap();
        // Nobody has signed it.
        let head = "POST /openCypher HTTP/1.1";
        let answer = exchange(&mut stream, head, 20_000_000, number % 2 == 0).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let told = status(cluster.address, "POST /openCypher HTTP/1.1", 20_000_000, false).await;
        assert_eq!(told, "403");
    }
    // A head that never ends.
    let head = format!("GET / HTTP/1.1\r\nA: {}", "a".repeat(1_000_000));
    assert_eq!(status(cluster.address, &head, 0, false).await, "431");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_mysql_gate_does() {
    let (server, _folder) = common::start_mysql(|options| options).await;
    for _ in 0..TIMES {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let mut greeting = [0; 4];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.read_exact(&mut vec![0; usize::from(greeting[0])]).await.unwrap();
        // A login without TLS, of a client with protocol 4.1 and plugins, and then more.
        let mut login = ((1_u32 << 9) | (1 << 15) | (1 << 19)).to_le_bytes().to_vec();
        login.extend_from_slice(&[0; 28]);
        login.extend_from_slice(b"iam_ro_user\0\0mysql_clear_password\0");
        let header = [u8::try_from(login.len()).unwrap(), 0, 0, 1];
        stream
            .write_all(&[&header, login.as_slice(), &vec![0; 20_000_000]].concat())
            .await
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let text = common::text(&answer);
        assert!(text.contains("Access denied for user 'iam_ro_user'"), "{text}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn curl_need_not_send_what_is_refused() {
    let (server, folder) = common::start(|options| options).await;
    // It asks with Expect: 100-continue, and sends nothing if the answer comes first.
    let script = "head -c 20000000 /dev/zero > $RDS_LOCAL_DIR/body
        curl -sS -H 'Expect: 100-continue' --expect100-timeout 20 --data-binary @$RDS_LOCAL_DIR/body \
            -o /dev/null -w '%{http_code} %{size_upload}' $AWS_ENDPOINT_URL_STS/";
    let output = common::with_env_sourced(folder.path(), script).await;
    assert_eq!(common::text(&output.stdout), "413 0", "{}", common::text(&output.stderr));
    server.stop().await.unwrap();
}
